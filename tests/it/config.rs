//! The configuration: its values, and the sentence for each mistake.

mod accounts;
mod calls;
mod check;
mod manual;
mod mistakes;
mod recording;
mod schema;
mod variables;

use std::fs;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use twilio_acquire_bridge::acquire::response::SuccessRule;
use twilio_acquire_bridge::config::{
    self, Config, ConfigError, LogFormat, ProxyProtocolSetting, StoreUrl, partial,
};

/// The three variables that are required.
const REQUIRED: [(&str, &str); 3] = [
    ("TWILIO_AUTH_TOKEN", "made-up-token"),
    ("ACQUIRE_ACCOUNT_ID", "example"),
    ("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com"),
];

/// Loads `file` with [`REQUIRED`] and `environment`; the folder's path is shown as `DIR`.
fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let all: Vec<_> = REQUIRED.iter().chain(environment).copied().collect();
    load_alone(file, &all)
}

/// As [`load`], with nothing else in the environment; a later value wins.
fn load_alone(file: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bridge.toml");
    let name = folder.path().display().to_string();
    let placed = |text: &str| text.replace("DIR", &name);
    fs::write(&path, placed(file)).expect("a file");
    fs::write(folder.path().join("two"), "token-one\ntoken-two\n").expect("a file");
    fs::write(folder.path().join("one"), "from-a-file\r\n").expect("a file");
    fs::write(folder.path().join("keys"), "KI1=one=\nKI2=two\n").expect("a file");
    fs::write(folder.path().join("empty"), "\n").expect("a file");
    fs::write(
        folder.path().join("directory.csv"),
        "address,email\n+12025550123,user@example.com\n",
    )
    .expect("a file");
    fs::write(
        folder.path().join("bad.csv"),
        "address,email\n+12025550123,user@example.com\n+12025550124\n+12025550123,user@example.com\n",
    )
    .expect("a file");
    let mut set = std::collections::BTreeMap::new();
    for (key, value) in environment {
        set.insert((*key).to_owned(), placed(value));
    }
    config::load(Some(&path), set).map_err(|ConfigError(mistakes)| {
        mistakes
            .iter()
            .map(|mistake| mistake.replace(&name, "DIR"))
            .collect()
    })
}

#[test]
fn three_variables_suffice() {
    let environment = REQUIRED.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = config::load(None, environment).expect("a configuration");
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(
        config.server.public_urls[0].to_string(),
        "https://bridge.example.com"
    );
    assert_eq!(config.server.proxy_protocol, ProxyProtocolSetting::Off);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert!(config.admin.token.is_none());
    assert_eq!(config.store.url, StoreUrl::Sqlite("bridge.db".into()));
    assert_eq!(config.store.retention, Duration::from_secs(30 * 86_400));
    assert_eq!(config.acquire.paths.call_end, "/api/v1/voip/call-answered");
    assert_eq!(config.acquire.success, SuccessRule::Body);
    assert_eq!(config.delivery.concurrency, 32);
    assert_eq!(config.delivery.policy.schedule.len(), 16);
    assert_eq!(config.log.format, LogFormat::Text);
    let [account] = &config.accounts[..] else {
        panic!("one account, not {}", config.accounts.len())
    };
    assert_eq!(account.twilio_account_sid, None);
    assert_eq!(account.auth_tokens[0].expose_secret(), "made-up-token");
    assert_eq!(
        config.acquire.base_url_of(account),
        "https://example.acquire.io"
    );
}

#[test]
fn the_environment_overrides_the_file_and_the_file_overrides_the_defaults() {
    let file = "[delivery]\ntimeout = \"7s\"\nconcurrency = 5\nschedule = [\"1s\", \"2m\"]\n";
    let config = load(
        file,
        &[
            ("BRIDGE__DELIVERY__CONCURRENCY", "6"),
            ("BRIDGE__ADMIN__LISTEN", ""),
            ("BRIDGE__LOG__LEVEL", "warn,actix_web=debug"),
        ],
    )
    .expect("a configuration");
    assert_eq!(config.delivery.timeout, Duration::from_secs(7));
    assert_eq!(config.delivery.concurrency, 6);
    assert_eq!(config.delivery.lease, Duration::from_secs(60));
    assert_eq!(
        config.delivery.policy.schedule,
        [Duration::from_secs(1), Duration::from_secs(120)]
    );
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.log.level, "warn,actix_web=debug");
}

#[test]
fn lists_in_the_environment_are_separated_by_spaces_or_commas() {
    let config = load(
        "",
        &[
            (
                "BRIDGE__SERVER__PUBLIC_URL",
                "https://a.example.com, https://b.example.com/prefix",
            ),
            ("TWILIO_AUTH_TOKEN", "token-one,token-two"),
            ("BRIDGE__DELIVERY__SCHEDULE", "200ms 1s,2h"),
            (
                "BRIDGE__DIRECTORY__ENTRIES",
                "+12025550123=user@example.com, client:jane=jane@example.com",
            ),
        ],
    )
    .expect("a configuration");
    assert_eq!(config.server.public_urls.len(), 2);
    assert_eq!(config.accounts[0].auth_tokens.len(), 2);
    assert_eq!(config.delivery.policy.schedule.len(), 3);
    assert_eq!(
        config.rules.directory.entries["client:jane"],
        "jane@example.com"
    );
}

#[test]
fn secrets_come_from_files_without_the_final_line_end() {
    let file = "[admin]\ntoken_file = \"DIR/one\"\n";
    let environment = [
        ("TWILIO_AUTH_TOKEN", ""),
        ("TWILIO_AUTH_TOKEN_FILE", "DIR/two"),
        ("BRIDGE__ACQUIRE__API_KEY_FILE", "DIR/one"),
    ];
    let config = load(file, &environment).expect("a configuration");
    let exposed = |secret: &Option<secrecy::SecretString>| {
        secret
            .as_ref()
            .map(|secret| secret.expose_secret().to_owned())
    };
    assert_eq!(exposed(&config.admin.token).as_deref(), Some("from-a-file"));
    let account = &config.accounts[0];
    assert_eq!(
        exposed(&account.acquire_api_key).as_deref(),
        Some("from-a-file")
    );
    assert_eq!(account.auth_tokens.len(), 2);
    assert_eq!(account.auth_tokens[1].expose_secret(), "token-two");
}

#[test]
fn the_directory_is_the_entries_and_the_file_together() {
    let file = "[directory]\nentries = { \"client:jane\" = \"jane@example.com\" }\nfile = \"DIR/directory.csv\"\ndefault = \"calls@example.com\"\n";
    let directory = load(file, &[]).expect("a configuration").rules.directory;
    assert_eq!(directory.entries.len(), 2);
    assert_eq!(directory.entries["+12025550123"], "user@example.com");
    assert_eq!(directory.default.as_deref(), Some("calls@example.com"));
}

#[test]
fn a_dry_run_needs_no_account() {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (urls, rules) = config::load_part(None, [], partial::urls_and_rules).expect("defaults");
    assert!(urls.is_empty());
    assert!(rules.empty_to.is_none());

    let environment = [
        set("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com"),
        set("BRIDGE__CALLS__EMPTY_TO", "unknown"),
        set("TWILIO_AUTH_TOKEN", "made-up-token"),
    ];
    let (urls, rules) =
        config::load_part(None, environment, partial::urls_and_rules).expect("a dry run");
    assert_eq!(urls.len(), 1);
    assert_eq!(rules.empty_to.as_deref(), Some("unknown"));

    let wrong = [set("BRIDGE__SERVER__PUBLIC_URL", "bridge.example.com")];
    assert!(config::load_part(None, wrong, partial::urls_and_rules).is_err());
}

#[test]
fn a_running_bridge_keeps_its_proxies_while_it_requires_their_header() {
    let required = |proxies: &str| {
        let file = "server.proxy_protocol = \"required\"";
        let proxies = [("BRIDGE__SERVER__TRUSTED_PROXIES", proxies)];
        load(file, &proxies).expect("a configuration")
    };
    let running = required("10.0.0.7");
    assert_eq!(
        running.server.proxy_protocol,
        ProxyProtocolSetting::Required
    );

    let others = running.reload(required("10.0.0.8"));
    assert_eq!(others.applied, ["server.trusted_proxies"]);
    assert_eq!(others.needs_restart, [""; 0]);

    let off = running.reload(load("", &[]).expect("a configuration"));
    assert_eq!(off.applied, [""; 0]);
    assert_eq!(
        off.needs_restart,
        ["server.proxy_protocol", "server.trusted_proxies"]
    );
    let server = off.config.server;
    assert_eq!(server.proxy_protocol, ProxyProtocolSetting::Required);
    assert_eq!(server.trusted_proxies, running.server.trusted_proxies);
}
