//! Rolling restarts: one node after the other stops and starts again, and no request fails.

use std::time::Instant;

use crate::balancer::Refused;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::number;

#[test]
fn no_request_fails_while_nodes_restart_one_by_one() {
    let (rolls, seed) = (number("NODES_ROLLS", 3), number("NODES_SEED", 1));
    let Some(mut cluster) = Cluster::start(Refused::Fail, Vec::new(), seed) else {
        return;
    };
    let load = Load::start(cluster.balancer.address, seed, &cluster.ledger);
    let mut took = Vec::new();
    for _ in 0..rolls {
        for node in 0..cluster.nodes.len() {
            let started = Instant::now();
            cluster.restart(node);
            took.push(started.elapsed());
        }
    }
    let results = load.stop();
    let (balance, overlaps) = cluster.stop();
    took.sort_unstable();
    println!(
        "rolls {rolls}, seed {seed}, {:.0?}: {} callbacks sent ({:.0}/s), failed {}, lost or wrong {}, \
         sent again {}, twice at once {}, a node's restart took p50 {:.1?} and at most {:.1?}, \
         the slowest answer {:.0?}",
        results.duration,
        results.requests,
        results.rate(),
        results.failed.len(),
        balance.wrong.len(),
        balance.repeats,
        overlaps.len(),
        took.get(took.len() / 2).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
        results.slowest,
    );
    assert_eq!(results.failed, Vec::<String>::new(), "seed {seed}");
    assert_eq!(balance.wrong, Vec::<String>::new(), "seed {seed}");
    assert_eq!(overlaps, Vec::<String>::new(), "seed {seed}");
    assert_eq!(balance.accepted, balance.sent);
    // A stopping node also finishes its requests to Acquire.
    assert_eq!(balance.repeats, 0);
}
