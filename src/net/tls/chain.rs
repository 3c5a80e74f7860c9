//! Checks the certificate chain of a server as Twilio's client does: validity, name, and path to an authority.
//!
//! It opens no connection.

use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

use super::system_roots;
use crate::clock::Millis;

/// A certificate with less time left was not renewed when it should have been: usual tools renew with a
/// third of the lifetime left.
const RENEWAL_OVERDUE: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Why Twilio refuses a certificate, or soon will (its errors 11235 to 11237), with the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    #[error("the certificate of {0} cannot be read; get a new one from the authority")]
    Unreadable(String),
    #[error("the certificate of {subject} expired at {at}; renew it")]
    Expired { subject: String, at: Millis },
    #[error(
        "the certificate of {subject} is valid only from {at} on; check the clock, or get a new one"
    )]
    NotYetValid { subject: String, at: Millis },
    #[error("the certificate of {subject} expires at {at}; check why it was not renewed yet")]
    ExpiresSoon { subject: String, at: Millis },
    #[error(
        "the certificate is not valid for {host} of server.public_url, only for {names}; get one for {host}"
    )]
    OtherName { host: String, names: String },
    #[error(
        "the certificate is self-signed; get one from a public authority, because Twilio trusts no other"
    )]
    SelfSigned,
    #[error(
        "the chain ends before an authority: add the intermediate certificate of {0} after the \
         server's own"
    )]
    MissingIntermediate(String),
    #[error(
        "this machine does not trust {0}, the authority of the certificate: get a certificate from a \
         public authority, or add the intermediate certificate that is missing"
    )]
    UnknownAuthority(String),
}

/// The end of the validity of a chain: that of its first certificate to expire.
pub fn expiry(chain: &[CertificateDer<'_>]) -> Option<Millis> {
    let read = chain.iter().filter_map(|der| ChainLink::read(der));
    read.map(|link| link.not_after).min()
}

/// All problems of `chain`, the server's own certificate first, for the host names `hosts` at `now`.
///
/// The authorities are those of this machine, which may differ from Twilio's.
pub fn problems(
    chain: &[CertificateDer<'_>],
    hosts: &[&str],
    now: Millis,
) -> Vec<CertificateProblem> {
    let links: Option<Vec<_>> = chain.iter().map(ChainLink::read).collect();
    let parsed = chain.first().map(ParsedCertificate::try_from);
    let (Some(links), Some(Ok(own))) = (links, parsed) else {
        return vec![CertificateProblem::Unreadable(hosts.join(", "))];
    };
    let validity = links.iter().filter_map(|link| link.validity_problem(now));
    let names = hosts.iter().filter_map(|host| wrong_name(&own, host));
    let path = wrong_path(&own, chain, &links, now);
    validity.chain(names).chain(path).collect()
}

/// The fields of one certificate.
struct ChainLink {
    subject: String,
    issuer: String,
    not_before: Millis,
    not_after: Millis,
}

impl ChainLink {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let read = Certificate::from_der(der).ok()?.tbs_certificate;
        let millis = |time: Time| Millis(0).plus(time.to_unix_duration());
        Some(Self {
            subject: read.subject.to_string(),
            issuer: read.issuer.to_string(),
            not_before: millis(read.validity.not_before),
            not_after: millis(read.validity.not_after),
        })
    }

    fn validity_problem(&self, now: Millis) -> Option<CertificateProblem> {
        let subject = self.subject.clone();
        let lifetime = self.not_after.since(self.not_before);
        if now > self.not_after {
            let at = self.not_after;
            return Some(CertificateProblem::Expired { subject, at });
        }
        if now < self.not_before {
            let at = self.not_before;
            return Some(CertificateProblem::NotYetValid { subject, at });
        }
        let at = self.not_after;
        // Some authorities issue for a few days only.
        let is_soon = at.since(now) < RENEWAL_OVERDUE.min(lifetime / 5);
        is_soon.then_some(CertificateProblem::ExpiresSoon { subject, at })
    }
}

fn wrong_name(own: &ParsedCertificate<'_>, host: &str) -> Option<CertificateProblem> {
    let name = ServerName::try_from(host).ok()?;
    let names = match verify_server_name(own, &name).err()? {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented, ..
        }) => presented.join(", "),
        other => other.to_string(),
    };
    let names = if names.is_empty() {
        "no name (subjectAltName)".to_owned()
    } else {
        names
    };
    Some(CertificateProblem::OtherName {
        host: host.to_owned(),
        names,
    })
}

fn wrong_path(
    own: &ParsedCertificate<'_>,
    chain: &[CertificateDer<'_>],
    links: &[ChainLink],
    now: Millis,
) -> Option<CertificateProblem> {
    let (first, others) = links.split_first()?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    // At a time within the validity, which is checked apart: the path of an expired certificate may also be
    // wrong.
    let at = now.clamp(first.not_before, first.not_after.max(first.not_before));
    let at = UnixTime::since_unix_epoch(at.since(Millis(0)));
    verify_server_cert_signed_by_trust_anchor(
        own,
        &system_roots(),
        &chain[1..],
        at,
        algorithms.all,
    )
    .err()?;
    if first.subject == first.issuer {
        return Some(CertificateProblem::SelfSigned);
    }
    let mut last = first;
    // At most one step for each certificate: two may name each other.
    for _ in others {
        match others.iter().find(|other| other.subject == last.issuer) {
            Some(issuer) => last = issuer,
            None => break,
        }
    }
    let issuer = last.issuer.clone();
    Some(if std::ptr::eq(last, first) {
        CertificateProblem::MissingIntermediate(issuer)
    } else {
        CertificateProblem::UnknownAuthority(issuer)
    })
}
