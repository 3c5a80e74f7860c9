//! The parties of a call: agents with internal addresses, and customers with a phone.
//!
//! Softphones and SIP phones are agents', unless `calls.sip_customers` names the SIP host of an address.
//!
//! It does not choose who is reported as the agent's e-mail (`email`).

use std::net::IpAddr;

use crate::domain::directory::sip_host;

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// An agent: a softphone or a SIP phone.
    Internal,
    Phone,
}

/// The SIP hosts from which customers call (`calls.sip_customers`): a carrier, an SBC or a PBX.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SipCustomers {
    #[default]
    Unset,
    Hosts(Vec<SipHost>),
    All,
}

/// The host of a SIP address: a name in lower case, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipHost(String);

impl SipCustomers {
    pub(super) fn party(&self, address: &str) -> Party {
        let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
        if scheme.eq_ignore_ascii_case("client") {
            return Party::Internal;
        }
        match (SipHost::of(address), self) {
            (None, _) | (Some(_), Self::All) => Party::Phone,
            (Some(host), Self::Hosts(hosts)) if hosts.contains(&host) => Party::Phone,
            (Some(_), Self::Hosts(_) | Self::Unset) => Party::Internal,
        }
    }
}

impl SipHost {
    /// A host as an operator writes it; `None` if it is none, or has a scheme, a user or a port.
    pub fn parse(text: &str) -> Option<Self> {
        let host = Self::normal(text);
        let is_name = |text: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !text.is_empty() && text.chars().all(is_allowed)
        };
        (is_name(&host.0) || host.0.parse::<IpAddr>().is_ok()).then_some(host)
    }

    /// The host of a `sip:` or `sips:` address.
    pub(super) fn of(address: &str) -> Option<Self> {
        sip_host(address).map(|host| Self::normal(&host))
    }

    fn normal(text: &str) -> Self {
        let host = text.trim().trim_end_matches('.');
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        Self(match bare.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => host.to_ascii_lowercase(),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_sip_address_is_found_whatever_is_around_it() {
        for address in [
            "sip:+12025550123@sbc.example.net",
            "sip:+12025550123@sbc.example.net:5061",
            "sip:+12025550123@SBC.Example.Net;transport=tls",
            "SIP:+12025550123@sbc.example.net?Subject=a:b",
            "sips:jane:secret@sbc.example.net.:5061;lr?a=b",
            "sip:+1202;phone-context=a.example.com@sbc.example.net",
            "sip:sbc.example.net",
            "sip:sbc.example.net:5060;transport=udp",
            "sip:sbc.example.net;transport=udp",
        ] {
            assert_eq!(SipHost::of(address), SipHost::parse("sbc.example.net"));
        }
        for (address, host) in [
            ("sip:1@192.0.2.7:5060", "192.0.2.7"),
            ("sip:1@[2001:DB8:0::7]:5060;transport=tcp", "2001:db8::7"),
        ] {
            assert_eq!(SipHost::of(address), SipHost::parse(host), "{address}");
        }
        let whatsapp = "whatsapp:+12025550123";
        for address in ["+12025550123", "client:jane", whatsapp, "sip", ""] {
            assert_eq!(SipHost::of(address), None, "{address}");
        }
    }

    #[test]
    fn an_operator_names_a_host_alone() {
        for (text, host) in [
            ("SBC.example.net", "sbc.example.net"),
            ("sbc.example.net.", "sbc.example.net"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8::0:7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
        ] {
            let host = Some(SipHost(host.to_owned()));
            assert_eq!(SipHost::parse(text), host, "{text}");
        }
        for text in [
            "",
            "sip:sbc.example.net",
            "a@b",
            "h.example:5060",
            "*",
            "[x]",
        ] {
            assert_eq!(SipHost::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_sip_address_is_a_phone_if_its_host_is_one_of_customers() {
        let sbc = "sip:+12025550123@SBC.example.net:5060";
        let other = "sip:+12025550123@notsbc.example.net";
        let hosts = SipHost::parse("sbc.example.net").into_iter().collect();
        let hosts = SipCustomers::Hosts(hosts);
        let unset = SipCustomers::Unset;
        for (customers, address, expected) in [
            (&unset, sbc, Party::Internal),
            (&hosts, sbc, Party::Phone),
            (&hosts, other, Party::Internal),
            (&SipCustomers::All, other, Party::Phone),
            (&SipCustomers::All, "client:jane", Party::Internal),
            (&SipCustomers::All, "Client:jane", Party::Internal),
            (&unset, "+12025550123", Party::Phone),
            (&unset, "SIPS:jane@example.com", Party::Internal),
        ] {
            let found = customers.party(address);
            assert_eq!(found, expected, "{customers:?} {address}");
        }
    }
}
