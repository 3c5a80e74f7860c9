//! `[calls]`: which call-ends a call has, and what they contain.
//!
//! The rules that use these settings are in `domain/plan`.

use super::duration::{days, millis, minutes};
use super::reader::SettingsReader;
use crate::domain::plan::{
    ClientParents, LegRules, MissedStatus, ReportMode, SipCustomers, SipHost,
};

/// The value of `calls.sip_customers` for every host.
pub(super) const ALL_SIP_HOSTS: &str = "all";

pub(super) fn empty_from(reader: &mut SettingsReader) -> Option<String> {
    replacement(reader, "calls.empty_from")
}

pub(super) fn empty_to(reader: &mut SettingsReader) -> Option<String> {
    replacement(reader, "calls.empty_to")
}

/// The text that is sent instead of an empty address.
fn replacement(reader: &mut SettingsReader, key: &'static str) -> Option<String> {
    reader.text(key, |text| match text.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    })
}

pub(super) fn client(reader: &mut SettingsReader) -> Option<ClientParents> {
    reader.choice("calls.client", &ClientParents::WORDS)
}

pub(super) fn sip_customers(reader: &mut SettingsReader) -> SipCustomers {
    const KEY: &str = "calls.sip_customers";
    let hosts = reader.list(KEY, |text| {
        let host = (!text.eq_ignore_ascii_case(ALL_SIP_HOSTS)).then(|| SipHost::parse(text));
        host.map_or(Ok(None), |host| host.map(Some).ok_or_else(not_a_host))
    });
    match hosts {
        None => SipCustomers::Unset,
        Some(hosts) => match hosts.iter().flatten().count() {
            0 => SipCustomers::All,
            count if count < hosts.len() => {
                let name = reader.name(KEY);
                reader.mistake(format!("{name} must be \"all\" or hosts, not both"));
                SipCustomers::Unset
            }
            _ => SipCustomers::Hosts(hosts.into_iter().flatten().collect()),
        },
    }
}

fn not_a_host() -> String {
    "must be \"all\", or the host of SIP addresses without sip:, user and port: a name or an IP \
     address, such as \"sbc.example.net\""
        .to_owned()
}

pub(super) fn legs(reader: &mut SettingsReader) -> Option<LegRules> {
    let report = reader.choice("calls.report", &ReportMode::WORDS);
    let settle = reader.duration("calls.settle", millis(0)..=minutes(10));
    let missed = reader.choice("calls.missed", &MissedStatus::WORDS);
    let wait = reader.duration("calls.wait", minutes(1)..=days(7));
    Some(LegRules {
        report: report?,
        settle: settle?,
        missed: missed?,
        wait: wait?,
    })
}
