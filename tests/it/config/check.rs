//! The command `check`, also with the configuration of the package.

use std::path::Path;

use assert_cmd::Command;

use super::REQUIRED;

fn check() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
    command
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .arg("check");
    command
}

#[test]
fn settings_and_schedule_are_shown_without_secrets() {
    let output = check()
        .envs(REQUIRED)
        .env("TWILIO_AUTH_TOKEN", "planted-secret,planted-secret-2")
        .env("BRIDGE__ACQUIRE__API_KEY", "planted-secret")
        .env("BRIDGE__DELIVERY__SCHEDULE", "1s 2m")
        .assert()
        .code(0);
    let shown = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(!shown.contains("planted-secret"), "{shown}");
    for line in [
        "server.listen = \"0.0.0.0:8080\"  # default",
        "server.public_url = \"https://bridge.example.com\"  # environment",
        "twilio.auth_tokens = \"***\"  # environment, 2 set",
        "acquire.api_key = \"***\"  # environment",
        "# admin.token is not set",
        "# attempt  wait      since the end of the call",
        "#       1  0s        0s",
        "#       2  1s        1s",
        "#       3  2m        2m 1s",
        "# The bridge parks a call that Acquire does not accept after attempt 3, 2m 1s",
        "# after the end of the call or up to 10 % later.",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[test]
fn the_output_fits_into_80_columns() {
    let output = check().envs(REQUIRED).assert().code(0);
    let shown = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let wide = shown.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{shown}");
}

/// The settings of an output as a configuration, with these variables.
fn settings(command: &mut Command) -> serde_json::Value {
    let output = command.arg("--json").assert().code(0);
    let json: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let mut settings = json["settings"].clone();
    for (_, setting) in settings.as_object_mut().expect("settings") {
        setting.as_object_mut().expect("a setting").remove("origin");
    }
    settings
}

#[test]
fn the_output_is_a_configuration_with_the_same_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a-token-of-20-characters-or-more").expect("a file");
    let printed = folder.path().join("printed.toml");
    let hidden = [
        ("BRIDGE__DIRECTORY__ENTRIES", "client:jane=jane@example.com"),
        ("BRIDGE__ACQUIRE__PROXY", "http://jane:planted@proxy:3128"),
    ];
    let given = [
        ("BRIDGE__CALLS__REPORT", "call"),
        (
            "BRIDGE__CALLS__EMPTY_TO",
            "a \"quoted\" \\ \t word # no comment",
        ),
        ("BRIDGE__DELIVERY__SCHEDULE", "1s 2m"),
        ("BRIDGE__SERVER__MAX_CONNECTIONS", "77"),
        (
            "BRIDGE__SERVER__PUBLIC_URL",
            &format!("https://{}.example.com", "a".repeat(150)),
        ),
        ("BRIDGE__ADMIN__TOKEN_FILE", &secret.display().to_string()),
    ];
    let one_account = [
        ("TWILIO_AUTH_TOKEN", "made-up"),
        ("ACQUIRE_ACCOUNT_ID", "acme"),
    ];
    let before = || {
        let mut command = check();
        command.envs(one_account).envs(hidden).envs(given);
        command
    };
    let output = before().assert().code(0).get_output().stdout.clone();
    std::fs::write(&printed, output).expect("a file");
    let mut again = check();
    again
        .envs(one_account)
        .envs(hidden)
        .arg("--config")
        .arg(&printed);
    assert_eq!(settings(&mut again), settings(&mut before()));

    let accounts = folder.path().join("accounts.toml");
    let entry = |number: usize| {
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC{number:032}\"\n\
             twilio_auth_tokens_file = \"{}\"\nacquire_account_id = \"acme{number}\"\n",
            secret.display()
        )
    };
    let text = format!(
        "server.public_url = \"https://bridge.example.com\"\n{}{}",
        entry(1),
        entry(2)
    );
    std::fs::write(&accounts, text).expect("a file");
    let before = || {
        let mut command = check();
        command.arg("--config").arg(&accounts);
        command
    };
    let output = before().assert().code(0).get_output().stdout.clone();
    std::fs::write(&printed, output).expect("a file");
    let mut again = check();
    again.arg("--config").arg(&printed);
    assert_eq!(settings(&mut again), settings(&mut before()));
}

#[test]
fn a_program_can_read_the_check() {
    let output = check().envs(REQUIRED).arg("--json").assert().code(0);
    let json: serde_json::Value =
        serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    assert_eq!(json["settings"]["twilio.auth_tokens"]["value"], "(set)");
    assert_eq!(json["settings"]["delivery.timeout"]["origin"], "default");
    assert_eq!(json["schedule"][16]["attempt"], 17);
    assert_eq!(json["schedule"][1]["wait_seconds"], 1.0);
}

#[test]
fn a_wrong_configuration_ends_with_2_and_each_mistake_on_stderr() {
    // A secret that cannot be read is reported beside the others.
    let output = check()
        .env("BRIDGE__LOG__FORMAT", "xml")
        .env("BRIDGE__ADMIN__TOKEN_FILE", "/nonexistent")
        .assert()
        .code(2);
    let output = output.get_output();
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(stderr.lines().count(), 5, "{stderr}");
    assert!(
        stderr.lines().all(|line| line.starts_with("error: ")),
        "{stderr}"
    );
}

#[test]
fn an_unreachable_acquire_ends_an_online_check_with_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let online = |url: &str| {
        let mut command = check();
        command.envs(REQUIRED).env("BRIDGE__ACQUIRE__BASE_URL", url);
        command.arg("--online");
        command
    };
    online(&url).assert().code(0);
    // No test listens there; the port of one that stopped may be another's by now.
    let output = online("http://127.0.0.1:9").assert().code(1);
    let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        stderr.contains("cannot be reached (acquire.base_url)"),
        "{stderr}"
    );
}

#[test]
fn the_configuration_of_the_package_lacks_only_the_token() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/bridge.toml");
    let packaged = || {
        let mut command = check();
        command.arg("--config").arg(&file);
        command
    };
    let refused = packaged().assert().code(2);
    let stderr = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert_eq!(
        stderr,
        "error: twilio.auth_tokens_file = \"/etc/twilio-acquire-bridge/twilio-auth-token\" cannot be \
         read: No such file or directory (os error 2)\n"
    );
    let output = packaged()
        .env("TWILIO_AUTH_TOKEN", "made-up")
        .assert()
        .code(0);
    let shown = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(shown.contains("log.format = \"json\"  # file"), "{shown}");
    assert!(
        shown.contains("acquire.account_id = \"example\"  # file"),
        "{shown}"
    );
}

#[test]
fn check_accepts_its_own_output_and_prints_it_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let several = "server.public_url = \"https://bridge.example.com\"
        acquire.proxy = \"http://jane:planted@proxy.example.com:3128\"
        store.url = \"postgres://bridge:planted@db.example.com/bridge\"
        directory.entries = { \"client:jane\" = \"planted@example.com\" }
        recording.link = \"bridge\"
        recording.link_secret = \"planted-planted-planted-planted-planted\"
        canary.every = \"1m\"
        [[accounts]]
        twilio_account_sid = \"AC00000000000000000000000000000001\"
        twilio_auth_tokens = [\"planted1\", \"planted2\"]
        twilio_shared_keys = { KI1 = \"planted\" }
        twilio_api_key_sid = \"SK00000000000000000000000000000001\"
        twilio_api_key_secret = \"planted\"
        acquire_account_id = \"first\"
        acquire_api_key = \"planted\"
        [[operators]]
        name = \"alice\"
        token = \"planted-planted-planted\"
        role = \"viewer\"
        [[notify]]
        url = \"https://hooks.example.com/planted\"
        secret = \"whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVkcGxhbnRlZA==\"
        [heartbeat]
        url = \"https://hc.example.com/planted\"";
    let one = "server.public_url = \"https://bridge.example.com\"
        twilio.auth_tokens = \"planted\"
        acquire.account_id = \"acme\"
        delivery.schedule = [\"1s\", \"2m\"]";
    for text in [several, one] {
        let printed = |file: &Path| {
            let mut command = check();
            let assert = command.arg("--config").arg(file).assert().code(0);
            let output = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
            assert!(!output.contains("planted"), "{output}");
            output
        };
        let first = printed(&write("first.toml", text));
        let second = printed(&write("second.toml", &first));
        let third = printed(&write("third.toml", &second));
        let values = |text: &str| text.parse::<toml::Table>().expect("TOML");
        assert_eq!(values(&first), values(&second));
        assert_eq!(second, third);
        assert!(first.contains("\"***\""), "{first}");
    }
}

#[test]
fn a_proxy_is_read_from_a_file_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("proxy");
    std::fs::write(
        &file,
        "http://jane:planted%20secret@proxy.example.com:3128\n",
    )
    .expect("a file");
    let output = check()
        .envs(REQUIRED)
        .env("BRIDGE__ACQUIRE__PROXY_FILE", &file)
        .env("BRIDGE__TWILIO__PROXY", "http://jane:planted@proxy:3128")
        .assert()
        .code(0);
    let shown = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(
        shown.contains(&format!("acquire.proxy_file = \"{}\"", file.display())),
        "{shown}"
    );
    assert!(
        shown.contains("twilio.proxy = \"***\"  # environment"),
        "{shown}"
    );
    assert!(!shown.contains("planted"), "{shown}");
}

#[test]
fn a_client_certificate_without_its_key_is_a_mistake() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for (set, other) in [
        ("CERT", "acquire.client_key_file"),
        ("KEY", "acquire.client_cert_file"),
    ] {
        let name = format!("BRIDGE__ACQUIRE__CLIENT_{set}_FILE");
        let output = check()
            .envs(REQUIRED)
            .env(&name, file.path())
            .assert()
            .code(2);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        let sentence = format!("{name} is set without {other}: a client certificate needs both");
        assert!(stderr.contains(&sentence), "{stderr}");
    }
}

#[test]
fn the_store_is_read_from_a_file_and_its_password_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store-url");
    std::fs::write(&file, "postgres://bridge:planted@db.example.com/bridge\n").expect("a file");
    let output = check()
        .envs(REQUIRED)
        .env("BRIDGE__STORE__URL_FILE", &file)
        .assert()
        .code(0);
    let shown = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let line = format!("store.url_file = \"{}\"", file.display());
    assert!(shown.contains(&line), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");
}
