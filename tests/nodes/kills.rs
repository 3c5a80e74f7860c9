//! `kill -9` of nodes while their database restarts: in the end each call that was answered with 204 is
//! delivered or parked, and none was sent twice at the same time.

use std::thread;
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Reply, Share};

use crate::balancer::Refused;
use crate::cluster::{Cluster, Node, part_of};
use crate::load::Load;
use crate::support::postgres_server::Server;
use crate::{number, pause};

/// The longest time that a node is down, and from one kill to the next.
const MAX_NODE_PAUSE: Duration = Duration::from_secs(1);

/// The longest time that the database is down, and from one restart to the next.
const MAX_DATABASE_PAUSE: Duration = Duration::from_secs(2);

#[test]
fn nothing_is_lost_or_sent_twice_at_once_through_kills_and_restarts_of_the_database() {
    let (kills, restarts) = (
        number("NODES_KILLS", 5),
        number("NODES_DATABASE_RESTARTS", 2),
    );
    let seed = number("NODES_SEED", 1);
    let Some(mut cluster) = Cluster::start(Refused::TryOtherNode, faults(), seed) else {
        return;
    };
    let load = Load::start(cluster.balancer.address, seed, &cluster.ledger);
    thread::scope(|scope| {
        let database = &cluster.database;
        scope.spawn(move || restart_database(database, restarts, seed));
        kill_nodes(&mut cluster.nodes, kills, seed);
    });
    let results = load.stop();
    let (balance, overlaps) = cluster.stop();
    println!(
        "kills {kills}, restarts of the database {restarts}, seed {seed}, {:.0?}: {} callbacks sent ({:.0}/s), \
         not answered 204 {}, calls {}, answered 204 {}, lost or wrong {}, parked {}, \
         delivered though never answered {}, twice at once {}, sent again {}, per 10,000 {:.1}, \
         the slowest answer {:.0?}",
        results.duration,
        results.requests,
        results.rate(),
        results.failed.len(),
        balance.sent,
        balance.accepted,
        balance.wrong.len(),
        balance.parked,
        balance.delivered_unanswered,
        overlaps.len(),
        balance.repeats,
        balance.repeats_per_10_000(),
        results.slowest,
    );
    assert_eq!(balance.wrong, Vec::<String>::new(), "seed {seed}");
    assert_eq!(overlaps, Vec::<String>::new(), "seed {seed}");
}

fn kill_nodes(nodes: &mut [Node], kills: u64, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        pause(part_of(MAX_NODE_PAUSE, &mut chance));
        let at = chance.usize(..nodes.len());
        let node = &mut nodes[at];
        node.kill();
        pause(part_of(MAX_NODE_PAUSE, &mut chance));
        if chance.f64() < 0.1 {
            // Also while it starts: opens the store, migrates, binds.
            node.spawn();
            pause(part_of(Duration::from_millis(40), &mut chance));
            node.kill();
        }
        node.start_again();
    }
}

/// Stops it by turns as an operator does and like a crash.
fn restart_database(database: &Server, restarts: u64, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(!seed);
    for stop in [Server::stop, Server::crash]
        .iter()
        .cycle()
        .take(usize::try_from(restarts).expect("few"))
    {
        pause(part_of(MAX_DATABASE_PAUSE, &mut chance));
        stop(database);
        pause(part_of(MAX_DATABASE_PAUSE, &mut chance));
        database.start_again();
    }
}

/// Acquire often fails, and sometimes refuses a call.
fn faults() -> Vec<Share> {
    [
        (Reply::Status(503), 0.05),
        (Reply::Reset, 0.02),
        (Reply::SuccessFalse, 0.01),
        (Reply::Duplicate, 0.01),
        (Reply::Invalid, 0.01),
    ]
    .map(|(reply, part)| Share { reply, part })
    .to_vec()
}
