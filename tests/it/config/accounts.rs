//! `[[accounts]]`: several Twilio accounts, each with its own Acquire account.

use secrecy::ExposeSecret as _;
use twilio_acquire_bridge::twilio::AccountSid;

use super::load_alone;

const ONE: &str = r#"
[[accounts]]
twilio_account_sid = "AC00000000000000000000000000000001"
twilio_auth_tokens = ["token-one", "token-two"]
acquire_account_id = "first"
acquire_api_key_file = "DIR/one"
"#;

const TWO: &str = r#"
[[accounts]]
twilio_account_sid = "AC00000000000000000000000000000002"
twilio_shared_keys_file = "DIR/keys"
acquire_account_id = "second"
"#;

const URL: (&str, &str) = ("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com");

#[test]
fn each_account_has_its_own_secrets_and_destination() {
    let with_slash = (
        "BRIDGE__ACQUIRE__BASE_URL",
        "https://{account_id}.acquire.io/",
    );
    let config = load_alone(&format!("{ONE}{TWO}"), &[URL, with_slash]).expect("a configuration");
    let sid = |text: &str| AccountSid::parse(text).expect("a SID");

    let first = config
        .account(&sid("AC00000000000000000000000000000001"))
        .expect("the first");
    assert_eq!(first.auth_tokens.len(), 2);
    assert_eq!(
        config.acquire.base_url_of(first),
        "https://first.acquire.io"
    );
    let key = first.acquire_api_key.as_ref().expect("a key");
    assert_eq!(key.expose_secret(), "from-a-file");

    let second = config
        .account(&sid("AC00000000000000000000000000000002"))
        .expect("the second");
    assert_eq!(second.shared_keys[0].0, "KI1");
    assert_eq!(second.shared_keys[0].1.expose_secret(), "one=");
    assert_eq!(second.shared_keys[1].1.expose_secret(), "two");

    assert!(
        config
            .account(&sid("AC00000000000000000000000000000003"))
            .is_none()
    );
}

#[test]
fn a_canary_needs_an_auth_token_of_any_account() {
    let canary = "[canary]\nevery = \"5m\"\n";
    assert!(load_alone(&format!("{canary}{TWO}{ONE}"), &[URL]).is_ok());
    let mistakes = load_alone(&format!("{canary}{TWO}"), &[URL]).expect_err("one mistake");
    assert_eq!(
        mistakes,
        [
            "canary.every needs an auth token that signs canaries: set twilio_auth_tokens in one of [[accounts]]"
        ]
    );
}

#[test]
fn settings_of_one_account_are_refused_together_with_accounts() {
    let file = format!("{ONE}\n[acquire]\napi_key = \"planted-secret\"\n");
    let mistakes = load_alone(
        &file,
        &[
            URL,
            ("TWILIO_AUTH_TOKEN", "planted-secret"),
            ("ACQUIRE_ACCOUNT_ID", "example"),
        ],
    )
    .expect_err("three mistakes");
    assert_eq!(
        mistakes,
        [
            "TWILIO_AUTH_TOKEN must not be set together with [[accounts]], because it does not name an account; set twilio_auth_tokens in each entry instead",
            "ACQUIRE_ACCOUNT_ID must not be set together with [[accounts]], because it does not name an account; set acquire_account_id in each entry instead",
            "acquire.api_key must not be set together with [[accounts]], because it does not name an account; set acquire_api_key in each entry instead",
        ]
    );
}

#[test]
fn each_mistake_in_an_account_names_the_entry() {
    let file = format!(
        r#"{ONE}{ONE}
        [[accounts]]
        twilio_account_sid = "AC1"
        acquire_account_id = "third.example.com/"
        twilio_auth_token = "planted-secret"

        [[accounts]]
        twilio_shared_keys = {{ KI1 = 5 }}
        acquire_api_key = "planted secret"
        "#
    );
    let mistakes = load_alone(&file, &[URL]).expect_err("mistakes");
    assert_eq!(
        mistakes,
        [
            "accounts[3].twilio_account_sid = \"AC1\" must be AC followed by 32 hexadecimal digits",
            "accounts[3].acquire_account_id = \"third.example.com/\" must be only the account's name, as in https://NAME.acquire.io: 1 to 63 letters, digits and inner hyphens",
            "accounts[3] has no Twilio auth token: set twilio_auth_tokens, twilio_shared_keys, or one of them with _file",
            "accounts[4].twilio_shared_keys (a secret, not shown) must be a table of strings or ID=SECRET pairs, not empty, in printable ASCII without spaces",
            "accounts[4].acquire_api_key (a secret, not shown) must be a string, not empty, in printable ASCII without spaces",
            "accounts[4].twilio_account_sid is not set",
            "accounts[4].acquire_account_id is not set",
            "accounts[2].twilio_account_sid = \"AC00000000000000000000000000000001\" is already in accounts[1]; each SID may appear only once",
            "accounts[3].twilio_auth_token is not a known setting; the nearest is accounts[3].twilio_auth_tokens",
        ]
    );
}

#[test]
fn accounts_are_entries_and_not_a_table_nor_variables() {
    let mistakes = load_alone(
        "[accounts]\nacquire_account_id = \"first\"\n",
        &[
            URL,
            ("BRIDGE__ACCOUNTS__0__TWILIO_AUTH_TOKENS", "planted-secret"),
        ],
    )
    .expect_err("mistakes");
    assert_eq!(
        mistakes[..2],
        [
            "accounts must be entries that each start with [[accounts]]",
            "BRIDGE__ACCOUNTS__0__TWILIO_AUTH_TOKENS cannot be set in the environment: put [[accounts]] into the configuration file, and keep secrets out of it with the ..._file keys",
        ]
    );
}
