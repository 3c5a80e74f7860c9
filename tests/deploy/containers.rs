//! The image and what composes it, without an engine: linted, and their commands run.

use std::path::PathBuf;

use serde_json::Value;

use crate::balancer::Haproxy;
use crate::container::{Container, Image, TOKEN};
use crate::lint;
use crate::process::Serve;
use crate::support::postgres_server::Server;
use crate::{deploy, root};

const COMPOSED: [&str; 2] = ["compose.sqlite.yaml", "compose.postgres.yaml"];

fn file(name: &str) -> PathBuf {
    deploy().join("docker").join(name)
}

/// What an operator sets before `docker compose up`.
fn interpolated(value: &str) -> String {
    let mut text = value.to_owned();
    for (name, value) in [
        ("PUBLIC_URL", "https://bridge.example.com"),
        ("ACQUIRE_ACCOUNT_ID", "acme"),
        ("POSTGRES_PASSWORD", "secret"),
    ] {
        while let Some(begin) = text.find(&format!("${{{name}:?")) {
            let length = text[begin..].find('}').expect("an end");
            text.replace_range(begin..=begin + length, value);
        }
    }
    assert!(!text.contains("${"), "{text}");
    text
}

/// The services of a file that run the bridge, by their names.
fn bridges(composed: &Value) -> Vec<(&String, &Value)> {
    let services = composed["services"].as_object().expect("services");
    let of_image = |(_, service): &(_, &Value)| service["image"] == "twilio-acquire-bridge";
    services.iter().filter(of_image).collect()
}

fn container(composed: &Value, service: &Value) -> Container {
    let mut container = Container::of_image();
    for (name, value) in service["environment"].as_object().expect("environment") {
        container.sets(name, &interpolated(value.as_str().expect("a text")));
    }
    for secret in service["secrets"].as_array().expect("secrets") {
        let name = secret.as_str().expect("a name");
        assert!(composed["secrets"][name]["file"].is_string(), "{name}");
        container.mounts(&format!("/run/secrets/{name}"), TOKEN);
    }
    container
}

#[test]
fn the_image_is_two_stages_and_its_user_is_not_root() {
    lint::finds_nothing("hadolint", &[], &file("Dockerfile"));
    let image = Image::read();
    assert_eq!(image.says_once("USER"), "65532:65532");
    assert_eq!(image.says_once("WORKDIR"), image.volume());
    assert!(
        image.says("RUN").is_empty(),
        "nothing runs in what is shipped"
    );
}

#[test]
fn all_that_the_build_reads_is_sent_to_it() {
    let ignored = std::fs::read_to_string(file("Dockerfile.dockerignore")).expect("the file");
    let sent = |path: &str| {
        ignored
            .lines()
            .any(|line| line.strip_prefix('!') == Some(path))
    };
    assert_eq!(ignored.lines().next(), Some("*"));
    for path in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(
            root().join(path.trim_end_matches(".*")).exists() || path == "Cargo.*",
            "{path}"
        );
    }
    for path in [
        "src",
        "templates",
        "fixtures",
        "benches",
        ".cargo",
        "docs/openapi.json",
        "Cargo.*",
    ] {
        assert!(sent(path), "{path}");
    }
}

#[test]
fn compose_finds_nothing_wrong_with_its_files() {
    for name in COMPOSED {
        let schema = ["--builtin-schema", "vendor.compose-spec"];
        lint::finds_nothing("check-jsonschema", &schema, &file(name));
    }
}

#[test]
fn composed_bridges_are_confined_and_have_time_to_stop() {
    for name in COMPOSED {
        for composed in lint::documents(&file(name)) {
            for (_, service) in bridges(&composed) {
                assert_eq!(service["read_only"], true);
                assert_eq!(service["cap_drop"][0], "ALL");
                let volume = service["volumes"][0].as_str().expect("a volume");
                let (volume, place) = volume.split_once(':').expect("NAME:PLACE");
                assert!(composed["volumes"][volume].is_object(), "{volume}");
                assert_eq!(place, Image::read().volume());
                let container = container(&composed, service);
                let grace = service["stop_grace_period"].as_str().expect("a duration");
                let grace = grace.trim_end_matches('s').parse::<u64>().expect("seconds");
                assert!(grace > container.stop(), "{name}: {grace} s");
            }
        }
    }
}

#[test]
fn the_bridge_composed_alone_is_healthy_until_it_stops() {
    for composed in lint::documents(&file(COMPOSED[0])) {
        let [(_, service)] = bridges(&composed)[..] else {
            panic!("one bridge");
        };
        let container = container(&composed, service);
        let port = container.port("server.listen");
        assert_eq!(service["ports"][0], format!("{port}:{port}"));
        assert_eq!(Image::read().says_once("EXPOSE"), port);
        let bridge = container.starts();
        assert!(container.is_healthy(bridge.admin));
        assert_eq!(bridge.asked("/readyz"), 200);
        let closed = bridge.stops();
        assert!(!container.is_healthy(closed));
    }
}

#[test]
fn bridges_composed_with_postgres_receive_a_call_through_haproxy() {
    for composed in lint::documents(&file(COMPOSED[1])) {
        let postgres = Server::start(&[]);
        // As the image of PostgreSQL does with its variables.
        let given = &composed["services"]["postgres"]["environment"];
        let (user, database) = (&given["POSTGRES_USER"], &given["POSTGRES_DB"]);
        postgres.sql(&format!("CREATE ROLE {user} LOGIN"));
        postgres.sql(&format!("CREATE DATABASE {database} OWNER {user}"));

        let containers: Vec<(&String, Container)> = bridges(&composed)
            .into_iter()
            .map(|(name, service)| {
                let mut container = container(&composed, service);
                let url = service["environment"]["BRIDGE__STORE__URL"].as_str();
                let url = interpolated(url.expect("the store"));
                let here = format!("@{}/", postgres.address());
                let placed = url.replace("@postgres:5432/", &here);
                assert_ne!(placed, url);
                container.sets("BRIDGE__STORE__URL", &placed);
                (name, container)
            })
            .collect();
        let running: Vec<(&String, Serve)> = containers
            .iter()
            .map(|(name, container)| (*name, container.starts()))
            .collect();
        assert_eq!(running.len(), 2);
        for ((_, container), (_, bridge)) in containers.iter().zip(&running) {
            assert!(container.is_healthy(bridge.admin));
        }

        let Some(haproxy) = Haproxy::between(&file("haproxy.cfg"), &running) else {
            return;
        };
        haproxy.brings_a_call();
        for (name, container) in &containers {
            let output = container.command(&["list"]).output().expect("it runs");
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(printed.contains("CA"), "{name}: {printed}");
        }
    }
}
