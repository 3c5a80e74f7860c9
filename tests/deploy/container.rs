//! A container without an engine: its command line, environment and mounted files, run here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{PROGRAM, Serve};
use crate::text;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What `deploy/docker/Dockerfile` says of the image.
pub struct Image {
    text: String,
}

impl Image {
    pub fn read() -> Self {
        let text = text("docker/Dockerfile");
        Self { text }
    }

    /// The values of an instruction in the last stage, which is the image.
    pub fn says(&self, instruction: &str) -> Vec<&str> {
        let shipped = self.text.rsplit("\nFROM ").next().expect("a stage");
        let lines = shipped.lines();
        let values = lines.filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
        values.collect()
    }

    pub fn says_once(&self, instruction: &str) -> &str {
        let [value] = self.says(instruction)[..] else {
            panic!("one {instruction} in the Dockerfile");
        };
        value
    }

    /// The words behind `CMD` in the form that needs no shell.
    pub fn words(&self, instruction: &str) -> Vec<String> {
        let value = self.says_once(instruction);
        let (_, words) = value.split_at(value.find('[').expect("words in brackets"));
        serde_json::from_str(words).expect("words in brackets")
    }

    pub fn volume(&self) -> &str {
        self.says_once("VOLUME")
    }
}

/// One that is made from the image.
pub struct Container {
    image: Image,
    environment: BTreeMap<String, String>,
    /// The root folder `/`.
    root: TempDir,
}

impl Container {
    pub fn of_image() -> Self {
        let image = Image::read();
        let root = tempfile::tempdir().expect("a folder");
        let volume = root.path().join(&image.volume()[1..]);
        std::fs::create_dir_all(volume).expect("a folder");
        let environment = image.says("ENV").into_iter();
        let environment = environment.filter_map(|assignment| assignment.split_once('='));
        let environment = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            image,
            environment,
            root,
        }
    }

    pub fn sets(&mut self, name: &str, value: &str) {
        let value = self.placed(value);
        self.environment.insert(name.to_owned(), value);
    }

    pub fn mounts(&self, path: &str, text: &str) {
        let file = PathBuf::from(self.placed(path));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, self.placed(text)).expect("a file");
    }

    /// With the folders that are mounted at the same paths.
    fn placed(&self, text: &str) -> String {
        let root = self.root.path().display();
        ["/run/secrets/", "/etc/twilio-acquire-bridge/"]
            .iter()
            .fold(text.to_owned(), |text, folder| {
                text.replace(folder, &format!("{root}{folder}"))
            })
    }

    pub fn command(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let entry = self.image.words("ENTRYPOINT");
        assert_eq!(entry, ["/usr/bin/twilio-acquire-bridge"]);
        let folder = &self.image.says_once("WORKDIR")[1..];
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.root.path().join(folder));
        command
    }

    /// As the image starts it.
    pub fn starts(&self) -> Serve {
        self.starts_with(&self.image.words("CMD"))
    }

    /// On the addresses of its settings, but on free ports.
    pub fn starts_with(&self, arguments: &[String]) -> Serve {
        let mut command = self.command(arguments);
        for (key, variable) in [
            ("server.listen", "BRIDGE__SERVER__LISTEN"),
            ("admin.listen", "BRIDGE__ADMIN__LISTEN"),
        ] {
            let listen = self.setting(key);
            let (host, _) = listen.rsplit_once(':').expect("IP:PORT");
            command.env(variable, format!("{host}:0"));
        }
        Serve::by(&mut command)
    }

    /// A setting as the program reads it.
    pub fn setting(&self, key: &str) -> String {
        let output = self.command(&["check", "--json"]).output();
        let output = output.expect("the program runs");
        assert!(output.status.success(), "{output:?}");
        let settings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let value = settings["settings"][key]["value"]
            .as_str()
            .expect("a setting");
        value.trim_matches('"').to_owned()
    }

    pub fn port(&self, key: &str) -> String {
        let listen = self.setting(key);
        listen.rsplit(':').next().expect("IP:PORT").to_owned()
    }

    /// The result of the image's health check for a bridge of this container, by its admin listener.
    pub fn is_healthy(&self, admin: SocketAddr) -> bool {
        let words = self.image.words("HEALTHCHECK");
        let mut check = self.command(&words[1..]);
        check.env("BRIDGE__ADMIN__LISTEN", admin.to_string());
        check.output().expect("the program runs").status.success()
    }

    /// How long it may take to stop, in seconds.
    pub fn stop(&self) -> u64 {
        let seconds = |key| {
            let value = self.setting(key);
            let value = value.strip_suffix('s').expect("in seconds");
            value.parse::<u64>().expect("a number")
        };
        seconds("server.drain") + seconds("server.stop_timeout")
    }
}
