//! `[recording]` and `[twilio]`: links that the bridge serves, and the keys to fetch with.

use secrecy::ExposeSecret as _;

use super::{load, load_alone};
use twilio_acquire_bridge::config;
use twilio_acquire_bridge::domain::recording_link::RecordingLinks;

const KEY: &str = "[twilio]\napi_key_sid = \"SK00000000000000000000000000000001\"\napi_key_secret_file = \"DIR/one\"\n";

const BRIDGE: &str =
    "[recording]\nlink = \"bridge\"\nlink_secret = \"planted-secret-planted-secret-planted\"\n";

#[test]
fn by_default_acquire_receives_twilios_url_and_nothing_is_played() {
    let config = load("", &[]).expect("a configuration");
    assert!(config.playback.is_none());
    assert!(matches!(
        config.rules.recordings.links,
        RecordingLinks::Twilio { format: "" }
    ));
}

#[test]
fn links_of_the_bridge_need_a_secret_and_a_key() {
    let config = load(&format!("{BRIDGE}{KEY}"), &[]).expect("a configuration");
    let playback = config.playback.expect("recordings are played");
    assert_eq!(playback.twilio.api_url, "https://api.twilio.com");
    assert_eq!(playback.concurrency, 32);
    let key = config.accounts[0].twilio_api_key.as_ref().expect("a key");
    assert_eq!(key.secret.expose_secret(), "from-a-file");

    let mistakes = load("recording.link = \"bridge\"", &[]).expect_err("two mistakes");
    assert_eq!(
        mistakes,
        [
            "recording.link = \"bridge\" needs recording.link_secret: generate one with openssl rand -hex 32",
            "the account has no Twilio API key, which recording.link = \"bridge\" needs to fetch recordings: set twilio.api_key_sid and twilio.api_key_secret",
        ]
    );
}

#[test]
fn each_mistake_gets_its_sentence() {
    for (file, sentence) in [
        (
            format!("[recording]\nlink = \"bridge\"\nlink_secret = \"planted-secret\"\n{KEY}"),
            "recording.link_secret (a secret, not shown) must have at least 32 characters: generate one with openssl rand -hex 32",
        ),
        (
            format!("{BRIDGE}{KEY}api_url = \"http://api.example.com\"\n"),
            "twilio.api_url = \"http://api.example.com\" must start with https://, because http:// would send the Twilio API keys unencrypted",
        ),
        (
            // For `reconcile` by hand.
            format!("{KEY}monitor_url = \"http://api.example.com\"\n"),
            "twilio.monitor_url = \"http://api.example.com\" must start with https://, because http:// would send the Twilio API keys unencrypted",
        ),
        (
            "reconcile.every = \"15m\"".to_owned(),
            "reconcile.every needs an API key that may list calls: set twilio.api_key_sid and twilio.api_key_secret, or twilio_api_key_sid and twilio_api_key_secret in [[accounts]]",
        ),
        (
            format!(
                "{BRIDGE}[twilio]\napi_key_sid = \"AC1\"\napi_key_secret = \"planted-secret\"\n"
            ),
            "twilio.api_key_sid = \"AC1\" must be SK followed by 32 hexadecimal digits",
        ),
        (
            "twilio.api_key_secret = \"planted-secret\"".to_owned(),
            "twilio.api_key_sid and twilio.api_key_secret belong together; set both or neither",
        ),
        (
            "recording.link = \"both\"".to_owned(),
            "recording.link = \"both\" must be \"twilio\" or \"bridge\"",
        ),
        (
            "recording.format = \"mp3\"".to_owned(),
            "recording.format = \"mp3\" must be \"\" or \".mp3\" or \".wav\"",
        ),
        (
            "recording.link_ttl = \"1s\"".to_owned(),
            "recording.link_ttl = \"1s\" must be a duration from 1m to 3650d, such as 200ms, 10s, 5m, 2h or 30d",
        ),
    ] {
        assert_eq!(load(&file, &[]).expect_err(&file), [sentence], "{file}");
    }
}

#[test]
fn each_entry_of_the_accounts_has_a_key_of_its_own() {
    let url = ("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com");
    let entry = |number: u32, rest: &str| {
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC{number:032}\"\ntwilio_auth_tokens = [\"x\"]\nacquire_account_id = \"acme\"\n{rest}\n"
        )
    };
    let key = "twilio_api_key_sid = \"SK00000000000000000000000000000001\"\ntwilio_api_key_secret_file = \"DIR/one\"";
    let both = format!("{BRIDGE}{}{}", entry(1, key), entry(2, key));
    assert!(load_alone(&both, &[url]).is_ok());
    let one = format!("{BRIDGE}{KEY}{}{}", entry(1, key), entry(2, ""));
    assert_eq!(
        load_alone(&one, &[url]).expect_err("three mistakes"),
        [
            "twilio.api_key_sid must not be set together with [[accounts]], because it does not name an account; set twilio_api_key_sid in each entry instead",
            "twilio.api_key_secret_file must not be set together with [[accounts]], because it does not name an account; set twilio_api_key_secret_file in each entry instead",
            "accounts[2] has no Twilio API key, which recording.link = \"bridge\" needs to fetch recordings: set accounts[2].twilio_api_key_sid and accounts[2].twilio_api_key_secret",
        ]
    );
}

#[test]
fn reading_the_store_needs_no_secret() {
    let environment = [
        ("BRIDGE__RECORDING__LINK", "bridge"),
        ("BRIDGE__RECORDING__LINK_SECRET_FILE", "/nonexistent"),
        ("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (_, rules) =
        config::load_part(None, environment, config::partial::store_and_rules).expect("rules");
    assert!(matches!(rules.recordings.links, RecordingLinks::Bridge(_)));
}
