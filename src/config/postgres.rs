//! `store.url = "postgres://..."`: the address of the database, the user, and the trust in its server.
//!
//! Connections are opened in `store/postgres`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

/// Callbacks wait no longer for a connection before they go to the spool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection without any acknowledgement for this time is closed, also between two statements.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(2);

/// A database of `PostgreSQL`, or of another server with its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    pub config: Config,
    pub trust: ServerTrust,
    /// Without the password.
    shown: String,
}

/// How the server proves its identity (`sslmode`, `sslrootcert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTrust {
    /// Not at all. `ssl_mode` of the configuration says whether TLS is used.
    Anyone,
    /// By a certificate for its host name, signed by an authority of the system (`None`) or of this
    /// file.
    Verified(Option<PathBuf>),
}

impl PostgresUrl {
    /// Reads the URL as libpq does ("Connection URIs" in the PostgreSQL manual), except `verify-ca`,
    /// client certificates and service files. The error continues the sentence after the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut kept, mut mode, mut root) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || {
                let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
                decoded.map(std::borrow::Cow::into_owned)
            };
            match key {
                "sslmode" => mode = value().ok(),
                "sslrootcert" => root = value().ok().map(PathBuf::from),
                "password" => {
                    let why = "must have its password before the host, as in \
                               postgres://USER:PASSWORD@HOST/DATABASE, not in the query";
                    return Err(why.to_owned());
                }
                _ => kept.push(pair),
            }
        }
        let (ssl_mode, trust) = trust(mode.as_deref(), root)?;
        let mut config: Config = format!("{base}?{}", kept.join("&"))
            .parse()
            .map_err(|why| format!("cannot be read: {}", cause(&why)))?;
        if config.get_hosts().is_empty() {
            return Err("must name a host: postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        }
        if config.get_dbname().is_none() {
            return Err("must name a database: postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        }
        if config.get_application_name().is_none() {
            config.application_name(env!("CARGO_PKG_NAME"));
        }
        config
            .ssl_mode(ssl_mode)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            // After a failover the old primary may still answer, but lose what is written to it.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self {
            config,
            trust,
            shown: without_password(base),
        })
    }
}

fn trust(mode: Option<&str>, root: Option<PathBuf>) -> Result<(SslMode, ServerTrust), String> {
    if let Some(file) = &root
        && let Err(why) = std::fs::File::open(file)
    {
        return Err(format!(
            "has an sslrootcert that cannot be read: {}: {why}",
            file.display()
        ));
    }
    match mode {
        Some("verify-full") => Ok((SslMode::Require, ServerTrust::Verified(root))),
        _ if root.is_some() => {
            Err("has an sslrootcert, which needs sslmode=verify-full".to_owned())
        }
        Some("disable") => Ok((SslMode::Disable, ServerTrust::Anyone)),
        None | Some("prefer") => Ok((SslMode::Prefer, ServerTrust::Anyone)),
        Some("require") => Ok((SslMode::Require, ServerTrust::Anyone)),
        Some(_) => Err("must have sslmode disable, prefer, require or verify-full".to_owned()),
    }
}

/// The cause, if there is one: the library's own message omits it.
fn cause(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

/// Not by `RawUrl`: libpq's URL ends the password at the `@`, also after a `/` or `#`.
fn without_password(base: &str) -> String {
    let Some((scheme, rest)) = base.split_once("://") else {
        return base.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((user, place)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        None => base.to_owned(),
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
