//! Rolling restarts: one node after the other stops and comes back, and nobody who calls notices.

use std::time::Instant;

use crate::balancer::Refused;
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::number;

#[test]
fn no_request_fails_while_nodes_restart_one_by_one() {
    let (rolls, seed) = (number("NODES_ROLLS", 3), number("NODES_SEED", 1));
    let Some(mut cluster) = Cluster::start(Refused::Fails, Vec::new(), seed) else {
        return;
    };
    let crowd = Crowd::calls(cluster.balancer.address, seed, &cluster.book);
    let mut took = Vec::new();
    for _ in 0..rolls {
        for node in 0..cluster.nodes.len() {
            let begun = Instant::now();
            cluster.rolls(node);
            took.push(begun.elapsed());
        }
    }
    let noted = crowd.goes_home();
    let (balance, overlaps) = cluster.closes();
    took.sort_unstable();
    println!(
        "rolls {rolls}, seed {seed}, {:.0?}: {} callbacks sent ({:.0}/s), failed {}, lost or wrong {}, \
         sent again {}, twice at once {}, a node's restart took p50 {:.1?} and at most {:.1?}, \
         the slowest answer {:.0?}",
        noted.lasted,
        noted.requests,
        noted.rate(),
        noted.failed.len(),
        balance.wrong.len(),
        balance.repeats,
        overlaps.len(),
        took.get(took.len() / 2).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
        noted.slowest,
    );
    assert_eq!(noted.failed, Vec::<String>::new(), "seed {seed}");
    assert_eq!(balance.wrong, Vec::<String>::new(), "seed {seed}");
    assert_eq!(overlaps, Vec::<String>::new(), "seed {seed}");
    assert_eq!(balance.debts, balance.sent);
    // Nothing was cut off on the way to Acquire either.
    assert_eq!(balance.repeats, 0);
}
