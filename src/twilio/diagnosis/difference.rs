//! The causes of an invalid signature, each with its label, a sentence and the next step.
//!
//! The labels are part of the contract: metrics, logs and `--json` use them. The search for the
//! cause is in `candidates`.

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::public_url::PublicUrl;

/// One difference between what Twilio signed and what arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Signed for `http` where the public URL has `https`, or the reverse.
    Scheme,
    Port,
    Host,
    Prefix,
    TrailingSlash,
    /// Slashes merged, or another path.
    Path,
    /// The given URL has user info or a fragment.
    Leftover,
    QueryLost,
    QueryAdded,
    QueryOrder,
    QueryEncoding,
    /// The URL at Twilio has these characters unescaped in its query. Twilio signs them as entered and
    /// escapes them to send the request.
    QueryUnescaped(String),
    /// Signed with a key that is configured for another account, in this setting.
    OtherAccount(String),
    /// Signed with the token of `--spare-token`.
    SpareToken,
    /// The token in this setting was copied badly.
    TokenText(String),
    Sha256,
    Sha1,
    FieldsTrimmed,
    FieldsLost(String),
    FieldsAdded(String),
    FieldsEncoding,
    Charset,
    LineEnd,
    JsonAsForm,
    FormAsJson,
    /// The signature of the URL is valid, but its `bodySHA256` is not the body's.
    BodyChanged,
    BodyLost,
    SignatureText,
    NoSignature,
    NoMatch,
}

impl Difference {
    /// A short label for counters and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Scheme => "scheme",
            Self::Port => "port",
            Self::Host => "host",
            Self::Prefix => "prefix",
            Self::TrailingSlash => "trailing-slash",
            Self::Path => "path",
            Self::Leftover => "url-leftover",
            Self::QueryLost => "query-lost",
            Self::QueryAdded => "query-added",
            Self::QueryOrder => "query-order",
            Self::QueryEncoding | Self::QueryUnescaped(_) => "query-encoding",
            Self::OtherAccount(_) => "other-account",
            Self::SpareToken => "spare-token",
            Self::TokenText(_) => "token-text",
            Self::Sha256 => "sha-256",
            Self::Sha1 => "sha-1",
            Self::FieldsTrimmed => "fields-trimmed",
            Self::FieldsLost(_) => "fields-lost",
            Self::FieldsAdded(_) => "fields-added",
            Self::FieldsEncoding => "fields-encoding",
            Self::Charset => "charset",
            Self::LineEnd => "line-end",
            Self::JsonAsForm => "json-as-form",
            Self::FormAsJson => "form-as-json",
            Self::BodyChanged => "body-changed",
            Self::BodyLost => "body-lost",
            Self::SignatureText => "signature-text",
            Self::NoSignature => "no-signature",
            Self::NoMatch => "no-match",
        }
    }

    /// The cause in a sentence, without a URL, a phone number or a name.
    pub fn sentence(&self) -> String {
        let sentence = match self {
            Self::Scheme => "The URL at Twilio has the other scheme, http or https.",
            Self::Port => "The URL at Twilio has another port, or none.",
            Self::Host => "The URL at Twilio has another host.",
            Self::Prefix => "The URL at Twilio has another path prefix, or none.",
            Self::TrailingSlash => {
                "A slash at the end of the path was added or removed in transit."
            }
            Self::Path => "The path was rewritten in transit.",
            Self::Leftover => "The URL has user info or a fragment, which Twilio does not sign.",
            Self::QueryLost => "The query of the URL, or a part of it, was lost in transit.",
            Self::QueryAdded => "A query was added to the URL in transit.",
            Self::QueryOrder => "The query keys arrived in another order than the signed one.",
            Self::QueryEncoding => "The query was re-encoded in transit.",
            Self::QueryUnescaped(characters) => {
                let listed = each(characters, named);
                return format!(
                    "The query of the URL at Twilio has an unescaped character: {listed}. Twilio \
                     signs it as entered and sends it escaped."
                );
            }
            Self::OtherAccount(setting) => {
                return format!("The request was signed with a key of another account, {setting}.");
            }
            Self::SpareToken => "The request was signed with the old or secondary token.",
            Self::TokenText(setting) => {
                return format!(
                    "The token in {setting} has white space or quotes around it, or differs from \
                     Twilio's in letter case."
                );
            }
            Self::Sha256 => {
                "The request was signed with SHA-256, but it has no settings header that says so."
            }
            Self::Sha1 => {
                "The request was signed with SHA-1, but its settings header names SHA-256."
            }
            Self::FieldsTrimmed => "White space around a field's value was lost in transit.",
            Self::FieldsLost(names) => {
                return format!("Fields of the form were lost in transit: {names}.");
            }
            Self::FieldsAdded(names) => {
                return format!("Fields were added to the form in transit: {names}.");
            }
            Self::FieldsEncoding => "The values of the form were re-encoded in transit.",
            Self::Charset => "The form was converted between UTF-8 and Latin-1 in transit.",
            Self::LineEnd => {
                "The body starts or ends with a line end or byte order mark, which is not part \
                 of the form."
            }
            Self::JsonAsForm => {
                "Only the URL was signed, as for JSON, but the body was read as a form."
            }
            Self::FormAsJson => "A form was signed, but its fields arrived as JSON.",
            Self::BodyChanged => {
                "The signature matches the URL, but bodySHA256 is not the hash of this body."
            }
            Self::BodyLost => "The body did not arrive.",
            Self::SignatureText => "The text of the signature was changed in transit.",
            Self::NoSignature => "The X-Twilio-Signature header is missing.",
            Self::NoMatch => {
                "No usual mistake explains this signature. Another token may have signed it (each \
                 account, subaccount and Twilio Region has its own), the URL at Twilio may have \
                 another path, or the request is not from Twilio."
            }
        };
        sentence.to_owned()
    }

    /// The next step; `None` where it is to correct `server.public_url`.
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        let remedy = match self {
            Self::Scheme | Self::Port | Self::Host | Self::Prefix => return None,
            Self::TrailingSlash | Self::Path => {
                "Enter at Twilio exactly the URL that callback-url prints, and let the proxy pass \
                 the path unchanged (nginx: proxy_pass without a path, merge_slashes off)."
            }
            Self::Leftover => "Remove both from the URL to verify.",
            Self::QueryLost | Self::QueryAdded | Self::QueryEncoding => {
                "Let the proxy pass the query unchanged (nginx: no rewrite, no $args in \
                 proxy_pass; HAProxy: no set-query)."
            }
            Self::QueryUnescaped(characters) => {
                let listed = each(characters, |c| format!("{} for {}", escape(c), named(c)));
                return Some(format!("In the URL at Twilio, write {listed}.").into());
            }
            Self::QueryOrder => {
                "Enter the URL at Twilio with its query keys in alphabetical order, because \
                 Twilio may send them sorted, and let no proxy sort them."
            }
            Self::OtherAccount(_) => {
                "Move the key to the account that owns the call: each subaccount signs with a \
                 token of its own."
            }
            Self::SpareToken => {
                "Add this token to TWILIO_AUTH_TOKEN (or accounts.twilio_auth_tokens); separate \
                 several tokens by commas."
            }
            Self::TokenText(_) => "Copy the token again, without white space or quotes.",
            Self::Sha256 => {
                "Let the proxy pass X-Twilio-Webhooks-Signature-Settings, and set the key in \
                 accounts.twilio_shared_keys."
            }
            Self::Sha1 => "Let no proxy add X-Twilio-Webhooks-Signature-Settings.",
            Self::FieldsTrimmed | Self::FieldsLost(_) | Self::FieldsAdded(_) => {
                "Let each proxy before the bridge pass the body unchanged, byte for byte."
            }
            Self::FieldsEncoding | Self::Charset | Self::FormAsJson => {
                "Let each proxy before the bridge pass the body and its Content-Type unchanged, \
                 byte for byte."
            }
            Self::LineEnd => "Remove the line end or byte order mark around the body.",
            Self::JsonAsForm => {
                "Verify it with --content-type application/json; let each proxy before the bridge \
                 pass Content-Type unchanged."
            }
            Self::BodyChanged => "Use the body as it was sent, byte for byte.",
            Self::BodyLost => {
                "Let the proxy pass the body: a redirect or an auth request drops it."
            }
            Self::SignatureText => "Let the proxy pass X-Twilio-Signature unchanged.",
            Self::NoSignature => {
                "Let the proxy pass X-Twilio-Signature; without a proxy, the request is not from \
                 Twilio."
            }
            Self::NoMatch => {
                "Use the primary auth token of the account that owns the number (a subaccount and a \
                 Twilio Region have their own), and the URL as entered at Twilio, byte for byte."
            }
        };
        Some(remedy.into())
    }
}

fn each(characters: &str, text: impl Fn(char) -> String) -> String {
    let texts: Vec<String> = characters.chars().map(text).collect();
    texts.join(", ")
}

fn named(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        other => other.to_string(),
    }
}

fn escape(character: char) -> String {
    utf8_percent_encode(character.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC).to_string()
}

/// Why a signature is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// At least one; the first one names the diagnosis.
    pub differences: Vec<Difference>,
    /// The URL that was signed, if known. Its query may contain an e-mail address.
    pub url: Option<String>,
}

impl Diagnosis {
    pub(super) fn of(difference: Difference) -> Self {
        Self {
            differences: vec![difference],
            url: None,
        }
    }

    /// The label of the first difference.
    pub fn reason(&self) -> &'static str {
        self.differences
            .first()
            .map_or("no-match", Difference::reason)
    }

    /// The cause, with a sentence for each difference.
    pub fn sentences(&self) -> String {
        let sentences: Vec<String> = self.differences.iter().map(Difference::sentence).collect();
        sentences.join(" ")
    }

    /// The next steps, one sentence each; a change of the configuration comes first.
    pub fn remedies(&self) -> Vec<String> {
        let mut remedies: Vec<String> = self
            .setting()
            .map(|line| format!("Set {line}"))
            .into_iter()
            .collect();
        for remedy in self.differences.iter().filter_map(Difference::remedy) {
            if !remedies.iter().any(|other| *other == remedy) {
                remedies.push(remedy.into_owned());
            }
        }
        remedies
    }

    /// The line of the configuration that makes the signature valid, if a public URL can.
    pub fn setting(&self) -> Option<String> {
        self.differences
            .iter()
            .find(|difference| difference.remedy().is_none())?;
        let url = self.url.as_deref()?;
        let base = PublicUrl::before_served_path(url)?;
        Some(format!("server.public_url = \"{base}\""))
    }
}
