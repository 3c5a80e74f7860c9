//! One sentence for each mistake: the key, its value (never a secret's) and what is allowed.

use twilio_acquire_bridge::config;

use super::{REQUIRED, load, load_alone};

/// A file with one mistake, and its sentence.
const IN_A_FILE: &[(&str, &str)] = &[
    (
        "delivery.timeout = \"soon\"",
        "delivery.timeout = \"soon\" must be a duration from 100ms to 5m, such as 200ms, 10s, 5m, 2h or 30d",
    ),
    (
        "delivery.timeout = 10",
        "delivery.timeout = 10 (integer) must be a duration from 100ms to 5m, such as 200ms, 10s, 5m, 2h or 30d",
    ),
    (
        "delivery.timeout = \"10m\"",
        "delivery.timeout = \"10m\" must be a duration from 100ms to 5m, such as 200ms, 10s, 5m, 2h or 30d",
    ),
    (
        "server.tls_cert_file = \"DIR/one\"",
        "server.tls_cert_file is set without server.tls_key_file: TLS needs both",
    ),
    (
        "server.trusted_proxies = [\"10.0.0.1\", \"10.0.0.0/33\"]",
        "server.trusted_proxies = \"10.0.0.0/33\" must be an IP address or a network, such as 10.0.0.7 or 10.0.0.0/24",
    ),
    (
        "server.proxy_protocol = true\nserver.trusted_proxies = \"10.0.0.1\"",
        "server.proxy_protocol = true (boolean) must be \"off\" or \"required\"",
    ),
    (
        "server.proxy_protocol = \"required\"",
        "server.proxy_protocol = \"required\" needs server.trusted_proxies: set it to the addresses of the load balancers that send the header",
    ),
    (
        "delivery.lease = \"10s\"",
        "delivery.lease = \"10s\" must be longer than delivery.timeout = \"10s\", or another worker could send a call that is still being sent",
    ),
    (
        "delivery.lease = \"15s\"\ndelivery.max_rate = 5",
        "delivery.lease = \"15s\" must exceed delivery.timeout by more than 5s if delivery.max_rate is set, because a call waits up to 5s for the rate limit",
    ),
    (
        "delivery.schedule = []",
        "delivery.schedule = [] (array) must have at least one value",
    ),
    (
        "delivery.schedule = \" \"",
        "delivery.schedule = \" \" must have at least one value",
    ),
    (
        "delivery.schedule = \"1s 0s\"",
        "delivery.schedule = \"0s\" must be a duration from 1ms to 30d, such as 200ms, 10s, 5m, 2h or 30d",
    ),
    (
        "delivery.schedule = [1, 2]",
        "delivery.schedule = [1, 2] (array) must be a string or a list of strings",
    ),
    (
        "delivery.concurrency = 0",
        "delivery.concurrency = 0 (integer) must be a whole number from 1 to 1024",
    ),
    (
        "delivery.concurrency = \"32\"",
        "delivery.concurrency = \"32\" must be a whole number from 1 to 1024",
    ),
    (
        "delivery.timeuot = \"10s\"",
        "delivery.timeuot is not a known setting; the nearest is delivery.timeout",
    ),
    (
        "delivery.retention = \"10d\"",
        "delivery.retention is not a known setting; the nearest is refused.retention",
    ),
    (
        "foo.x = 1",
        "foo.x is not a known setting; docs/settings.md lists all",
    ),
    (
        "server = 5",
        "server is not in a section; put each key into one, such as [server]",
    ),
    (
        "server.listen = \"localhost:8080\"",
        "server.listen = \"localhost:8080\" must be IP:PORT, such as 127.0.0.1:9090 or [::1]:9090",
    ),
    (
        "server.max_connections = 2.5",
        "server.max_connections = 2.5 (float) must be a whole number from 1 to 1000000",
    ),
    (
        "admin.listen = \"0.0.0.0:9090\"",
        "admin.listen = \"0.0.0.0:9090\" is not a loopback address: set admin.token or admin.token_file, or [[operators]], or listen on 127.0.0.1",
    ),
    (
        "admin.listen = \"0.0.0.0:9090\"\nadmin.token = \"nineteen-characters\"",
        "admin.token (a secret, not shown) must have at least 20 characters: admin.listen = \"0.0.0.0:9090\" is not a loopback address, so other hosts can guess admin.token",
    ),
    (
        "admin.hosts = [\"console.internal\", \"http://console\"]",
        "admin.hosts = \"http://console\" must be a host name without scheme and port, such as bridge.internal",
    ),
    (
        "admin.token = \"\"",
        "admin.token (a secret, not shown) must be a string, not empty, in printable ASCII without spaces",
    ),
    (
        "admin.token_file = \"DIR/empty\"",
        "the content of admin.token_file (a secret, not shown) must be a string, not empty, in printable ASCII without spaces",
    ),
    (
        "admin.token_file = \"DIR/none\"",
        "admin.token_file = \"DIR/none\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "admin.token_file = 5",
        "admin.token_file must be the path of a file",
    ),
    (
        "admin = { token = \"a\", token_file = \"DIR/one\" }",
        "admin.token and admin.token_file are both set; remove one of them",
    ),
    (
        "store.url = \"postgres://user:planted-secret@db\"",
        "store.url = \"postgres://***@db\" must name a database: postgres://USER:PASSWORD@HOST/DATABASE",
    ),
    (
        "store.url = \"bridge.db\"",
        "store.url = \"bridge.db\" must be sqlite:PATH, such as sqlite:bridge.db, or postgres://USER:PASSWORD@HOST/DATABASE",
    ),
    (
        "store.url = \"sqlite:\"",
        "store.url = \"sqlite:\" must be sqlite:PATH, such as sqlite:bridge.db",
    ),
    (
        "store.url = \"sqlite::memory:\"",
        "store.url = \"sqlite::memory:\" must name a file, because memory is lost with the process",
    ),
    (
        "store.url = \"sqlite://bridge.db\"",
        "store.url = \"sqlite://bridge.db\" must have its path directly after sqlite:; write \"sqlite:bridge.db\"",
    ),
    (
        "store.url = \"sqlite:///var/bridge.db\"",
        "store.url = \"sqlite:///var/bridge.db\" must have its path directly after sqlite:; write \"sqlite:/var/bridge.db\"",
    ),
    (
        "store = { url = \"sqlite:a.db\", url_file = \"DIR/one\" }",
        "store.url and store.url_file are both set; remove one of them",
    ),
    (
        "store.url_file = \"DIR/none\"",
        "store.url_file = \"DIR/none\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "store.url_file = \"DIR/one\"",
        "the content of store.url_file (a secret, not shown) must be sqlite:PATH, such as sqlite:bridge.db, or postgres://USER:PASSWORD@HOST/DATABASE",
    ),
    (
        "store.url = \"postgres:///bridge\"",
        "store.url = \"postgres:///bridge\" must name a host: postgres://USER:PASSWORD@HOST/DATABASE",
    ),
    (
        "store.url = \"postgres://user@db/bridge?password=planted-secret\"",
        "store.url = \"postgres://***@db/bridge?password=***\" must have its password before the host, as in postgres://USER:PASSWORD@HOST/DATABASE, not in the query",
    ),
    (
        "store.url = \"postgres://user@db/bridge?sslmode=verify-ca\"",
        "store.url = \"postgres://***@db/bridge?sslmode=verify-ca\" must have sslmode disable, prefer, require or verify-full",
    ),
    (
        "store.url = \"postgres://user@db/bridge?sslmode=require&sslrootcert=DIR/one\"",
        "store.url = \"postgres://***@db/bridge?sslmode=require&sslrootcert=DIR/one\" has an sslrootcert, which needs sslmode=verify-full",
    ),
    (
        "store.spool = \"\"",
        "store.spool = \"\" must name a file, such as spool.db, or be \"off\"",
    ),
    (
        "store.spool = \":memory:\"",
        "store.spool = \":memory:\" must name a file, because memory is lost with the process",
    ),
    (
        "store.spool = \"sqlite:spool.db\"",
        "store.spool = \"sqlite:spool.db\" must be only a path; write \"spool.db\"",
    ),
    (
        "acquire.base_url = \"acquire.io\"",
        "acquire.base_url = \"acquire.io\" must be https://HOST or http://HOST, with an optional port and path",
    ),
    (
        "acquire.base_url = \"https://{account}.acquire.io\"",
        "acquire.base_url = \"https://{account}.acquire.io\" must be https://HOST or http://HOST, with an optional port and path; {account_id} is the only placeholder",
    ),
    (
        "acquire.base_url = \"https://user:planted-secret@acquire.io\"",
        "acquire.base_url = \"https://***@acquire.io\" must be https://HOST or http://HOST, with an optional port and path, and without user info, query, fragment or spaces",
    ),
    (
        "acquire = { base_url = \"http://acquire.example.com\", api_key = \"planted-secret\" }",
        "acquire.base_url = \"http://acquire.example.com\" must start with https://, because an API key is set, and http:// would send it unencrypted",
    ),
    (
        "acquire = { base_url = \"http://127.0.0.1:81\", api_key = \"planted-secret\", proxy = \"http://proxy.example.com:3128\" }",
        "acquire.base_url = \"http://127.0.0.1:81\" must start with https://, because an API key is set, and http:// would send it unencrypted",
    ),
    (
        "acquire.call_end_path = \"api\"",
        "acquire.call_end_path = \"api\" must be a path that starts with /, without spaces or #",
    ),
    (
        "acquire.proxy = \"https://jane:planted-secret@proxy:3128\"",
        "acquire.proxy (a secret, not shown) must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters percent-encoded (@ as %40)",
    ),
    (
        "twilio.proxy = \"proxy:3128\"",
        "twilio.proxy (a secret, not shown) must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters percent-encoded (@ as %40)",
    ),
    (
        "acquire.ca_file = \"DIR/none\"",
        "acquire.ca_file = \"DIR/none\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "twilio.ca_file = \"DIR/none\"",
        "twilio.ca_file = \"DIR/none\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "acquire.success = \"any\"",
        "acquire.success = \"any\" must be \"body\" or \"any-2xx\"",
    ),
    (
        "acquire.success = true",
        "acquire.success = true (boolean) must be \"body\" or \"any-2xx\"",
    ),
    (
        "acquire.unclear_tries = 0",
        "acquire.unclear_tries = 0 (integer) must be a whole number from 1 to 100",
    ),
    (
        "calls.client = \"both\"",
        "calls.client = \"both\" must be \"incoming\" or \"outgoing\"",
    ),
    (
        "calls.sip_customers = [\"sip:sbc.example.net\"]",
        "calls.sip_customers = \"sip:sbc.example.net\" must be \"all\", or the host of SIP addresses \
         without sip:, user and port: a name or an IP address, such as \"sbc.example.net\"",
    ),
    (
        "calls.sip_customers = \"all sbc.example.net\"",
        "calls.sip_customers must be \"all\" or hosts, not both",
    ),
    (
        "calls.empty_to = \"\"",
        "calls.empty_to = \"\" must not be empty",
    ),
    (
        "calls.empty_from = \" \"",
        "calls.empty_from = \" \" must not be empty",
    ),
    (
        "directory.default = \"a@example.com,b@example.com\"",
        "directory.default = \"a@example.com,b@example.com\" must be an e-mail address",
    ),
    (
        "calls.empty_to = 5",
        "calls.empty_to = 5 (integer) must be a string",
    ),
    (
        "directory.entries = 5",
        "directory.entries must be a table of strings, NAME = \"TEXT\"",
    ),
    (
        "directory.entries = { \"client:jane\" = \"jane\" }",
        "directory.entries.\"client:jane\": the e-mail must be an e-mail address",
    ),
    (
        "directory.file = \"DIR/none\"",
        "directory.file = \"DIR/none\" cannot be read: No such file or directory (os error 2)",
    ),
    (
        "directory.default = \"nobody\"",
        "directory.default = \"nobody\" must be an e-mail address",
    ),
    (
        "log.format = \"xml\"",
        "log.format = \"xml\" must be \"text\" or \"json\"",
    ),
    (
        "log.level = \"loud\"",
        "log.level = \"loud\" must be one of off, error, warn, info, debug, trace, or a list of levels by module, such as info,actix_web=debug",
    ),
    (
        "admin.token = \"***\"",
        "admin.token has *** in place of a secret, as check prints it; set the secret itself",
    ),
    (
        "store.url = \"postgres://***@db.example.com/bridge\"",
        "store.url has *** in place of a secret, as check prints it; set the secret itself",
    ),
    (
        "directory.entries = \"***\"",
        "directory.entries has *** in place of a secret, as check prints it; set the secret itself",
    ),
    (
        "a = ",
        "DIR/bridge.toml:1:5: string values must be quoted, expected literal string",
    ),
];

#[test]
fn each_mistake_gets_its_sentence() {
    for (file, sentence) in IN_A_FILE {
        let mistakes = load(file, &[]).expect_err(file);
        assert_eq!(mistakes, [*sentence], "{file}");
    }
}

#[test]
fn a_missing_required_setting_is_a_mistake() {
    let missing = load_alone("", &[]).expect_err("nothing is set");
    assert_eq!(
        missing,
        [
            "server.public_url is not set: set it to the URL entered at Twilio, such as https://bridge.example.com (or set BRIDGE__SERVER__PUBLIC_URL)",
            "no Twilio auth token: set TWILIO_AUTH_TOKEN, or twilio.auth_tokens_file or [[accounts]] in a file",
            "no Acquire account: set ACQUIRE_ACCOUNT_ID, or acquire.account_id in a file, to NAME as in https://NAME.acquire.io",
        ]
    );
    let emptied = REQUIRED.map(|(variable, _)| (variable, ""));
    assert_eq!(load_alone("", &emptied).expect_err("all is empty"), missing);
}

#[test]
fn malformed_and_repeated_lines_of_the_directory_are_reported_with_their_numbers() {
    let file = "[directory]\nfile = \"DIR/bad.csv\"\nentries = { \"+12025550123\" = \"user@example.com\" }\n";
    assert_eq!(
        load(file, &[]).expect_err("three mistakes"),
        [
            "DIR/bad.csv:2: the address is already in directory.entries; remove one of the two entries",
            "DIR/bad.csv:3: the line must have two values, address,email, not 1",
            "DIR/bad.csv:4: the address is already in directory.entries; remove one of the two entries",
        ]
    );
}

#[test]
fn all_mistakes_are_reported_at_once_and_no_secret_with_them() {
    let file = r#"
        [server]
        listen = 8080
        pubic_url = "https://planted-secret@bridge.example.com"
        [admin]
        listen = "[::]:9090"
        tokn = "planted-secret"
        [acquire]
        base_url = "http://acquire.example.com"
        api_key = "planted-secret with a space"
        [delivery]
        timeout = "2m"
        [elsewhere]
        password = "planted-secret"
    "#;
    let environment = [
        ("TWILIO_AUTH_TOKEN", "planted-secret,pl\u{e4}nted-secret"),
        ("BRIDGE__ADMIN__TOKNE", "planted-secret"),
    ];
    let mistakes = load(file, &environment).expect_err("mistakes");
    assert_eq!(mistakes.len(), 9, "{mistakes:#?}");
    assert!(!mistakes.join("\n").contains("planted-secret"));
}

#[test]
fn a_mistake_of_syntax_names_file_line_and_column_and_quotes_nothing() {
    let file = "[admin]\ntoken = \"planted-secret\nlisten = 1\n";
    let mistakes = load(file, &[]).expect_err("one mistake");
    assert!(
        mistakes[0].starts_with("DIR/bridge.toml:2:"),
        "{mistakes:?}"
    );
    assert!(!mistakes[0].contains("planted-secret"), "{mistakes:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = std::path::Path::new("/nonexistent/bridge.toml");
    let error = config::load(Some(missing), Vec::new()).expect_err("no file");
    assert_eq!(
        error.to_string(),
        "the configuration /nonexistent/bridge.toml cannot be read: No such file or directory (os error 2)"
    );
}
