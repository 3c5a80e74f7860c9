//! Which requests the admin listener accepts, and what browsers get from it.

use std::time::{Duration, Instant};

use crate::support::harness::Bridge;
use crate::support::http::Answer;
use crate::support::twilio::sid;

const TOKEN: &str = "a-token-of-more-than-20-characters";
const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const FOREIGN: (&str, &str) = ("Host", "rebind.example.org:9090");

const ROUTES: [&str; 7] = [
    "/",
    "/calls",
    "/refused",
    "/metrics",
    "/api/calls",
    "/api/refused",
    "/nothing",
];

fn guarded() -> Bridge {
    Bridge::with(&[("BRIDGE__ADMIN__TOKEN", TOKEN)])
}

#[test]
fn a_foreign_host_name_is_served_nowhere_but_at_the_probes() {
    let mut bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let call = [
        format!("/calls/{}", sid(1)),
        format!("/api/calls/{}", sid(1)),
    ];
    for route in ROUTES.into_iter().chain(call.iter().map(String::as_str)) {
        let answer = bridge.admin("GET", route, &[FOREIGN]);
        assert_eq!(answer.status, 421, "{route}");
        assert!(answer.body.contains("admin.hosts"), "{}", answer.body);
        let page = bridge.admin("GET", route, &[FOREIGN, BROWSER]);
        assert!(page.body.starts_with("<!doctype html>"), "{}", page.body);
    }
    let requeue = format!("/api/calls/{}/requeue", sid(1));
    let origin = ("Origin", "http://rebind.example.org:9090");
    let rebound = bridge.admin(
        "POST",
        &requeue,
        &[FOREIGN, origin, ("Sec-Fetch-Site", "same-origin")],
    );
    assert_eq!(rebound.status, 421);
    assert_eq!(bridge.admin("POST", &requeue, &[origin]).status, 403);
    assert_eq!(bridge.state(&sid(1)), "delivered");
    for probe in ["/livez", "/readyz"] {
        assert_eq!(
            bridge.admin("GET", probe, &[FOREIGN]).status,
            200,
            "{probe}"
        );
    }
    let refused = |reason: &str| {
        bridge.metric(&format!(
            "bridge_admin_refused_total{{reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(refused("foreign-host"), Some(19.0));
    assert_eq!(refused("foreign-origin"), Some(1.0));

    bridge.restarts_with("[admin]\nhosts = [\"rebind.example.org\"]\n");
    assert_eq!(bridge.admin("GET", "/", &[FOREIGN]).status, 200);
    let own = bridge.admin("POST", &requeue, &[FOREIGN, origin]);
    assert_eq!(own.status, 202, "{}", own.body);
    bridge.settles();
}

#[test]
fn browsers_get_pages_for_errors_and_every_answer_has_safe_headers() {
    let bridge = guarded();
    let bearer = format!("Bearer {TOKEN}");
    let bearer = ("Authorization", bearer.as_str());
    let unknown = format!("/calls/{}", sid(9));
    let is_safe = |answer: &Answer| {
        answer.header("x-content-type-options") == Some("nosniff")
            && answer.header("referrer-policy") == Some("same-origin")
            && answer
                .header("content-security-policy")
                .is_some_and(|policy| {
                    policy.contains("default-src 'none'") && !policy.contains("unsafe")
                })
    };
    for (method, target, headers, status) in [
        ("GET", "/", &[][..], 401),
        ("GET", "/", &[("Authorization", "Bearer wrong")], 401),
        ("GET", unknown.as_str(), &[bearer], 404),
        ("GET", "/calls/CA1", &[bearer], 400),
        ("GET", "/calls/%FF", &[bearer], 400),
        ("GET", "/nothing", &[bearer], 404),
        ("GET", "/?sinse=2h", &[bearer], 400),
        ("GET", "/api/calls?limit=many", &[bearer], 400),
        ("GET", "/api/calls?state=lost", &[bearer], 400),
        ("DELETE", "/", &[bearer], 405),
    ] {
        let page = bridge.admin(method, target, &[headers, &[BROWSER]].concat());
        let html = page.header("content-type").expect("a type");
        assert_eq!(
            (page.status, html),
            (status, "text/html; charset=utf-8"),
            "{target}"
        );
        assert!(
            page.body.starts_with("<!doctype html>") && is_safe(&page),
            "{target}: {page:?}"
        );
        let program = bridge.admin(method, target, headers);
        let json = program.header("content-type").expect("a type");
        assert_eq!(
            (program.status, json),
            (status, "application/problem+json"),
            "{target}"
        );
        assert!(is_safe(&program), "{target}: {program:?}");
        let challenge = page.header("www-authenticate");
        assert_eq!(challenge.is_some(), status == 401, "{target}");
        let allowed = (status == 405).then_some("GET, HEAD");
        assert_eq!(page.header("allow"), allowed, "{target}");
    }
    for target in ROUTES
        .into_iter()
        .chain(["/livez", "/readyz", "/favicon.ico"])
    {
        let full = bridge.admin("GET", target, &[bearer]);
        let head = bridge.admin("HEAD", target, &[bearer]);
        assert_eq!(
            (head.status, head.body.as_str()),
            (full.status, ""),
            "{target}"
        );
        assert!(is_safe(&full) && is_safe(&head), "{target}");
    }
    let overview = bridge.admin("GET", "/", &[bearer]).body;
    let (_, style) = overview
        .split_once("href=\"/style-")
        .expect("a style sheet");
    let style = format!("/style-{}", style.split('"').next().unwrap_or_default());
    let style = bridge.admin("GET", &style, &[bearer]);
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert!(
        !overview.contains("<style") && !overview.contains(" style="),
        "{overview}"
    );
}

#[test]
fn a_query_key_that_a_route_does_not_know_is_an_error_that_names_it() {
    let bridge = Bridge::start();
    for target in [
        "/?nubmer=1",
        "/api/calls?state=parked&nubmer=1",
        "/refused?nubmer=1",
        "/api/refused?nubmer=1",
        "/metrics?nubmer=1",
        "/calls/CA1?nubmer=1",
        "/api/calls/CA1?nubmer=1",
    ] {
        let answer = bridge.admin("GET", target, &[]);
        assert_eq!(answer.status, 400, "{target}");
        assert!(
            answer.body.contains("unknown query key nubmer"),
            "{}",
            answer.body
        );
    }
    for target in ["/refused?cause=zzz", "/api/refused?cause=zzz"] {
        let answer = bridge.admin("GET", target, &[]);
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.body.contains("no-match"), "{}", answer.body);
    }
    let requeue = format!("/api/calls/{}/requeue?dry-run=1", sid(1));
    assert_eq!(bridge.admin("POST", &requeue, &[]).status, 400);
    assert_eq!(bridge.admin("GET", "/readyz?at=1", &[]).status, 200);
}

#[test]
fn wrong_tokens_are_counted_and_slow_after_five_in_a_minute_while_the_right_one_is_not() {
    let bridge = guarded();
    let guess = || {
        let started = Instant::now();
        let answer = bridge.admin("GET", "/api/calls", &[("Authorization", "Bearer guess")]);
        (answer.status, started.elapsed() >= Duration::from_secs(1))
    };
    for _ in 0..5 {
        assert_eq!(guess().0, 401);
    }
    assert_eq!(guess(), (401, true), "the sixth is slow");
    let slow = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..80).map(|_| scope.spawn(guess)).collect();
        let started = Instant::now();
        assert_eq!(bridge.state(&sid(1)), "unknown to the bridge");
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "the right token is never delayed"
        );
        guesses
            .into_iter()
            .map(|guess| guess.join().expect("an answer"))
            .collect::<Vec<_>>()
    });
    // No more than 64 answers wait at the same time.
    assert!(slow.iter().any(|(status, _)| *status == 429), "{slow:?}");
    let wrong = "bridge_admin_refused_total{reason=\"wrong-token\"}";
    assert_eq!(bridge.metric(wrong), Some(86.0));
    assert_eq!(bridge.admin("GET", "/", &[]).status, 401);
    let missing = "bridge_admin_refused_total{reason=\"no-token\"}";
    assert_eq!(bridge.metric(missing), Some(1.0));
}
