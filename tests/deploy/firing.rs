//! The alert rules in a real Prometheus that scrapes real bridges: each fault is caused, and its alerts fire.
//!
//! The rules have shorter times here: `for` is a second, and each range 15 s. The time from each fault to the
//! alert is printed; docs/benchmarks.md has the figures.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

use crate::process::PROGRAM;
use crate::support::certified::self_signed;
use crate::support::harness::Bridge;
use crate::support::http::{exchange, send};
use crate::support::port::Port;
use crate::support::postgres_server::Server;
use crate::support::real::{left_out, pause, until};
use crate::support::reconciled::World;
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, status_form};
use crate::text;

const DAY: Duration = Duration::from_secs(86_400);

/// The rules with shorter times.
fn shortened() -> String {
    let rules = text("prometheus/alerts.yml");
    // A day ahead of six hours, as a minute is of 15 seconds.
    let rules = rules.replace("[6h], 86400", "[15s], 60");
    let rules = ["[15m]", "[1h]", "[6h]", "[7d]"]
        .iter()
        .fold(rules, |rules, range| rules.replace(range, "[15s]"));
    let lines = rules.lines().map(|line| match line.split_once("for: ") {
        Some((start, _)) if start.trim().is_empty() => format!("{start}for: 1s\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// A Prometheus with the shortened rules; ended when dropped.
pub struct Prometheus {
    child: Child,
    port: Port,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// `None` where it is not installed. `history` is loaded before, as `OpenMetrics`.
    pub fn start(bridges: &[SocketAddr], history: Option<&str>) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file");
        };
        let targets: Vec<String> = bridges.iter().map(SocketAddr::to_string).collect();
        let interval = json!({ "scrape_interval": "1s", "evaluation_interval": "500ms" });
        let job = json!({ "job_name": "bridge", "static_configs": [{ "targets": targets }] });
        let config =
            json!({ "global": interval, "rule_files": ["alerts.yml"], "scrape_configs": [job] });
        file("prometheus.yml", &config.to_string());
        file("alerts.yml", &shortened());
        if let Some(history) = history {
            file("history", history);
            let loaded = Command::new("promtool")
                .args([
                    "tsdb",
                    "create-blocks-from",
                    "openmetrics",
                    "history",
                    "data",
                ])
                .current_dir(folder.path())
                .output();
            let loaded = loaded.inspect_err(|_| left_out("alerts in a real Prometheus"));
            let loaded = loaded.ok()?;
            assert!(loaded.status.success(), "{loaded:?}");
        }
        let port = Port::reserve();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg("--storage.tsdb.retention.time=30d")
            .arg(format!("--web.listen-address={}", port.address))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("a file"))
            .spawn();
        let child = child.inspect_err(|_| left_out("alerts in a real Prometheus"));
        let mut prometheus = Self {
            child: child.ok()?,
            port,
            folder,
        };
        until("Prometheus listens", || {
            let ended = prometheus.child.try_wait().expect("a child");
            let log = || std::fs::read_to_string(prometheus.folder.path().join("log"));
            assert!(ended.is_none(), "{:?}", log());
            std::net::TcpStream::connect(prometheus.port.address).is_ok()
        });
        let count = bridges.len();
        until("each bridge was scraped twice", || {
            let scraped = prometheus.query("count_over_time(up[1m]) > 1");
            scraped.len() == count
        });
        Some(prometheus)
    }

    fn get(&self, target: &str) -> Value {
        // HTTP/1.0, so that no answer is in chunks.
        let request = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = send(self.port.address, request.as_bytes());
        // 503 while it starts.
        let data = (answer.status == 200).then(|| answer.json()["data"].clone());
        data.unwrap_or_default()
    }

    /// The series that this expression has now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let query = serde_urlencoded::to_string([("query", expression)]).expect("text");
        let found = self.get(&format!("/api/v1/query?{query}"))["result"].clone();
        found.as_array().cloned().unwrap_or_default()
    }

    /// The alerts that fire, and with `pending` those that are about to.
    fn alerts(&self, states: &[&str]) -> BTreeSet<String> {
        let all = self.get("/api/v1/alerts")["alerts"].clone();
        let all = all.as_array().cloned().unwrap_or_default();
        let such = all
            .iter()
            .filter(|alert| states.contains(&alert["state"].as_str().expect("a state")));
        such.map(|alert| {
            alert["labels"]["alertname"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect()
    }

    /// Causes a fault; waits until each of these alerts fires, which none did before.
    fn fires<T>(&self, alerts: &[&str], fault: &str, cause: impl FnOnce() -> T) -> T {
        let before = self.alerts(&["pending", "firing"]);
        for alert in alerts {
            assert!(!before.contains(*alert), "{alert} before its fault");
        }
        let started = Instant::now();
        let caused = cause();
        let mut waiting: BTreeSet<&str> = alerts.iter().copied().collect();
        let limit = Duration::from_secs(120);
        while !waiting.is_empty() {
            assert!(
                started.elapsed() < limit,
                "no alert after {fault}: {waiting:?}"
            );
            for alert in self.alerts(&["firing"]) {
                if waiting.remove(alert.as_str()) {
                    let took = started.elapsed().as_secs_f64();
                    let _ = writeln!(std::io::stderr(), "FIRED: {alert} | {fault} | {took:.1} s");
                }
            }
            pause(Duration::from_millis(50));
        }
        caused
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its clock is turned by hand, from the present on, with which the rules compare.
pub fn bridge(settings: &[(&str, &str)]) -> Bridge {
    let bridge = Bridge::with(settings);
    bridge
        .clock
        .advance(Clock::system().now().since(bridge.clock.now()));
    bridge
}

fn acquire_replies(bridge: &Bridge, reply: Reply) {
    bridge.acquire.behaves(Faults {
        default_reply: reply,
        ..Faults::default()
    });
}

#[test]
fn faults_of_acquire_and_parked_calls_fire_their_alerts() {
    let bridge = bridge(&[("BRIDGE__STORE__PARKED_RETENTION", "6d")]);
    let Some(prometheus) = Prometheus::start(&[bridge.admin_address()], None) else {
        return;
    };
    let parked = ["CallsParked", "ParkedExpireSoon"];
    prometheus.fires(
        &parked,
        "Acquire refuses a call, which is kept for 6 days",
        || {
            acquire_replies(&bridge, Reply::Status(422));
            bridge.twilio.ends(&sid(1), "completed");
        },
    );
    bridge.settles();
    prometheus.fires(
        &["AcquireUnreachable"],
        "Acquire rejects the key (401)",
        || {
            acquire_replies(&bridge, Reply::Status(401));
            for call in 2..=30 {
                bridge.twilio.ends(&sid(call), "completed");
            }
        },
    );
    prometheus.fires(&["CallsOverdue"], "Acquire is down for 11 minutes", || {
        bridge.clock.advance(Duration::from_secs(660));
    });
    prometheus.fires(
        &["LateBurnFast", "LateBurnSlow"],
        "29 calls reach Acquire late",
        || {
            acquire_replies(&bridge, Reply::Saved);
            bridge.clock.advance(Duration::from_secs(60));
        },
    );
    bridge.settles();
    bridge.settles();
}

#[test]
fn a_parked_call_that_is_removed_fires_an_alert() {
    // The time of its removal follows that of the clock slowly, so the clock is not moved to the present.
    let bridge = Bridge::with(&[("BRIDGE__STORE__PARKED_RETENTION", "1m")]);
    acquire_replies(&bridge, Reply::Status(422));
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let Some(prometheus) = Prometheus::start(&[bridge.admin_address()], None) else {
        return;
    };
    prometheus.fires(
        &["CallsExpired"],
        "the retention of a parked call ends",
        || {
            bridge.clock.advance(DAY);
        },
    );
}

#[test]
fn a_damaged_store_a_wrong_clock_and_a_wrong_token_fire_their_alerts() {
    let bridge = bridge(&[]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let Some(prometheus) = Prometheus::start(&[bridge.admin_address()], None) else {
        return;
    };
    prometheus.fires(
        &["SignaturesRefused"],
        "Twilio signs with another token",
        || {
            let (url, form) = (
                format!("{PUBLIC_URL}{STATUS}"),
                status_form(&sid(2), "completed"),
            );
            let key = SigningKey::auth_token("another-token-than-that-of-the-bridge");
            let signature = sign(&key, &url, Body::Form(&fields(form.as_bytes())));
            let headers = [
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("X-Twilio-Signature", signature.as_str()),
            ];
            for _ in 0..10 {
                let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
                assert_eq!(answer.status, 403);
            }
        },
    );
    prometheus.fires(&["ClockWrong"], "the clock jumps ahead by an hour", || {
        bridge
            .clock
            .jump_to(Millis(bridge.clock.now().0 + 3_600_000));
    });
    prometheus.fires(
        &["ConservationBroken"],
        "a call is removed from the file",
        || {
            let database = rusqlite::Connection::open(bridge.folder.path().join("bridge.db"));
            let damaged = database
                .expect("a database")
                .execute_batch("DELETE FROM call WHERE id = 1");
            damaged.expect("damaged");
            bridge.clock.advance(DAY);
        },
    );
}

#[test]
fn a_database_that_is_down_fires_its_alerts() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().expect("a folder"));
    let (url, spool) = (server.url("postgres"), folder.path().join("spool.db"));
    let bridge = bridge(&[
        ("BRIDGE__STORE__URL", &url),
        ("BRIDGE__STORE__SPOOL", &spool.display().to_string()),
    ]);
    let Some(prometheus) = Prometheus::start(&[bridge.admin_address()], None) else {
        return;
    };
    prometheus.fires(
        &["StoreDown", "SpoolHolds"],
        "PostgreSQL is stopped",
        || {
            server.stop();
            assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
        },
    );
    server.start_again();
    until("the spool is empty", || {
        bridge.metric("bridge_spooled_callbacks") == Some(0.0)
    });
    bridge.settles();
}

#[test]
fn callbacks_that_stop_fire_an_alert_where_there_were_some_last_week() {
    let bridge = bridge(&[]);
    // Two a second, a week ago.
    let week_ago = Clock::system().now().minus(7 * DAY).0 / 1_000;
    let samples = (-60..600).map(|second| {
        let (count, at) = (2 * (second + 60), week_ago + second);
        format!(
            "bridge_callbacks_received_total{{account=\"acme\",verdict=\"new\",job=\"bridge\",\
             instance=\"{}\"}} {count} {at}\n",
            bridge.admin_address()
        )
    });
    let samples: String = samples.collect();
    let history = format!("# TYPE bridge_callbacks_received counter\n{samples}# EOF\n");
    let Some(prometheus) = Prometheus::start(&[bridge.admin_address()], Some(&history)) else {
        return;
    };
    for call in 1..=8 {
        bridge.twilio.ends(&sid(call), "completed");
        pause(Duration::from_millis(500));
    }
    prometheus.fires(&["NoCallbacks"], "no more callbacks", || {});
}

#[test]
fn calls_that_twilio_did_not_report_fire_an_alert() {
    let world = World::with_a_reported_call();
    let since = Clock::system().now().since(world.clock.now());
    world.clock.advance(since);
    world.bridge.clock.advance(since);
    world.has_call(2, |_| {});
    world.waits(Duration::from_secs(3_600));
    let Some(prometheus) = Prometheus::start(&[world.bridge.admin_address()], None) else {
        return;
    };
    prometheus.fires(
        &["CallsNeverReported"],
        "a comparison finds a missing call",
        || {
            let report = world.reconciles(&json!({ "calls": [sid(2)] }));
            assert_eq!(report["never_came"], 1, "{report}");
        },
    );
}

/// A tmpfs; unmounted when dropped.
struct Disk<'p>(&'p Path);

impl<'p> Disk<'p> {
    /// `None` without root.
    fn mounted(at: &'p Path) -> Option<Self> {
        let mounted = mount(&["-t", "tmpfs", "-o", "size=3g", "tmpfs"], at);
        if !mounted {
            left_out("alerts about a full disk: run as root");
        }
        mounted.then_some(Self(at))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn mount(options: &[&str], at: &Path) -> bool {
    let mounted = Command::new("mount").args(options).arg(at).status();
    mounted.is_ok_and(|status| status.success())
}

#[test]
fn a_disk_that_fills_up_fires_its_alerts() {
    let (folder, acquire) = (
        tempfile::tempdir().expect("a folder"),
        sink(Faults::default()),
    );
    let Some(disk) = Disk::mounted(folder.path()) else {
        return;
    };
    let serve = Serve::start(&disk.0.join("bridge.db"), &acquire);
    let Some(prometheus) = Prometheus::start(&[serve.admin], None) else {
        return;
    };
    prometheus.fires(&["DiskLow"], "the disk has less than 2 GB left", || {
        assert!(mount(&["-o", "remount,size=16m"], disk.0));
    });
    prometheus.fires(&["BridgeNotReady"], "the disk is full", || {
        let mut filler = std::fs::File::create(disk.0.join("filler")).expect("a file");
        for size in [1 << 16, 1] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    });
    drop((prometheus, serve));
}

/// Since the epoch.
fn three_days_ago() -> Duration {
    Clock::system().now().minus(3 * DAY).since(Millis(0))
}

#[test]
fn faults_of_one_node_fire_their_alerts() {
    let (folder, acquire) = (
        tempfile::tempdir().expect("a folder"),
        sink(Faults::default()),
    );
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("a file");
    let account = |tokens: &str| {
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC00000000000000000000000000000001\"\n\
             acquire_account_id = \"acme\"\ntwilio_auth_tokens = [{tokens}]\n"
        )
    };
    let [token, second] = [0, 1].map(|number| format!("\"{number:032}\""));
    let certificate = |days: u32| {
        let mut parameters = rcgen::CertificateParams::new(["bridge.example.com".to_owned()]);
        let parameters = parameters.as_mut().expect("a name");
        let until = Clock::system().now().plus(DAY * days);
        let until = jiff::Timestamp::from_millisecond(until.0).expect("a time");
        let until = until.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let of = |number: i8| u8::try_from(number).expect("a month or a day");
        parameters.not_after =
            rcgen::date_time_ymd(i32::from(until.year()), of(until.month()), of(until.day()));
        let key = self_signed("bridge.example.com").signing_key;
        let certificate = parameters.self_signed(&key).expect("a certificate");
        write("cert.pem", &certificate.pem());
        write("key.pem", &key.serialize_pem());
    };
    write(
        "store.toml",
        &format!(
            "[store]\nurl = \"sqlite:{}\"\n",
            path("bridge.db").display()
        ),
    );
    certificate(300);
    write("bridge.toml", &account(&token));
    let mut command = command_to_serve(&path("bridge.db"), &acquire.base_url());
    command
        .env_remove("TWILIO_AUTH_TOKEN")
        .env_remove("ACQUIRE_ACCOUNT_ID")
        .env("BRIDGE_CONFIG", path("bridge.toml"))
        .env("BRIDGE__SERVER__TLS_CERT_FILE", path("cert.pem"))
        .env("BRIDGE__SERVER__TLS_KEY_FILE", path("key.pem"));
    let serve = Serve::by(command);
    let Some(prometheus) = Prometheus::start(&[serve.admin], None) else {
        return;
    };
    prometheus.fires(
        &["OldKeyUnused"],
        "a second token, which signs nothing",
        || {
            write("bridge.toml", &account(&format!("{token}, {second}")));
            serve.signal("-HUP");
        },
    );
    prometheus.fires(
        &["CertificateEnds"],
        "a certificate that expires in 10 days",
        || {
            certificate(10);
            serve.signal("-HUP");
        },
    );
    prometheus.fires(
        &["ReloadFailed"],
        "a reload of a configuration with a mistake",
        || {
            write("bridge.toml", "nonsense = 1\n");
            serve.signal("-HUP");
        },
    );
    prometheus.fires(
        &["BackupOld"],
        "the last backup was made three days ago",
        || {
            let backup = Command::new(PROGRAM)
                .arg("backup")
                .arg(path("backup.db"))
                .env("BRIDGE_CONFIG", path("store.toml"))
                .output();
            assert!(
                backup.as_ref().is_ok_and(|run| run.status.success()),
                "{backup:?}"
            );
            let note = std::fs::File::options()
                .append(true)
                .open(path("bridge.db.last-backup"));
            let then = std::time::SystemTime::UNIX_EPOCH + three_days_ago();
            note.and_then(|note| note.set_modified(then))
                .expect("a file");
        },
    );
    prometheus.fires(&["BridgeDown"], "kill -9", || serve.signal("-KILL"));
}

#[test]
fn each_alert_is_caused_here() {
    let (rules, tests) = (text("prometheus/alerts.yml"), include_str!("firing.rs"));
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(tests.contains(&format!("\"{alert}\"")), "{alert}");
    }
    let ranges = shortened().matches('[').count() - shortened().matches("[2-9]").count();
    assert_eq!(
        ranges,
        shortened().matches("[15s]").count(),
        "each range is shortened"
    );
}
