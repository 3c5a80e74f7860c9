//! `[directory]`: people's e-mail addresses from the configuration and from a CSV file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::reader::Reader;
use crate::plan::Directory;

const HEADER: [&str; 2] = ["address", "email"];

const NO_HEADER: &str = "the first line must be address,email";

/// What spreadsheets put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn read(reader: &mut Reader) -> Directory {
    let mut listed = Listed::default();
    for (address, email) in reader.table("directory.entries").unwrap_or_default() {
        let place = format!("directory.entries.\"{address}\"");
        if let Err(why) = listed.add(&address, &email, &place) {
            reader.mistake(format!("{place}: {why}"));
        }
    }
    let file = reader.text("directory.file", |path| {
        std::fs::read(path)
            .map(|bytes| (path.to_owned(), bytes))
            .map_err(|why| format!("cannot be read: {why}"))
    });
    if let Some((path, bytes)) = file {
        for mistake in listed.add_csv(&path, &bytes) {
            reader.mistake(mistake);
        }
    }
    let default = reader.text("directory.default", |text| {
        if is_email(text) {
            Ok(text.to_owned())
        } else {
            Err("must be an e-mail address".to_owned())
        }
    });
    Directory {
        entries: listed.emails,
        default,
    }
}

/// What was listed so far, and where.
#[derive(Default)]
struct Listed {
    emails: HashMap<String, String>,
    places: HashMap<String, String>,
}

impl Listed {
    fn add(&mut self, address: &str, email: &str, place: &str) -> Result<(), String> {
        if address.is_empty() {
            return Err("the address must not be empty".to_owned());
        }
        if !is_email(email) {
            return Err(format!("\"{email}\" must be an e-mail address"));
        }
        match self.places.entry(address.to_owned()) {
            Entry::Occupied(first) => Err(format!(
                "\"{address}\" stands in {} already; each must be there once",
                first.get()
            )),
            Entry::Vacant(free) => {
                free.insert(place.to_owned());
                self.emails.insert(address.to_owned(), email.to_owned());
                Ok(())
            }
        }
    }

    /// Returns the mistakes, each with file and line.
    fn add_csv(&mut self, path: &str, bytes: &[u8]) -> Vec<String> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let mut lines = (1..)
            .zip(bytes.split(|byte| *byte == b'\n'))
            .filter(|(_, line)| !line.trim_ascii().is_empty());
        match lines.next() {
            Some((_, line)) if values(line).is_ok_and(|values| values == HEADER) => {}
            Some((number, _)) => return vec![format!("{path}:{number}: {NO_HEADER}")],
            None => return vec![format!("{path}:1: {NO_HEADER}")],
        }
        lines
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
            .collect()
    }
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

/// Something on both sides of one `@`: whether mail arrives is not for a form to know.
fn is_email(text: &str) -> bool {
    match text.split_once('@') {
        Some((name, host)) => {
            !name.is_empty()
                && !host.is_empty()
                && !host.contains('@')
                && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_file_may_quote_its_values_and_end_its_lines_either_way() {
        let mut listed = Listed::default();
        let csv =
            "address,email\r\n\"+12025550123\", user@example.com\r\n\nclient:jane,jane@example.com";
        assert_eq!(
            listed.add_csv("d.csv", csv.as_bytes()),
            Vec::<String>::new()
        );
        assert_eq!(listed.emails["+12025550123"], "user@example.com");
        assert_eq!(listed.emails["client:jane"], "jane@example.com");
    }

    #[test]
    fn every_malformed_line_of_a_csv_file_is_reported_with_its_number() {
        let mut listed = Listed::default();
        let csv = b"address,email\n+12025550123,user@example.com\n+12025550124\n\n+12025550123,other@example.com\n+12025550125,nobody\n,user@example.com\n\xff,a@b\n";
        assert_eq!(
            listed.add_csv("d.csv", csv),
            [
                "d.csv:3: the line must have two values, address,email, not 1",
                "d.csv:5: \"+12025550123\" stands in d.csv:2 already; each must be there once",
                "d.csv:6: \"nobody\" must be an e-mail address",
                "d.csv:7: the address must not be empty",
                "d.csv:8: the line must be UTF-8",
            ]
        );
    }

    #[test]
    fn a_csv_file_without_its_header_is_refused() {
        let mistakes = Listed::default().add_csv("d.csv", b"+12025550123,user@example.com\n");
        assert_eq!(mistakes, ["d.csv:1: the first line must be address,email"]);
        assert_eq!(Listed::default().add_csv("d.csv", b""), mistakes);
    }
}
