//! Reads the entries of a directory: of the configuration and of a CSV file, each address once.
//!
//! The file itself is read elsewhere: this room does no I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Directory;
use super::address::{Address, is_email, phone_number};

const HEADER: [&str; 2] = ["address", "email"];

const NO_HEADER: &str = "the first line must be address,email";

const NO_ADDRESS: &str = "the address must be a number such as +12025550123, client:IDENTITY, \
                          sip:USER@HOST, or an identity or user alone, without spaces";

/// The mark that spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Entries with their places. Its messages name places and never the entries, because they are
/// logged and entries are personal data.
#[derive(Clone, Debug, Default)]
pub struct DirectoryEntries {
    emails: HashMap<String, String>,
    places: HashMap<String, String>,
    pub default: Option<String>,
}

impl DirectoryEntries {
    /// Adds an entry. `place` is its file and line, or its setting: a repeat names it.
    ///
    /// # Errors
    /// The address or e-mail is not one, or the address has an entry already.
    pub fn add(&mut self, address: &str, email: &str, place: &str) -> Result<(), String> {
        let key = key(address)?;
        if !is_email(email) {
            return Err("the e-mail must be an e-mail address".to_owned());
        }
        match self.places.entry(key) {
            Entry::Occupied(first) => Err(format!(
                "the address is already in {}; remove one of the two entries",
                first.get()
            )),
            Entry::Vacant(free) => {
                self.emails.insert(free.key().clone(), email.to_owned());
                free.insert(place.to_owned());
                Ok(())
            }
        }
    }

    /// Adds the lines of a CSV file.
    ///
    /// # Errors
    /// The mistakes, each with file and line.
    pub fn add_csv(&mut self, path: &str, bytes: &[u8]) -> Result<(), Vec<String>> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mut lines = (1..)
            .zip(bytes.split(|byte| *byte == b'\n'))
            .filter(|(_, line)| !line.trim_ascii().is_empty());
        match lines.next() {
            Some((_, line)) if values(line).is_ok_and(|values| values == HEADER) => {}
            Some((number, _)) => return Err(vec![format!("{path}:{number}: {NO_HEADER}")]),
            None => return Err(vec![format!("{path}:1: {NO_HEADER}")]),
        }
        let mistakes: Vec<String> = lines
            .filter_map(|(number, line)| {
                let place = format!("{path}:{number}");
                let added = values(line).and_then(|values| match &values[..] {
                    [address, email] => self.add(address, email, &place),
                    _ => Err(format!(
                        "the line must have two values, address,email, not {}",
                        values.len()
                    )),
                });
                added.err().map(|why| format!("{place}: {why}"))
            })
            .collect();
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }

    pub fn directory(self) -> Directory {
        Directory {
            entries: self.emails,
            default: self.default,
        }
    }
}

/// The normalized form of an address.
fn key(address: &str) -> Result<String, String> {
    if address.is_empty() {
        return Err("the address must not be empty".to_owned());
    }
    if address.starts_with('+') {
        return phone_number(address).ok_or_else(|| NO_ADDRESS.to_owned());
    }
    let Address { whole, user } = Address::parse(address);
    let is_empty = user.is_some_and(|user| user.is_empty()) || whole.ends_with('@');
    if is_empty || whole.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(NO_ADDRESS.to_owned());
    }
    Ok(whole)
}

/// The values of one line, which may be quoted. A value never spans lines here, so that line
/// numbers are those of an editor.
fn values(line: &[u8]) -> Result<Vec<String>, String> {
    let record = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .buffer_capacity(line.len())
        .from_reader(line)
        .into_records()
        .next();
    match record {
        Some(Ok(record)) => Ok(record.iter().map(ToOwned::to_owned).collect()),
        Some(Err(_)) => Err("the line must be UTF-8".to_owned()),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_file_may_quote_its_values_and_end_its_lines_either_way() {
        let mut listing = DirectoryEntries::default();
        let csv =
            "address,email\r\n\"+12025550123\", user@example.com\r\n\nclient:jane,jane@example.com";
        assert_eq!(listing.add_csv("d.csv", csv.as_bytes()), Ok(()));
        let entries = listing.directory().entries;
        assert_eq!(entries["+12025550123"], "user@example.com");
        assert_eq!(entries["client:jane"], "jane@example.com");
    }

    #[test]
    fn every_malformed_line_of_a_csv_file_is_reported_with_its_number() {
        let csv = b"address,email\n+12025550123,user@example.com\n+12025550124\n\n+1 202 555 0123,other@example.com\n+12025550125,no-address\n,user@example.com\n\xff,a@b\n+1202x,a@b\nclient:,a@b\nsip:jane,a@b\nsip:@h,a@b\nsip:j@,a@b\nJane Doe,a@b\n";
        let mut expected = vec![
            "d.csv:3: the line must have two values, address,email, not 1".to_owned(),
            "d.csv:5: the address is already in d.csv:2; remove one of the two entries".to_owned(),
            "d.csv:6: the e-mail must be an e-mail address".to_owned(),
            "d.csv:7: the address must not be empty".to_owned(),
            "d.csv:8: the line must be UTF-8".to_owned(),
        ];
        expected.extend((9..=14).map(|line| format!("d.csv:{line}: {NO_ADDRESS}")));
        assert_eq!(
            DirectoryEntries::default().add_csv("d.csv", csv),
            Err(expected)
        );
    }

    #[test]
    fn a_csv_file_without_its_header_is_refused() {
        let none = DirectoryEntries::default().add_csv("d.csv", b"+12025550123,user@example.com\n");
        let expected = vec!["d.csv:1: the first line must be address,email".to_owned()];
        assert_eq!(none, Err(expected));
        assert_eq!(DirectoryEntries::default().add_csv("d.csv", b""), none);
    }
}
