//! Names are resolved to addresses, by a resolver with fixed answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_tls::connect::{Resolve, Resolver};
use futures_util::future::{self, FutureExt as _, LocalBoxFuture};
use twilio_acquire_bridge::acquire::{AcquireResponse, DeliveryFault, Outcome};

use super::raw::{Raw, Step};
use super::wire::full_backlog;
use super::{Bridge, LONG_TIMEOUT, MEDIUM_TIMEOUT, SAVED, SHORT_TIMEOUT, acquire, again, http};

/// What becomes of each name that is asked for.
pub enum Names {
    Unknown,
    WithoutAddress,
    NeverAnswered,
    At(Vec<SocketAddr>),
}

impl Resolve for Names {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
        _: u16,
    ) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, Box<dyn std::error::Error>>> {
        match self {
            Self::Unknown => {
                let why = io::Error::other(format!("no such name: {host}"));
                future::ready(Err(why.into())).boxed_local()
            }
            Self::WithoutAddress => future::ready(Ok(Vec::new())).boxed_local(),
            Self::NeverAnswered => future::pending().boxed_local(),
            Self::At(addresses) => future::ready(Ok(addresses.clone())).boxed_local(),
        }
    }
}

async fn sent_where(names: Names, limit: Duration) -> AcquireResponse {
    let names = Resolver::custom(names);
    let acquire = acquire("http://{account_id}.example".to_owned());
    let bridge = Bridge::build(limit, names, &acquire).expect("the settings are right");
    bridge.sends().await
}

#[actix_web::test]
async fn every_fault_of_a_name_is_one_of_dns() {
    for (names, words) in [
        (Names::Unknown, "no such name: acme.example"),
        (Names::WithoutAddress, "has no address"),
        (Names::NeverAnswered, "no name server answered in time"),
    ] {
        let answer = sent_where(names, SHORT_TIMEOUT).await;
        assert_eq!(answer.outcome, again(DeliveryFault::Dns), "{answer:?}");
        assert_eq!(answer.status, None);
        assert!(answer.excerpt.contains(words), "{answer:?}");
        assert!(answer.excerpt.contains("acme.example"), "{answer:?}");
    }
}

#[actix_web::test]
async fn a_name_with_an_address_is_reached_there() {
    let raw = Raw::start([vec![Step::Request, Step::Send(http("200 OK", SAVED))]]);
    let answer = sent_where(Names::At(vec![raw.addr]), LONG_TIMEOUT).await;
    assert_eq!(answer.outcome, Outcome::Accepted, "{answer:?}");
}

#[actix_web::test]
async fn an_address_that_never_answers_leaves_time_for_the_next() {
    let raw = Raw::start([vec![Step::Request, Step::Send(http("200 OK", SAVED))]]);
    let (full, _queue) = full_backlog();
    let answer = sent_where(Names::At(vec![full, raw.addr]), 2 * MEDIUM_TIMEOUT).await;
    assert_eq!(answer.outcome, Outcome::Accepted, "{answer:?}");
}
