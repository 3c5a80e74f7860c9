//! The manifests, without a cluster: validated, compared with each other, and their command run.

use std::path::PathBuf;

use serde_json::Value;

use crate::container::{Container, Image, TOKEN};
use crate::support::postgres_server::Server;
use crate::{deploy, lint};

fn files() -> [PathBuf; 2] {
    ["bridge.yaml", "secret.yaml"].map(|name| deploy().join("kubernetes").join(name))
}

/// The manifests by their kinds; `None`, with a note on stderr, where no tool reads them.
struct Manifests(Vec<Value>);

impl Manifests {
    fn read() -> Option<Self> {
        let all: Vec<Value> = files()
            .iter()
            .flat_map(|file| lint::documents(file))
            .collect();
        (!all.is_empty()).then_some(Self(all))
    }

    fn one(&self, kind: &str) -> &Value {
        let mut found = self.0.iter().filter(|manifest| manifest["kind"] == kind);
        found.next().expect("it is there")
    }

    fn pod(&self) -> &Value {
        &self.one("StatefulSet")["spec"]["template"]
    }

    fn bridge(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    /// What the cluster would start, with its configuration, its secrets and `store`.
    fn container(&self, store: &str) -> Container {
        let mut container = Container::of_image();
        let secrets = &self.one("Secret")["stringData"];
        for variable in self.bridge()["env"].as_array().expect("variables") {
            let name = variable["name"].as_str().expect("a name");
            container.sets(name, variable["value"].as_str().expect("a value"));
        }
        for mount in self.bridge()["volumeMounts"].as_array().expect("mounts") {
            let place = mount["mountPath"].as_str().expect("a place");
            let texts = match mount["name"].as_str().expect("a name") {
                "configuration" => self.one("ConfigMap")["data"].clone(),
                "secrets" => secrets.clone(),
                _ => continue,
            };
            for (name, text) in texts.as_object().expect("files") {
                container.mounts(&format!("{place}/{name}"), text.as_str().expect("a text"));
            }
        }
        container.mounts("/run/secrets/bridge/twilio-auth-token", TOKEN);
        container.mounts("/run/secrets/bridge/store-url", store);
        container
    }

    fn port(&self, name: &Value) -> String {
        let ports = self.bridge()["ports"].as_array().expect("ports");
        let port = ports.iter().find(|port| port["name"] == *name);
        port.expect("a named port")["containerPort"].to_string()
    }
}

#[test]
fn the_cluster_would_accept_every_manifest() {
    for file in files() {
        for version in ["1.29", "1.37"] {
            let strictly = ["--strict", "--kubernetes-version", version];
            lint::finds_nothing("kubernetes-validate", &strictly, &file);
        }
    }
}

#[test]
fn two_pods_run_on_two_machines_and_stop_one_at_a_time() {
    let Some(manifests) = Manifests::read() else {
        return;
    };
    let set = &manifests.one("StatefulSet")["spec"];
    assert_eq!(set["replicas"], 2);
    let labels = &manifests.pod()["metadata"]["labels"];
    let spread = &manifests.pod()["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(spread["whenUnsatisfiable"], "DoNotSchedule");
    let budget = &manifests.one("PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    for selector in [
        &spread["labelSelector"],
        &budget["selector"],
        &set["selector"],
    ] {
        assert_eq!(&selector["matchLabels"], labels);
    }
    for service in manifests
        .0
        .iter()
        .filter(|manifest| manifest["kind"] == "Service")
    {
        assert_eq!(&service["spec"]["selector"], labels);
        manifests.port(&service["spec"]["ports"][0]["targetPort"]);
    }
}

#[test]
fn the_pod_keeps_its_spool_and_has_time_to_stop() {
    let Some(manifests) = Manifests::read() else {
        return;
    };
    let spool =
        &manifests.one("StatefulSet")["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
    let mounts = manifests.bridge()["volumeMounts"]
        .as_array()
        .expect("mounts");
    let mount = mounts.iter().find(|mount| mount["name"] == *spool);
    assert_eq!(
        mount.expect("it is mounted")["mountPath"],
        Image::read().volume()
    );
    let container = manifests.container("sqlite:bridge.db");
    let grace = &manifests.pod()["spec"]["terminationGracePeriodSeconds"];
    assert!(grace.as_u64().expect("seconds") > container.stop());
    let user = manifests.pod()["spec"]["securityContext"]["runAsUser"].to_string();
    assert!(Image::read().says_once("USER").starts_with(&user));
    assert_eq!(
        manifests.bridge()["securityContext"]["readOnlyRootFilesystem"],
        true
    );
}

#[test]
fn the_pod_answers_its_probes() {
    let Some(manifests) = Manifests::read() else {
        return;
    };
    let postgres = Server::start(&[]);
    let container = manifests.container(&postgres.url("postgres"));
    let ports = ["callbacks", "admin"].map(|name| manifests.port(&Value::from(name)));
    let settings = ["server.listen", "admin.listen"].map(|key| container.port(key));
    assert_eq!(ports, settings);
    let arguments = manifests.bridge()["args"].clone();
    let arguments: Vec<String> = serde_json::from_value(arguments).expect("words");
    let bridge = container.starts_with(&arguments);
    for probe in ["livenessProbe", "readinessProbe"] {
        let asked = &manifests.bridge()[probe]["httpGet"];
        assert_eq!(asked["port"], "admin");
        assert_eq!(bridge.asked(asked["path"].as_str().expect("a path")), 200);
    }
    assert_eq!(
        bridge.asked("/metrics"),
        401,
        "the console asks for the token"
    );
}
