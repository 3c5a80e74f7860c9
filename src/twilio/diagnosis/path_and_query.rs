//! Paths and queries that may have been signed instead of those that arrived.
//!
//! It computes no signature: `candidates` does.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::super::public_url::SERVED;
use super::candidates::Candidate;
use super::difference::Difference;
use super::input::DiagnosisInput;

/// Path prefixes that gateways usually add or strip.
const USUAL_PREFIXES: [&str; 16] = [
    "/api",
    "/api/v1",
    "/v1",
    "/bridge",
    "/acquire",
    "/app",
    "/calls",
    "/callbacks",
    "/hook",
    "/hooks",
    "/webhook",
    "/webhooks",
    "/proxy",
    "/prod",
    "/stage",
    "/dev",
];

/// Headers in which a proxy reports the target that its client requested.
pub(super) const TARGET_HEADERS: [&str; 6] = [
    "x-original-uri",
    "x-original-url",
    "x-forwarded-uri",
    "x-rewrite-url",
    "x-forwarded-path",
    "x-envoy-original-path",
];

/// Headers in which a proxy reports the prefix that it stripped from the path.
pub(super) const PREFIX_HEADERS: [&str; 3] =
    ["x-forwarded-prefix", "x-script-name", "x-forwarded-base"];

/// The most query keys for which every order is tried: 5 keys have 120 orders.
const MAX_KEYS: usize = 5;

/// The paths to try for the one that arrived; `prefix` is that of the public URL.
pub(super) fn paths(path: &str, prefix: &str, input: &DiagnosisInput<'_>) -> Vec<Candidate> {
    let served = path.find(SERVED).map_or(path, |at| &path[at..]);
    let before = &path[..path.len() - served.len()];
    let configured = if before == prefix {
        path.to_owned()
    } else {
        format!("{prefix}{path}")
    };
    let mut found = vec![Candidate::unchanged(configured.clone())];
    let mut add = |path: String, difference: Difference| {
        if found.iter().all(|known| known.text != path) {
            found.push(Candidate::new(path, [difference]));
        }
    };
    for target in input.original_targets(&TARGET_HEADERS) {
        let original = target.split('?').next().unwrap_or_default().to_owned();
        let difference = original.find(SERVED).map_or(Difference::Path, |at| {
            if original[at..] == *served {
                Difference::Prefix
            } else {
                slash_or_path(&original, path)
            }
        });
        add(original, difference);
    }
    for name in PREFIX_HEADERS {
        for value in input.header(name) {
            add(
                format!("{}{served}", value.trim_end_matches('/')),
                Difference::Prefix,
            );
        }
    }
    for base in [configured.as_str(), served] {
        match base.strip_suffix('/') {
            Some(bare) => add(bare.to_owned(), Difference::TrailingSlash),
            None => add(format!("{base}/"), Difference::TrailingSlash),
        }
    }
    add(served.to_owned(), Difference::Prefix);
    add(path.to_owned(), Difference::Prefix);
    for usual in USUAL_PREFIXES {
        add(format!("{usual}{served}"), Difference::Prefix);
    }
    for shorter in shorter_prefixes(before) {
        add(format!("{shorter}{served}"), Difference::Prefix);
    }
    add(format!("{prefix}/{served}"), Difference::Path);
    add(
        configured.replacen("/twilio/", "/twilio//", 1),
        Difference::Path,
    );
    add(
        configured.replacen("/voice/", "/voice//", 1),
        Difference::Path,
    );
    add(configured.replace("//", "/"), Difference::Path);
    for (one, other) in [("/status", "/recording"), ("/recording", "/status")] {
        if let Some(stem) = configured.strip_suffix(one) {
            add(format!("{stem}{other}"), Difference::Path);
        }
    }
    found
}

fn slash_or_path(one: &str, other: &str) -> Difference {
    if one.trim_end_matches('/') == other.trim_end_matches('/') {
        Difference::TrailingSlash
    } else {
        Difference::Path
    }
}

fn shorter_prefixes(prefix: &str) -> impl Iterator<Item = &str> {
    prefix
        .match_indices('/')
        .skip(1)
        .flat_map(|(at, _)| [&prefix[..at], &prefix[at..]])
}

/// The queries to try for the one that arrived, with their `?`.
pub(super) fn queries(query: Option<&str>, input: &DiagnosisInput<'_>) -> Vec<Candidate> {
    let shown = |query: &str| format!("?{query}");
    let mut found = vec![Candidate::unchanged(query.map_or_else(String::new, shown))];
    let mut add = |query: String, difference: Difference| {
        if found.iter().all(|known| known.text != query) {
            // With many keys, each single order is unlikely.
            let cost = if difference == Difference::QueryOrder && found.len() > 64 {
                2
            } else {
                1
            };
            found.push(Candidate::new(query, [difference]).with_cost(cost));
        }
    };
    let arrived = query.unwrap_or_default();
    for target in input.original_targets(&TARGET_HEADERS) {
        let original = target.split_once('?').map_or("", |(_, query)| query);
        if original != arrived {
            let text = if original.is_empty() {
                String::new()
            } else {
                shown(original)
            };
            add(text, changed(original, arrived));
        }
    }
    let Some(query) = query else {
        add("?".to_owned(), Difference::QueryEncoding);
        input
            .queries
            .iter()
            .for_each(|query| add(shown(query), Difference::QueryLost));
        return found;
    };
    let (sent, fragment) = query
        .split_once('#')
        .map_or((query, None), |(q, f)| (q, Some(f)));
    if fragment.is_some() {
        add(shown(sent), Difference::Leftover);
    }
    for (other, characters) in unescaped(query) {
        add(shown(&other), Difference::QueryUnescaped(characters));
    }
    for other in reencoded(query) {
        add(shown(&other), Difference::QueryEncoding);
    }
    add(String::new(), Difference::QueryAdded);
    let pairs: Vec<&str> = query.split('&').collect();
    if pairs.len() > 1 {
        for left_out in 0..pairs.len().min(16) {
            let mut fewer = pairs.clone();
            fewer.remove(left_out);
            add(shown(&fewer.join("&")), Difference::QueryAdded);
        }
        for order in orders(&pairs) {
            add(shown(&order.join("&")), Difference::QueryOrder);
        }
    }
    for known in input.queries {
        add(shown(&format!("{query}&{known}")), Difference::QueryLost);
        add(shown(&format!("{known}&{query}")), Difference::QueryLost);
    }
    found
}

fn changed(original: &str, arrived: &str) -> Difference {
    let sorted = |query: &str| {
        let mut pairs: Vec<String> = query.split('&').map(str::to_owned).collect();
        pairs.sort_unstable();
        pairs
    };
    let decoded = |query: &str| percent_decode_str(&query.replace('+', " ")).collect::<Vec<u8>>();
    if arrived.is_empty() || original.len() > arrived.len() && original.contains(arrived) {
        Difference::QueryLost
    } else if original.is_empty() || arrived.contains(original) {
        Difference::QueryAdded
    } else if sorted(original) == sorted(arrived) {
        Difference::QueryOrder
    } else if decoded(original) == decoded(arrived) {
        Difference::QueryEncoding
    } else {
        Difference::QueryLost
    }
}

/// The characters that a proxy keeps when it re-encodes a query: the unreserved ones of RFC 3986,
/// `=` and `&`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'=')
    .remove(b'&');

/// The most escapes of one query for which every combination is tried.
const MAX_ESCAPES: usize = 5;

/// The queries that Twilio may have signed as entered, with characters that it then escaped to send the
/// request; each with these characters.
fn unescaped(query: &str) -> Vec<(String, String)> {
    let decoded = percent_decode_str(query).decode_utf8_lossy();
    // `+` and `%20` are both written for a space, and some libraries write `%20` for a `+`.
    let mut escapes = vec![("+".to_owned(), ' '), ("%20".to_owned(), '+')];
    for character in decoded.chars().filter(|c| !"%&#".contains(*c)) {
        let escape = utf8_percent_encode(character.encode_utf8(&mut [0; 4]), KEPT).to_string();
        if escape.starts_with('%') && !escapes.contains(&(escape.clone(), character)) {
            escapes.push((escape, character));
        }
    }
    escapes.retain(|(escape, _)| query.contains(escape));
    let few = escapes.len().min(MAX_ESCAPES);
    let combinations = (1..1_usize << few).map(|bits| {
        let is_chosen = move |at: &usize| bits & (1 << at) != 0;
        (0..few).filter(is_chosen).collect::<Vec<_>>()
    });
    let all = (0..escapes.len()).collect();
    let mut found: Vec<(String, String)> = combinations
        .chain([all])
        .map(|chosen| {
            let chosen = chosen.iter().map(|at| &escapes[*at]);
            chosen.fold((query.to_owned(), String::new()), |(text, of), escape| {
                let raw = escape.1.to_string();
                (text.replace(&escape.0, &raw), of + &raw)
            })
        })
        .collect();
    // The fewer characters explain a signature, the likelier they are.
    found.sort_by_key(|(_, characters)| characters.chars().count());
    found
}

fn reencoded(query: &str) -> Vec<String> {
    let decoded = percent_decode_str(query).decode_utf8_lossy().into_owned();
    let encoded = utf8_percent_encode(&decoded, KEPT).to_string();
    let spaces = percent_decode_str(&query.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned();
    let respaced = utf8_percent_encode(&spaces, KEPT).to_string();
    let case = |change: fn(&str) -> String| {
        let mut parts = query.split('%');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
            text.extend(["%", &change(digits), rest]);
        }
        text
    };
    vec![
        query.replace('@', "%40"),
        query.replace('\'', "%27"),
        query.replace('+', "%2B"),
        query.replace('+', "%20"),
        query.replace("%25", "%"),
        case(str::to_ascii_lowercase),
        case(str::to_ascii_uppercase),
        respaced.replace("%20", "+"),
        query.replace('=', "%3D"),
        query.trim_end_matches(['=', '&']).to_owned(),
        format!("{query}="),
        query.replace("&amp;", "&"),
        query.replace('&', "&amp;"),
        query.replace(';', "&"),
        decoded,
        encoded,
        respaced,
    ]
}

/// Every order of a few parts; of many parts, the sorted and the reversed one.
fn orders<'a>(parts: &[&'a str]) -> Vec<Vec<&'a str>> {
    if parts.len() > MAX_KEYS {
        let mut sorted = parts.to_vec();
        sorted.sort_unstable();
        return vec![sorted, parts.iter().rev().copied().collect()];
    }
    let mut orders: Vec<Vec<&str>> = vec![Vec::new()];
    for part in parts {
        orders = orders
            .iter()
            .flat_map(|order| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, *part);
                    longer
                })
            })
            .collect();
    }
    orders
}
