//! `sign` and `verify` at the command line.

use assert_cmd::Command;

const TOKEN: &str = "12345";
const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const FORM: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234\
    &From=%2B14158675309&To=%2B18005551212";
const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

fn bridge(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("twilio-acquire-bridge").expect("the binary is built");
    command
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .args(args);
    command
}

/// Output, errors and exit code of a command.
fn output_of(command: &mut Command) -> (String, String, i32) {
    let output = command.output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    let code = output.status.code().expect("it ends by itself");
    (text(output.stdout), text(output.stderr), code)
}

#[test]
fn sign_prints_the_signature_of_what_it_reads_from_stdin() {
    let (out, err, code) = output_of(
        bridge(&["sign", "--url", URL, "--body", "-", "--auth-token", TOKEN]).write_stdin(FORM),
    );
    assert_eq!(
        (out.as_str(), err.as_str(), code),
        (&*format!("{SIGNATURE}\n"), "", 0)
    );
}

#[test]
fn verify_says_valid_or_invalid_in_one_line() {
    let check = |signature: &str| {
        let args = [
            "verify",
            "--url",
            URL,
            "--body",
            "-",
            "--auth-token",
            TOKEN,
            "--signature",
        ];
        output_of(bridge(&[&args[..], &[signature]].concat()).write_stdin(FORM))
    };
    assert_eq!(check(SIGNATURE), ("valid\n".to_owned(), String::new(), 0));
    let invalid = "invalid: no given key makes this signature for this URL and body\n";
    for wrong in [
        "",
        "-",
        "--",
        " RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=\n",
    ] {
        let (out, err, code) = check(wrong);
        assert!(out.starts_with(invalid), "{wrong:?}: {out}");
        assert_eq!((err.as_str(), code), ("", 1), "{wrong:?}");
    }
}

#[test]
fn several_tokens_are_each_tried_and_the_first_one_signs() {
    let with = |tokens: &str, args: &[&str]| {
        output_of(
            bridge(args)
                .env("TWILIO_AUTH_TOKEN", tokens)
                .write_stdin(FORM),
        )
    };
    let sign = ["sign", "--url", URL, "--body", "-"];
    let verify = [
        "verify",
        "--url",
        URL,
        "--body",
        "-",
        "--signature",
        SIGNATURE,
    ];
    assert_eq!(with("12345, other", &sign).0, format!("{SIGNATURE}\n"));
    assert_ne!(with("other,12345", &sign).0, format!("{SIGNATURE}\n"));
    assert_eq!(with("other, 12345", &verify).2, 0);
    assert_eq!(with(",12345,", &verify).2, 0);
    assert_eq!(with("other", &verify).2, 1);
    // A token is used exactly as given, as in the libraries.
    assert_eq!(with("12345 ", &verify).2, 1);
}

#[test]
fn without_a_token_the_usage_is_wrong() {
    for tokens in [None, Some(""), Some(",")] {
        for args in [
            &["sign", "--url", URL][..],
            &["verify", "--url", URL, "--signature", "x"],
        ] {
            let mut command = bridge(args);
            if let Some(tokens) = tokens {
                command.env("TWILIO_AUTH_TOKEN", tokens);
            }
            let (out, err, code) = output_of(&mut command);
            assert_eq!((out.as_str(), code), ("", 2));
            assert!(
                err.contains("pass --auth-token or set TWILIO_AUTH_TOKEN"),
                "{err}"
            );
        }
    }
}

#[test]
fn a_failed_verify_names_the_parts_of_the_url_that_twilio_does_not_sign() {
    let check = |url: &str| {
        let args = [
            "verify",
            "--url",
            url,
            "--signature",
            "x",
            "--auth-token",
            TOKEN,
        ];
        output_of(&mut bridge(&args)).1
    };
    assert_eq!(check("https://h.example/p?a=@"), "");
    insta::assert_snapshot!(check("https://u:p@h.example:8443/p?a=1#rc=2"), @"note: the URL has user info and a fragment, which Twilio does not sign; it signs https://h.example:8443/p?a=1");
    insta::assert_snapshot!(check("https://h.example#rc=2"), @"note: the URL has a fragment, which Twilio does not sign; it signs https://h.example");
}

#[test]
fn a_shared_key_signs_with_sha_256_when_the_settings_name_it() {
    let header = "key=WK1,algorithm=HMAC_SHA256";
    let shared = |settings: &str| {
        [
            "--url",
            URL,
            "--body",
            "-",
            "--settings",
            settings,
            "--shared-key",
            "WK1=s=cret",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let run = |command: &str, settings: &str, more: &[&str]| {
        output_of(
            bridge(&[command])
                .args(shared(settings))
                .args(more)
                .write_stdin(FORM),
        )
    };
    let (signature, _, code) = run("sign", header, &[]);
    assert_eq!((signature.trim().len(), code), (44, 0));
    let verify = |settings| run("verify", settings, &["--signature", signature.trim()]);
    assert_eq!(verify(header), ("valid\n".to_owned(), String::new(), 0));
    for (settings, words) in [
        (
            "key=WK2,algorithm=HMAC_SHA256",
            "the shared key \"WK2\", which is not given",
        ),
        ("key=WK1,algorithm=HMAC_MD5", "\"HMAC_MD5\" is not known"),
        ("WK1", "must read key="),
    ] {
        let (out, _, code) = verify(settings);
        assert!(out.starts_with("invalid: ") && out.contains(words), "{out}");
        assert_eq!(code, 1);
        assert_eq!(run("sign", settings, &[]).2, 2);
    }
    // Twilio never sends a SHA-256 signature without the header.
    let args = [
        "verify",
        "--url",
        URL,
        "--body",
        "-",
        "--auth-token",
        "s=cret",
        "--signature",
    ];
    assert_eq!(
        output_of(bridge(&args).arg(signature.trim()).write_stdin(FORM)).2,
        1
    );
    for alone in [["--settings", header], ["--shared-key", "WK1=x"]] {
        assert_eq!(output_of(bridge(&["sign", "--url", URL]).args(alone)).2, 2);
    }
}

#[test]
fn verify_distinguishes_a_request_that_cannot_be_read_from_an_invalid_signature() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.http");
    std::fs::write(&broken, "no request").expect("a file");
    let broken = broken.to_string_lossy();
    for input in [
        &["/nonexistent.http"][..],
        &[&broken],
        &[
            "--url",
            URL,
            "--signature",
            SIGNATURE,
            "--body",
            "/nonexistent",
        ],
    ] {
        let args = [&["verify", "--auth-token", TOKEN][..], input].concat();
        let (out, err, code) = output_of(&mut bridge(&args));
        assert_eq!((out.as_str(), code), ("", 2), "{input:?}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    }
}

#[test]
fn a_body_that_cannot_be_read_is_named() {
    let args = [
        "sign",
        "--url",
        URL,
        "--body",
        "/nonexistent/body",
        "--auth-token",
        TOKEN,
    ];
    let (_, err, code) = output_of(&mut bridge(&args));
    assert!(
        err.starts_with("error: failed to read /nonexistent/body: "),
        "{err}"
    );
    assert_eq!(code, 1);
}

#[test]
fn the_help_is_a_short_manual_with_an_example() {
    for command in ["sign", "verify", "replay"] {
        let (out, _, code) =
            output_of(bridge(&[command, "--help"]).env("TWILIO_AUTH_TOKEN", "made-up-secret"));
        assert_eq!(code, 0);
        assert!(
            out.contains("Example") && out.contains("twilio-acquire-bridge"),
            "{out}"
        );
        assert!(
            !out.contains("made-up-secret"),
            "a token is never shown: {out}"
        );
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    }
}

const TWILIO_URL: &str = "https://bridge.example.com/twilio/voice/status";

#[test]
fn a_failed_verify_names_the_cause_and_the_line_to_change() {
    let (signature, ..) = output_of(
        bridge(&[
            "sign",
            "--url",
            TWILIO_URL,
            "--body",
            "-",
            "--auth-token",
            TOKEN,
        ])
        .write_stdin(FORM),
    );
    let check = |url: &str, more: &[&str]| {
        let args = [
            "verify",
            "--url",
            url,
            "--body",
            "-",
            "--auth-token",
            TOKEN,
            "--signature",
        ];
        let mut command = bridge(&args);
        output_of(command.arg(signature.trim()).args(more).write_stdin(FORM))
    };
    let (out, err, code) = check("http://bridge.example.com/twilio/voice/status", &[]);
    assert_eq!((err.as_str(), code), ("", 1));
    insta::assert_snapshot!(out, @r#"
    invalid: no given key makes this signature for this URL and body

    cause   The URL at Twilio has the other scheme, http or https. (scheme)
    signed  https://bridge.example.com/twilio/voice/status
    do      Set server.public_url = "https://bridge.example.com"
    "#);
    let (out, ..) = check(
        "http://10.0.0.7:8080/twilio/voice/status",
        &["--header", "X-Forwarded-Host: bridge.example.com"],
    );
    insta::assert_snapshot!(out, @r#"
    invalid: no given key makes this signature for this URL and body

    cause   The URL at Twilio has another host. The URL at Twilio has the other
            scheme, http or https. (host)
    signed  https://bridge.example.com/twilio/voice/status
    do      Set server.public_url = "https://bridge.example.com"
    "#);
    let (out, ..) = check(
        "https://www.bridge.example.com/twilio/voice/status",
        &["--json"],
    );
    insta::assert_snapshot!(out, @r#"{"valid":false,"why":"no given key makes this signature for this URL and body","reasons":["host"],"cause":"The URL at Twilio has another host.","signed_url":"https://bridge.example.com/twilio/voice/status","setting":"server.public_url = \"https://bridge.example.com\"","remedies":["Set server.public_url = \"https://bridge.example.com\""]}"#);
    assert!(!out.contains(signature.trim()));
}

#[test]
fn an_old_token_is_tried_and_verifies_nothing() {
    let args = [
        "verify",
        "--url",
        URL,
        "--body",
        "-",
        "--signature",
        SIGNATURE,
    ];
    let (out, _, code) = output_of(
        bridge(&args)
            .args(["--auth-token", "new", "--spare-token", TOKEN])
            .write_stdin(FORM),
    );
    assert_eq!(code, 1);
    assert!(
        out.starts_with("invalid: ") && out.contains("(spare-token)"),
        "{out}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
}

#[test]
fn a_file_is_verified_with_the_headers_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("refused.http");
    let path = file.to_str().expect("UTF-8");
    let write = |url: &str, headers: &str| {
        let body = FORM.replace('&', "\n&");
        let text = format!(
            "POST {url} HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\
             X-Twilio-Signature: {SIGNATURE}\n{headers}\n{body}\n"
        );
        std::fs::write(&file, text).expect("a file");
    };
    let verify =
        |more: &[&str]| output_of(bridge(&["verify", path, "--auth-token", TOKEN]).args(more));
    write(URL, "");
    assert_eq!(verify(&[]), ("valid\n".to_owned(), String::new(), 0));
    // The options --url and --signature override the file.
    assert_eq!(verify(&["--url", "https://other.example/"]).2, 1);
    assert_eq!(verify(&["--signature", "x"]).2, 1);
    write(
        "https://inner.example/myapp.php?foo=1&bar=2",
        "X-Forwarded-Host: mycompany.com\n",
    );
    let (out, _, code) = verify(&[]);
    assert_eq!(code, 1);
    assert!(out.contains("(host)") && out.contains(URL), "{out}");
}

/// The example of Twilio's documentation as it was on the wire.
#[test]
fn verify_reads_a_capture_whose_url_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capture.txt");
    let verified = |end: &str, url: &[&str]| {
        let head = format!(
            "POST /myapp.php?foo=1&bar=2 HTTP/1.1\nHost: 10.0.0.7:8080\n\
             Content-Type: application/x-www-form-urlencoded\nX-Twilio-Signature: {SIGNATURE}\n\n"
        );
        let capture = format!("{}{FORM}{end}", head.replace('\n', end));
        std::fs::write(&file, capture).expect("a file");
        let file = file.display().to_string();
        output_of(&mut bridge(
            &[&["verify", &file, "--auth-token", TOKEN], url].concat(),
        ))
    };
    for end in ["\n", "\r\n"] {
        let (out, err, code) = verified(end, &["--url", URL]);
        assert_eq!((&*out, &*err, code), ("valid\n", "", 0));
        let (out, _, code) = verified(end, &["--url", "https://mycompany.com/other.php"]);
        assert!(out.starts_with("invalid: "), "{out}");
        assert_eq!(code, 1);
        let (_, err, code) = verified(end, &[]);
        assert!(err.contains("has only a path: pass --url"), "{err}");
        assert_eq!(code, 2);
    }
}
