//! `kill -9` of nodes while their database comes and goes: at the end nothing that was promised is missing,
//! and no call was sent twice at once.

use std::thread;
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Reply, Share};

use crate::balancer::Refused;
use crate::cluster::{Cluster, Node, some};
use crate::crowd::Crowd;
use crate::support::postgres_server::Server;
use crate::{number, pause};

/// The longest time that a node is away, and from one kill to the next.
const LONGEST: Duration = Duration::from_secs(1);

/// The longest time that the database is away, and that it is there.
const LONGEST_OF_DATABASE: Duration = Duration::from_secs(2);

#[test]
fn nothing_is_lost_or_sent_twice_at_once_through_kills_and_restarts_of_the_database() {
    let (kills, restarts) = (
        number("NODES_KILLS", 5),
        number("NODES_DATABASE_RESTARTS", 2),
    );
    let seed = number("NODES_SEED", 1);
    let Some(mut cluster) = Cluster::start(Refused::IsTriedElsewhere, faults(), seed) else {
        return;
    };
    let crowd = Crowd::calls(cluster.balancer.address, seed, &cluster.book);
    thread::scope(|scope| {
        let database = &cluster.database;
        scope.spawn(move || restarts_of(database, restarts, seed));
        kills_of(&mut cluster.nodes, kills, seed);
    });
    let noted = crowd.goes_home();
    let (balance, overlaps) = cluster.closes();
    println!(
        "kills {kills}, restarts of the database {restarts}, seed {seed}, {:.0?}: {} callbacks sent ({:.0}/s), \
         not answered 204 {}, calls {}, answered 204 {}, lost or wrong {}, parked {}, \
         delivered though never answered {}, twice at once {}, sent again {}, per 10,000 {:.1}, \
         the slowest answer {:.0?}",
        noted.lasted,
        noted.requests,
        noted.rate(),
        noted.failed.len(),
        balance.sent,
        balance.debts,
        balance.wrong.len(),
        balance.parked,
        balance.unpromised,
        overlaps.len(),
        balance.repeats,
        balance.repeats_per_10_000(),
        noted.slowest,
    );
    assert_eq!(balance.wrong, Vec::<String>::new(), "seed {seed}");
    assert_eq!(overlaps, Vec::<String>::new(), "seed {seed}");
}

fn kills_of(nodes: &mut [Node], kills: u64, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        pause(some(LONGEST, &mut chance));
        let at = chance.usize(..nodes.len());
        let node = &mut nodes[at];
        node.is_killed();
        pause(some(LONGEST, &mut chance));
        if chance.f64() < 0.1 {
            // And while it starts: on opening, migrating, binding.
            node.begins();
            pause(some(Duration::from_millis(40), &mut chance));
            node.is_killed();
        }
        node.starts();
    }
}

/// Half of them as an operator does it, half as a crash does.
fn restarts_of(database: &Server, restarts: u64, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(!seed);
    for ends in [Server::stop, Server::crash]
        .iter()
        .cycle()
        .take(usize::try_from(restarts).expect("few"))
    {
        pause(some(LONGEST_OF_DATABASE, &mut chance));
        ends(database);
        pause(some(LONGEST_OF_DATABASE, &mut chance));
        database.start_again();
    }
}

/// Acquire often fails, and now and then refuses.
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
