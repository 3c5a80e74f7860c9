//! Against raw sockets: whatever comes over the wire ends in the right outcome, in time, and
//! never reaches another call's answer.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use twilio_acquire_bridge::acquire::{AcquireResponse, DeliveryFault, Outcome};

use super::raw::{Raw, Step};
use super::{Bridge, MEDIUM_TIMEOUT, SAVED, SHORT_TIMEOUT, again, http};
use crate::support::port::Port;

/// What becomes of one call that is answered with these bytes, after which the server closes.
async fn answered_with(bytes: &str) -> AcquireResponse {
    let raw = Raw::start([vec![Step::Request, Step::Send(bytes.to_owned())]]);
    Bridge::to(raw.base_url()).sends().await
}

/// What becomes of one call of an impatient client with this script.
async fn played(script: Vec<Step>) -> AcquireResponse {
    let raw = Raw::start([script]);
    Bridge::with_timeout(SHORT_TIMEOUT, raw.base_url())
        .sends()
        .await
}

#[actix_web::test]
async fn an_interim_answer_decides_nothing_and_shifts_no_answer() {
    for interim in [
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let first = format!("{interim}{interim}{}", http("200 OK", SAVED));
        let second = http("503 Service Unavailable", "");
        let mut raw = Raw::start([vec![
            Step::Request,
            Step::Send(first),
            Step::Request,
            Step::Send(second),
        ]]);
        let bridge = Bridge::to(raw.base_url());
        assert_eq!(bridge.sends().await.outcome, Outcome::Accepted);
        assert_eq!(bridge.sends().await.outcome, again(DeliveryFault::Busy));
        assert_eq!(raw.closed().await, 2, "one connection served both");
    }
}

#[actix_web::test]
async fn an_interim_answer_apart_from_the_final_one_is_waited_out() {
    let raw = Raw::start([vec![
        Step::Request,
        Step::Drip("HTTP/1.1 103 Early Hints\r\n\r\n", Duration::from_millis(1)),
        Step::Send(http("200 OK", SAVED)),
        Step::Request,
        Step::Send(http("503 Service Unavailable", "")),
    ]]);
    let bridge = Bridge::to(raw.base_url());
    assert_eq!(bridge.sends().await.outcome, Outcome::Accepted);
    assert_eq!(bridge.sends().await.outcome, again(DeliveryFault::Busy));
}

#[actix_web::test]
async fn interim_answers_alone_are_no_answer() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    assert_eq!(
        answered_with(interim).await.outcome,
        again(DeliveryFault::Reset)
    );
    let held = vec![Step::Request, Step::Send(interim.to_owned()), Step::Hold];
    assert_eq!(played(held).await.outcome, again(DeliveryFault::TimeOut));
    let endless = vec![Step::Request, Step::Endless(interim)];
    assert_eq!(played(endless).await.outcome, again(DeliveryFault::TimeOut));
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    assert_eq!(
        answered_with(switched).await.outcome,
        again(DeliveryFault::Reset)
    );
}

#[actix_web::test]
async fn a_body_that_is_ended_by_closing_is_read() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let answer = answered_with(&format!("{head}{SAVED}")).await;
        assert_eq!(answer.outcome, Outcome::Accepted, "{head}");
        let answer = answered_with(&format!("{head}{}", &SAVED[..30])).await;
        assert_eq!(answer.outcome, again(DeliveryFault::Unreadable), "{head}");
    }
}

#[actix_web::test]
async fn a_response_that_breaks_off_is_retried() {
    let short = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        &SAVED[..30]
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"dat\r\n";
    for (bytes, status) in [
        (short.as_str(), Some(200)),
        (chunked, Some(200)),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\n",
            Some(400),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Le", None),
        ("", None),
        ("SSH-2.0-OpenSSH_9.6\r\n", None),
    ] {
        let answer = answered_with(bytes).await;
        // After a 2xx, Acquire may have accepted the call.
        let fault = match status {
            Some(200) => DeliveryFault::Unreadable,
            _ => DeliveryFault::Reset,
        };
        assert_eq!(answer.outcome, again(fault), "{bytes:?} {answer:?}");
        assert_eq!(answer.status, status, "{bytes:?}");
    }
    let raw = Raw::start([vec![Step::Reset]]);
    let answer = Bridge::to(raw.base_url()).sends().await;
    assert_eq!(answer.outcome, again(DeliveryFault::Reset));
    assert!(
        answer.excerpt.starts_with("connection reset by 127.0.0.1:"),
        "{answer:?}"
    );
}

#[actix_web::test]
async fn a_status_that_decides_is_used_though_its_body_breaks_off() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 9\r\nContent-Length: 9\r\n\r\n";
    let after = Some(Duration::from_secs(9));
    let fault = DeliveryFault::Busy;
    assert_eq!(
        answered_with(busy).await.outcome,
        Outcome::Retry { fault, after }
    );
}

#[actix_web::test]
async fn truncated_json_is_unreadable() {
    let answer = answered_with(&http("200 OK", &SAVED[..30])).await;
    assert_eq!(answer.outcome, again(DeliveryFault::Unreadable));
    assert_eq!(answer.excerpt, &SAVED[..30]);
}

#[actix_web::test]
async fn a_redirect_is_not_followed_though_it_leads_in_a_circle() {
    for status in [301, 302, 303, 307, 308] {
        let circle = || {
            let location = "Location: /api/v1/voip/call-answered";
            let head = format!("HTTP/1.1 {status} Elsewhere\r\n{location}\r\n");
            Step::Send(head + "Content-Length: 0\r\n\r\n")
        };
        let mut raw = Raw::start([vec![Step::Request, circle(), Step::Request, circle()]]);
        let bridge = Bridge::to(raw.base_url());
        let outcome = bridge.sends().await.outcome;
        assert_eq!(outcome, again(DeliveryFault::Configuration), "{status}");
        drop(bridge);
        assert_eq!(raw.closed().await, 1, "{status}");
    }
}

#[actix_web::test]
async fn a_head_without_its_body_ends_with_the_time_limit() {
    for (status, fault) in [
        ("200 OK", DeliveryFault::Unreadable),
        ("400 Bad Request", DeliveryFault::TimeOut),
        ("503 Service Unavailable", DeliveryFault::Busy),
    ] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 56\r\n\r\n");
        let raw = Raw::start([vec![Step::Request, Step::Send(head), Step::Hold]]);
        let bridge = Bridge::with_timeout(MEDIUM_TIMEOUT, raw.base_url());
        let answer = bridge.sends().await;
        assert_eq!(answer.outcome, again(fault), "{answer:?}");
        assert!(answer.status.is_some(), "{answer:?}");
    }
}

#[actix_web::test]
async fn an_address_that_never_answers_ends_with_the_time_limit() {
    let (full, _queue) = full_backlog();
    let answer = Bridge::with_timeout(SHORT_TIMEOUT, format!("http://{full}"));
    let answer = answer.sends().await;
    assert_eq!(answer.outcome, again(DeliveryFault::TimeOut), "{answer:?}");
    assert_eq!(answer.status, None);
    assert!(
        answer.excerpt.contains("cannot be reached in time"),
        "{answer:?}"
    );
}

#[actix_web::test]
async fn a_server_that_never_shakes_hands_ends_with_the_time_limit() {
    let raw = Raw::start([vec![Step::Hold]]);
    let base_url = format!("https://{}", raw.addr);
    let answer = Bridge::with_timeout(SHORT_TIMEOUT, base_url).sends().await;
    assert_eq!(answer.outcome, again(DeliveryFault::TimeOut), "{answer:?}");
}

/// A listener with a full queue: the kernel does not answer further connections.
pub fn full_backlog() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("a port is free");
    listener.listen(0).expect("it listens");
    let addr = listener.local_addr().expect("it is bound");
    let mut queue = vec![listener];
    for _ in 0..64 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if socket.connect_timeout(&addr, SHORT_TIMEOUT).is_err() {
            return (addr.as_socket().expect("an address"), queue);
        }
        queue.push(socket);
    }
    panic!("the queue takes everyone");
}

#[actix_web::test]
async fn an_endless_body_is_left_and_its_connection_not_used_again() {
    let heads = [
        "Content-Length: 99999999999",
        "Connection: close",
        "Transfer-Encoding: chunked",
    ];
    for head in heads {
        let noise = match head {
            "Transfer-Encoding: chunked" => "4\r\nxxxx\r\n",
            _ => "xxxxxxxx",
        };
        let mut raw = Raw::start([
            vec![
                Step::Request,
                Step::Send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")),
                Step::Endless(noise),
            ],
            vec![Step::Request, Step::Send(http("200 OK", SAVED))],
        ]);
        let bridge = Bridge::to(raw.base_url());
        assert_eq!(
            bridge.sends().await.outcome,
            again(DeliveryFault::Unreadable),
            "{head}"
        );
        assert_eq!(raw.closed().await, 1);
        assert_eq!(bridge.sends().await.outcome, Outcome::Accepted, "{head}");
    }
}

#[actix_web::test]
async fn a_slow_drip_ends_with_the_time_limit() {
    let pause = Duration::from_secs(2);
    let in_head = vec![Step::Request, Step::Drip("HTTP/1.1 200 OK\r\n\r\n", pause)];
    let answer = played(in_head).await;
    assert_eq!(answer.outcome, again(DeliveryFault::TimeOut));
    assert_eq!(answer.status, None);

    let head = "HTTP/1.1 200 OK\r\nContent-Length: 56\r\n\r\n";
    let in_body = vec![
        Step::Request,
        Step::Send(head.to_owned()),
        Step::Drip(SAVED, pause),
    ];
    let raw = Raw::start([in_body]);
    let bridge = Bridge::with_timeout(MEDIUM_TIMEOUT, raw.base_url());
    let answer = bridge.sends().await;
    assert_eq!(answer.outcome, again(DeliveryFault::Unreadable));
    assert_eq!(answer.status, Some(200));
}

#[actix_web::test]
async fn a_connection_that_acquire_closed_while_idle_costs_no_attempt() {
    let once = || vec![Step::Request, Step::Send(http("200 OK", SAVED))];
    let mut raw = Raw::start([once(), once(), once()]);
    let bridge = Bridge::to(raw.base_url());
    for _ in 0..3 {
        assert_eq!(bridge.sends().await.outcome, Outcome::Accepted);
        raw.closed().await;
    }
}

#[actix_web::test]
async fn unsolicited_bytes_reach_no_answer() {
    let stray = http("503 Service Unavailable", "");
    let saved = || http("200 OK", SAVED);
    let script = |first| {
        vec![
            Step::Request,
            Step::Send(first),
            Step::Request,
            Step::Send(saved()),
        ]
    };
    let raw = Raw::start([script(saved() + &stray), script(saved())]);
    let bridge = Bridge::to(raw.base_url());
    assert_eq!(bridge.sends().await.outcome, Outcome::Accepted);
    assert_eq!(bridge.sends().await.outcome, Outcome::Accepted);
}

#[actix_web::test]
async fn a_refused_connection_is_reported_in_plain_words() {
    let closed = Port::reserve();
    let addr = closed.address;
    let answer = Bridge::to(format!("http://{addr}")).sends().await;
    assert_eq!(answer.outcome, again(DeliveryFault::Connect));
    assert_eq!(answer.status, None);
    assert_eq!(answer.excerpt, format!("connection refused by {addr}"));
}

#[actix_web::test]
async fn what_is_no_url_is_a_fault_of_the_configuration() {
    let answer = Bridge::to("http://a b".to_owned()).sends().await;
    assert_eq!(answer.outcome, again(DeliveryFault::Configuration));
    assert!(answer.excerpt.contains("acquire.base_url"), "{answer:?}");
}
