//! HAProxy with a configuration of `deploy/`, before bridges that run here.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::container::TOKEN;
use crate::process::{PROGRAM, Serve};
use crate::support::port::Port;
use crate::{left_out, root};

pub struct Haproxy {
    child: Child,
    port: Port,
    folder: TempDir,
}

impl Haproxy {
    /// Runs `file` with the addresses of these bridges, by their names, and a made-up certificate.
    /// `None`, with a note on stderr, where there is no HAProxy.
    pub fn between(file: &Path, bridges: &[(&String, Serve)]) -> Option<Self> {
        let Some(program) = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .into_iter()
            .find(|program| Path::new(program).exists())
        else {
            left_out("the bridges behind HAProxy (it needs haproxy)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let port = Port::reserve();
        let address = port.address;
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let certified = certified.expect("a certificate");
        let certificate = certified.cert.pem();
        let pem = folder.path().join("certificate.pem");
        std::fs::write(&pem, certified.signing_key.serialize_pem() + &certificate)
            .expect("written");
        std::fs::write(folder.path().join("trusted.pem"), certificate).expect("written");

        let mut text = std::fs::read_to_string(file).expect("the configuration");
        let mut place = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        };
        place("bind :8443", &format!("bind {address}"));
        place("/run/secrets/certificate.pem", &pem.display().to_string());
        for (name, bridge) in bridges {
            let here = format!(
                "127.0.0.1:{} check port {}",
                bridge.public.port(),
                bridge.admin.port()
            );
            place(&format!("{name}:8080"), &here);
        }
        let placed = folder.path().join("haproxy.cfg");
        std::fs::write(&placed, text).expect("written");
        let checked = Command::new(program)
            .arg("-c")
            .arg("-f")
            .arg(&placed)
            .output();
        let checked = checked.expect("haproxy runs");
        assert!(checked.status.success(), "{checked:?}");
        let child = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(&placed)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("haproxy runs");
        let late = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < late, "haproxy does not listen");
            std::thread::yield_now();
        }
        Some(Self {
            child,
            port,
            folder,
        })
    }

    /// Simulates Twilio: one signed callback over TLS.
    pub fn brings_a_call(&self) {
        let output = Command::new(PROGRAM)
            .arg("replay")
            .arg(root().join("fixtures/twilio/inbound-completed.http"))
            .args([
                "--to",
                &format!("https://localhost:{}", self.port.address.port()),
            ])
            .args(["--public-url", "https://bridge.example.com"])
            .env_clear()
            .env("BRIDGE_CONFIG", "/dev/null")
            .env("TWILIO_AUTH_TOKEN", TOKEN)
            .env("SSL_CERT_FILE", self.folder.path().join("trusted.pem"))
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
