//! The sentence for each mistake in a variable.

use super::load;

/// A variable with one mistake, and its sentence.
const IN_THE_ENVIRONMENT: &[(&str, &str, &str)] = &[
    (
        "BRIDGE__DELIVERY__TIMEOUT",
        "soon",
        "BRIDGE__DELIVERY__TIMEOUT = \"soon\" must be a duration from 100ms to 5m, such as 200ms, 10s, 5m, 2h or 30d",
    ),
    (
        "BRIDGE__DELIVERY__CONCURRENCY",
        "many",
        "BRIDGE__DELIVERY__CONCURRENCY = \"many\" must be a whole number from 1 to 1024",
    ),
    (
        "BRIDGE__DELIVERY__TIMEUOT",
        "planted-secret",
        "BRIDGE__DELIVERY__TIMEUOT is not a known setting; the nearest is BRIDGE__DELIVERY__TIMEOUT",
    ),
    (
        "BRIDGE__SERVER__PUBLIC_URL",
        "bridge.example.com",
        "BRIDGE__SERVER__PUBLIC_URL = \"bridge.example.com\" must start with https:// or http://, followed by a host",
    ),
    (
        "BRIDGE__SERVER__PUBLIC_URL",
        "https://bridge.example.com/a/twilio/voice/status",
        "BRIDGE__SERVER__PUBLIC_URL = \"https://bridge.example.com/a/twilio/voice/status\" must not end in a path that the bridge serves; write \"https://bridge.example.com/a\"",
    ),
    (
        "BRIDGE__SERVER__PUBLIC_URL",
        "https://bridge.example.com#rc=5",
        "BRIDGE__SERVER__PUBLIC_URL = \"https://bridge.example.com#rc=5\" must not have a query, a fragment or user info; write \"https://bridge.example.com\"",
    ),
    (
        "ACQUIRE_ACCOUNT_ID",
        "example.acquire.io",
        "ACQUIRE_ACCOUNT_ID = \"example.acquire.io\" must be only the account's name, as in https://NAME.acquire.io: 1 to 63 letters, digits and inner hyphens",
    ),
    (
        "TWILIO_AUTH_TOKEN",
        " , ",
        "TWILIO_AUTH_TOKEN (a secret, not shown) must be a string or a list of strings, not empty, in printable ASCII without spaces",
    ),
    (
        "TWILIO_AUTH_TOKEN",
        "pl\u{e4}nted-secret",
        "TWILIO_AUTH_TOKEN (a secret, not shown) must be a string or a list of strings, not empty, in printable ASCII without spaces",
    ),
    (
        "TWILIO_AUTH_TOKEN_FILE",
        "DIR/two",
        "TWILIO_AUTH_TOKEN and TWILIO_AUTH_TOKEN_FILE are both set; remove one of them",
    ),
    (
        "BRIDGE__DIRECTORY__ENTRIES",
        "+12025550123",
        "BRIDGE__DIRECTORY__ENTRIES must be a table of strings, NAME = \"TEXT\"",
    ),
];

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    for (variable, value, sentence) in IN_THE_ENVIRONMENT {
        let mistakes = load("", &[(variable, value)]).expect_err(variable);
        assert_eq!(mistakes, [*sentence], "{variable}={value}");
    }
}
