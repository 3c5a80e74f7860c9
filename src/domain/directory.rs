//! Finds an agent's e-mail address by the address that Twilio reports (`From`, `To`).
//!
//! It does no I/O: it gets a file as bytes. `config.default.toml` documents the forms that match.

mod address;
pub mod entries;

use std::collections::HashMap;

use address::Address;

pub(super) use address::sip_host;
pub use address::{email_fault, is_email};

/// The e-mails by address (`[directory]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// E-mails by address, in the form that [`entries::DirectoryEntries`] gives it.
    pub entries: HashMap<String, String>,
    /// The e-mail for an address that is not found.
    pub default: Option<String>,
}

impl Directory {
    /// The e-mail for an address of Twilio (`From`, `To`): of the entry for the whole address, else of
    /// the entry for its user, else the user itself if it is an e-mail.
    pub fn email_of(&self, address: &str) -> Option<String> {
        let Address { whole, user } = Address::parse(address);
        let listed = |key: &str| self.entries.get(key).cloned();
        listed(&whole)
            .or_else(|| listed(user.as_deref()?))
            .or_else(|| address::own_email(user.as_deref()?))
    }

    /// The part that applies to these addresses.
    pub fn about<'a>(&self, addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let mut entries = HashMap::new();
        for address in addresses {
            let Address { whole, user } = Address::parse(address);
            for key in [Some(whole), user].into_iter().flatten() {
                if let Some(email) = self.entries.get(&key) {
                    entries.insert(key, email.clone());
                }
            }
        }
        let default = self.default.clone();
        Self { entries, default }
    }
}

/// An address of Twilio in its normalized form, and its user if it has one; both in lower case.
pub(super) fn normal_address(address: &str) -> (String, Option<String>) {
    let Address { whole, user } = Address::parse(address);
    (whole.to_lowercase(), user.map(|user| user.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::entries::DirectoryEntries;
    use super::*;

    fn directory(entries: &[(&str, &str)]) -> Directory {
        let mut listing = DirectoryEntries::default();
        for (address, email) in entries {
            listing
                .add(address, email, "the test")
                .expect("a good entry");
        }
        listing.directory()
    }

    #[test]
    fn an_address_is_found_by_its_whole_and_by_its_user() {
        let directory = directory(&[
            ("+1 (202) 555-0123", "phone@example.com"),
            ("client:jane", "client@example.com"),
            ("jane", "user@example.com"),
            ("sip:jane@Pbx.example.com:5061", "sip@example.com"),
            ("1001", "desk@example.com"),
            ("whatsapp:+1 202 555 0125", "whatsapp@example.com"),
        ]);
        for (address, email) in [
            ("+12025550123", Some("phone")),
            ("sip:+12025550123@pbx.example.com", Some("phone")),
            ("sip:%2B12025550123@pbx.example.com", Some("phone")),
            ("+12025550124", None),
            ("12025550123", None),
            ("client:jane", Some("client")),
            ("client:Jane", None),
            ("sip:jane@pbx.example.com", Some("sip")),
            ("sip:jane@PBX.example.com:5060;transport=tls", Some("sip")),
            ("SIPS:jane@pbx.example.com?x=y", Some("sip")),
            ("sip:jane:secret@pbx.example.com", Some("sip")),
            ("sip:jane@elsewhere.example.com", Some("user")),
            ("sip:jane;phone-context=x@[2001:db8::1]:5060", Some("user")),
            ("sip:1001@pbx.example.com", Some("desk")),
            ("client:1001", Some("desk")),
            ("1001", Some("desk")),
            ("whatsapp:+12025550123", Some("phone")),
            ("WhatsApp:+1 202 555 0123", Some("phone")),
            ("whatsapp:+12025550125", Some("whatsapp")),
            ("+12025550125", None),
            ("whatsapp:+12025550124", None),
            ("whatsapp:jane", None),
            ("whatsapp:", None),
            ("anonymous", None),
            ("", None),
            ("client:", None),
            ("sip:", None),
        ] {
            let email = email.map(|name| format!("{name}@example.com"));
            assert_eq!(directory.email_of(address), email, "{address}");
        }
    }

    #[test]
    fn a_user_that_is_an_email_address_is_used_as_such() {
        for (address, email) in [
            ("client:jane@x.test", Some("jane@x.test")),
            ("client:jane_40x_2Etest", Some("jane@x.test")),
            ("client:jane_40x_2etest", Some("jane@x.test")),
            ("client:jane_5Fdoe_40x_2Etest", Some("jane_doe@x.test")),
            ("client:jane_kim_40x.test", Some("jane_kim@x.test")),
            ("client:jane_2E@x.test", Some("jane_2E@x.test")),
            ("client:j_C3_B6rg_40x_2Etest", Some("jörg@x.test")),
            ("client:jane%40x.test", Some("jane@x.test")),
            ("sip:jane%40x.test@pbx.x.test", Some("jane@x.test")),
            ("sip:jane_40x_2Etest@pbx:5061;x=y", Some("jane@x.test")),
            ("sip:jane@x.test@pbx.x.test", Some("jane@x.test")),
            ("sip:jane@x.test", None),
            ("client:jane_40", None),
            ("client:jane_FF_40x_2Etest", None),
            ("client:jane_0D_0A_40x_2Etest", None),
            ("client:jane_40x_40x_2Etest", None),
            ("jane@x.test", None),
            ("client:jane_4", None),
        ] {
            let found = Directory::default().email_of(address);
            assert_eq!(found.as_deref(), email, "{address}");
        }
    }

    #[test]
    fn only_one_address_alone_is_an_email() {
        for (text, is_one) in [
            ("jane@example.com", true),
            ("jane+calls@example.com", true),
            ("o'hara_7@mail.example.com", true),
            ("jörg@example.com", true),
            ("jane@intranet", true),
            ("extension-7", false),
            ("", false),
            ("@", false),
            ("@example.com", false),
            ("jane@", false),
            ("jane calls@example.com", false),
            (" jane@example.com", false),
            ("jane@example.com\n", false),
            ("a@example.com,b@example.com", false),
            ("a@example.com;b@example.com", false),
            ("a@example.com b@example.com", false),
            ("a@b@example.com", false),
            ("a@example.com,b", false),
            ("Jane <jane@example.com>", false),
            ("<jane@example.com>", false),
            ("mailto:jane@example.com", false),
            ("jane@.example.com", false),
            ("jane@example.com.", false),
            ("jane@example..com", false),
            ("jane@exam\0ple.com", false),
            ("jane@example.com/", false),
            ("jane@example.com?subject=x", false),
            ("a@example.com|b", false),
        ] {
            assert_eq!(is_email(text), is_one, "{text}");
        }
    }

    #[test]
    fn an_entry_goes_before_an_email_address_in_the_identity() {
        let directory = directory(&[("client:jane_40example_2Ecom", "office@example.com")]);
        let found = directory.email_of("client:jane_40example_2Ecom");
        assert_eq!(found.as_deref(), Some("office@example.com"));
    }
}
