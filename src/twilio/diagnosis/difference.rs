//! The ways in which a signature goes wrong, each with its label, a sentence and what to do.

use super::super::public_url::PublicUrl;

/// One difference between what Twilio signed and what arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Signed for `http` where the public URL says `https`, or the reverse.
    Scheme,
    Port,
    Host,
    Prefix,
    TrailingSlash,
    /// Slashes merged, or another path altogether.
    Path,
    /// The URL that was given has user info or a fragment.
    Leftover,
    QueryLost,
    QueryAdded,
    QueryOrder,
    QueryEncoding,
    /// Signed with a key that is configured elsewhere; with the setting's name.
    OtherAccount(String),
    /// Signed with a token that was given as old or secondary.
    SpareToken,
    /// The token was configured with something around it, or in another case.
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
    /// The URL's signature holds, and its `bodySHA256` is not that of the body.
    BodyChanged,
    BodyLost,
    SignatureText,
    NoSignature,
    NoMatch,
}

impl Difference {
    /// A short label for counters and logs.
    #[must_use]
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
            Self::QueryEncoding => "query-encoding",
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

    /// What happened, without a URL, a number or a name of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let told = match self {
            Self::Scheme => "Twilio was told the URL with the other scheme, http or https.",
            Self::Port => "Twilio was told the URL with another port, or without one.",
            Self::Host => "Twilio was told the URL with another host.",
            Self::Prefix => "Twilio was told the URL with another path prefix, or without one.",
            Self::TrailingSlash => {
                "A slash at the end of the path was added or dropped on the way."
            }
            Self::Path => "The path was rewritten on the way.",
            Self::Leftover => "The URL has user info or a fragment, which Twilio does not sign.",
            Self::QueryLost => "The query of the URL, or a part of it, was lost on the way.",
            Self::QueryAdded => "A query was added to the URL on the way.",
            Self::QueryOrder => "The keys of the query arrived in another order than was signed.",
            Self::QueryEncoding => "The query was encoded anew on the way.",
            Self::OtherAccount(setting) => {
                return format!("It was signed with a key of another account, {setting}.");
            }
            Self::SpareToken => "It was signed with the old or secondary token.",
            Self::TokenText(setting) => {
                return format!(
                    "The token in {setting} has white space, quotes or letters in another case than Twilio's."
                );
            }
            Self::Sha256 => "It was signed with SHA-256, and no settings header says so.",
            Self::Sha1 => "It was signed with SHA-1, though the settings header names SHA-256.",
            Self::FieldsTrimmed => "White space around a field's value was lost on the way.",
            Self::FieldsLost(names) => {
                return format!("Fields of the form were lost on the way: {names}.");
            }
            Self::FieldsAdded(names) => {
                return format!("Fields were added to the form on the way: {names}.");
            }
            Self::FieldsEncoding => "The values of the form were encoded anew on the way.",
            Self::Charset => "The form was turned from UTF-8 into Latin-1, or back, on the way.",
            Self::LineEnd => {
                "Something that is no part of the form stands at its beginning or end."
            }
            Self::JsonAsForm => {
                "The URL alone was signed, as for JSON, and the body taken for a form."
            }
            Self::FormAsJson => "A form was signed, and its fields arrived as JSON.",
            Self::BodyChanged => {
                "The URL was signed so, but bodySHA256 is not the hash of this body."
            }
            Self::BodyLost => "The body did not arrive.",
            Self::SignatureText => "The text of the signature was changed on the way.",
            Self::NoSignature => "There is no X-Twilio-Signature header.",
            Self::NoMatch => {
                "No way in which it usually goes wrong explains it. Most likely it was signed \
                 with a token that is not configured here, or it is not from Twilio."
            }
        };
        told.to_owned()
    }

    /// What to do about it; `None` where the public URL is to be changed.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Scheme | Self::Port | Self::Host | Self::Prefix => return None,
            Self::TrailingSlash | Self::Path => {
                "Enter at Twilio exactly what callback-url prints, and let the proxy pass the \
                 path as it is (nginx: proxy_pass without a path, merge_slashes off)."
            }
            Self::Leftover => "Leave both out of the URL that is judged.",
            Self::QueryLost | Self::QueryAdded | Self::QueryEncoding => {
                "Let the proxy pass the query as it is (nginx: no rewrite, no $args in \
                 proxy_pass; HAProxy: no set-query)."
            }
            Self::QueryOrder => {
                "Enter the URL at Twilio with its query keys in alphabetical order, which is how \
                 they are sent, and let no proxy sort them."
            }
            Self::OtherAccount(_) => {
                "Put the key to the account that owns the call: subaccounts sign with a token of \
                 their own."
            }
            Self::SpareToken => {
                "Add this token to TWILIO_AUTH_TOKEN (or accounts.twilio_auth_tokens); several \
                 may stand there, separated by commas."
            }
            Self::TokenText(_) => "Copy the token again, without anything around it.",
            Self::Sha256 => {
                "Let the proxy pass X-Twilio-Webhooks-Signature-Settings, and set the key in \
                 accounts.twilio_shared_keys."
            }
            Self::Sha1 => "Let nothing on the way add X-Twilio-Webhooks-Signature-Settings.",
            Self::FieldsTrimmed | Self::FieldsLost(_) | Self::FieldsAdded(_) => {
                "Let what stands before the bridge pass the body as it is, byte for byte."
            }
            Self::FieldsEncoding | Self::Charset | Self::FormAsJson => {
                "Let what stands before the bridge pass the body and its Content-Type as they \
                 are, byte for byte."
            }
            Self::LineEnd => "Take away the line end or byte order mark around the body.",
            Self::JsonAsForm => {
                "Judge it with --content-type application/json; on the way to the bridge, pass \
                 Content-Type as it is."
            }
            Self::BodyChanged => "Take the body byte for byte as it was sent.",
            Self::BodyLost => {
                "Let the proxy pass the body: a redirect or an auth request drops it."
            }
            Self::SignatureText => "Let the proxy pass X-Twilio-Signature as it is.",
            Self::NoSignature => {
                "Let the proxy pass X-Twilio-Signature; without a proxy, this was not Twilio."
            }
            Self::NoMatch => {
                "Take the primary auth token of the account that owns the number (a subaccount \
                 has its own), and the URL as it stands at Twilio, byte for byte."
            }
        })
    }
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// At least one; the first one names the finding.
    pub differences: Vec<Difference>,
    /// The URL that was signed, where that is known. Its query may hold an e-mail.
    pub url: Option<String>,
}

impl Diagnosis {
    pub(super) fn of(fault: Difference) -> Self {
        Self {
            differences: vec![fault],
            url: None,
        }
    }

    /// The label of its first fault.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.differences
            .first()
            .map_or("no-match", Difference::reason)
    }

    /// What happened, a sentence for each fault.
    #[must_use]
    pub fn sentences(&self) -> String {
        let sentences: Vec<String> = self.differences.iter().map(Difference::sentence).collect();
        sentences.join(" ")
    }

    /// What to do, a sentence for each thing; the line of the configuration comes first.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        let mut remedies: Vec<String> = self
            .setting()
            .map(|line| format!("Set {line}"))
            .into_iter()
            .collect();
        for remedy in self.differences.iter().filter_map(Difference::remedy) {
            if !remedies.iter().any(|other| other == remedy) {
                remedies.push(remedy.to_owned());
            }
        }
        remedies
    }

    /// The line of the configuration that makes the signed URL right, if a public URL can.
    #[must_use]
    pub fn setting(&self) -> Option<String> {
        self.differences
            .iter()
            .find(|fault| fault.remedy().is_none())?;
        let url = self.url.as_deref()?;
        let right = PublicUrl::before_served_path(url)?;
        Some(format!("server.public_url = \"{right}\""))
    }
}
