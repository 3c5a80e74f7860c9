//! Searches for the key, URL and fields that give the signature of a request.
//!
//! The search is bounded: it computes at most [`MAX_TRIES`] signatures over at most [`MAX_BYTES`].
//! It tries likely candidates and single differences first, then two and three at once. It does not
//! know how candidates are made.

use super::super::signature::SigningKey;
use super::difference::{Diagnosis, Difference};
use super::input::BodyFormat;
use super::signature_text::{Match, SignatureText};

/// The most signatures that one diagnosis computes.
pub const MAX_TRIES: usize = 8192;

/// The most bytes that one diagnosis hashes.
pub const MAX_BYTES: usize = 16 << 20;

/// The most differences at once.
pub(super) const MAX_DIFFERENCES: u8 = 3;

/// A part of the text that may have been signed, and how it differs from the text that was verified.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) text: String,
    pub(super) differences: Vec<Difference>,
    /// Candidates of a low cost are tried first; usually the number of differences.
    pub(super) cost: u8,
}

impl Candidate {
    /// The text that plain verification uses.
    pub(super) fn unchanged(text: String) -> Self {
        Self::new(text, [])
    }

    pub(super) fn new(text: String, differences: impl IntoIterator<Item = Difference>) -> Self {
        let differences: Vec<Difference> = differences.into_iter().collect();
        let cost = u8::try_from(differences.len()).unwrap_or(u8::MAX);
        Self {
            text,
            differences,
            cost,
        }
    }

    /// An unlikely candidate is tried later, as if it had several differences.
    pub(super) fn with_cost(self, cost: u8) -> Self {
        Self { cost, ..self }
    }
}

/// Tries each combination of a key, a URL and a text of fields, in order of their total cost.
pub(super) struct CandidateSearch<'a> {
    signature: SignatureText<'a>,
    body_format: BodyFormat,
    keys: Vec<(SigningKey, Candidate)>,
    urls: Vec<Candidate>,
    fields: Vec<Candidate>,
    pub(super) tries: usize,
    pub(super) bytes: usize,
}

impl<'a> CandidateSearch<'a> {
    pub(super) fn new(
        signature: &'a str,
        body_format: BodyFormat,
        mut keys: Vec<(SigningKey, Candidate)>,
        mut urls: Vec<Candidate>,
        mut fields: Vec<Candidate>,
    ) -> Self {
        // The sort is stable: of two candidates with the same cost, the likelier one stays first.
        keys.sort_by_key(|(_, candidate)| candidate.cost);
        urls.sort_by_key(|candidate| candidate.cost);
        fields.sort_by_key(|candidate| candidate.cost);
        Self {
            signature: SignatureText::of(signature),
            body_format,
            keys,
            urls,
            fields,
            tries: 0,
            bytes: 0,
        }
    }

    pub(super) fn run(&mut self) -> Option<Diagnosis> {
        (0..=MAX_DIFFERENCES).find_map(|cost| self.try_cost(cost))
    }

    /// Tries the combinations of exactly this total cost.
    fn try_cost(&mut self, cost: u8) -> Option<Diagnosis> {
        // Candidates are sorted by cost, so those of at most one cost are a prefix.
        let count = |candidates: &[Candidate], most: u8| {
            candidates.partition_point(|candidate| candidate.cost <= most)
        };
        for (key, key_candidate) in &self.keys {
            let Some(left) = cost.checked_sub(key_candidate.cost) else {
                break;
            };
            for fields in &self.fields[..count(&self.fields, left)] {
                let left = left - fields.cost;
                let cheaper = left.checked_sub(1);
                let cheaper = cheaper.map_or(0, |most| count(&self.urls, most));
                for url in &self.urls[cheaper..count(&self.urls, left)] {
                    self.tries += 1;
                    self.bytes += url.text.len() + fields.text.len();
                    if self.tries > MAX_TRIES || self.bytes > MAX_BYTES {
                        return None;
                    }
                    let found = self.try_one(key, [key_candidate, url, fields]);
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    fn try_one(
        &self,
        key: &SigningKey,
        [key_candidate, url, fields]: [&Candidate; 3],
    ) -> Option<Diagnosis> {
        let repaired = match self
            .signature
            .compare(&key.sign(&[&url.text], &fields.text))
        {
            Match::None => return None,
            Match::Repaired => Some(Difference::SignatureText),
            Match::Exact => None,
        };
        // The first difference names the diagnosis: that of the URL, where there is one.
        let parts = [url, key_candidate, fields].into_iter();
        let differences = parts.flat_map(|part| part.differences.clone());
        let mut differences: Vec<Difference> = differences.chain(repaired).collect();
        if differences.is_empty() {
            // Plain verification checks one thing more: the hash of a JSON body.
            if self.body_format != BodyFormat::Json {
                return None;
            }
            differences.push(Difference::BodyChanged);
        }
        Some(Diagnosis {
            differences,
            url: Some(url.text.clone()),
        })
    }
}
