//! Which calls an operator asks for.

use crate::clock::Millis;
use crate::domain::directory::is_address;
use crate::store::{CallSummary, ListFilter, ReadStore, State, StoreError, StoredCall};
use crate::twilio::signature::fields;
use crate::twilio::{AccountSid, CallStatus, CallbackContent, callback};

/// The fields in which a number is looked for.
const ADDRESSES: [&str; 6] = [
    "From",
    "To",
    "Caller",
    "Called",
    "ForwardedFrom",
    "CalledVia",
];

/// Calls that fulfil all of it.
#[derive(Clone, Debug, Default)]
pub struct CallSearch {
    pub state: Option<State>,
    /// First received at this time or later.
    pub since: Option<Millis>,
    /// First received before this time.
    pub until: Option<Millis>,
    pub account: Option<AccountSid>,
    /// A number or another address, in full, on either side of any leg.
    pub number: Option<String>,
    /// Told of any leg.
    pub status: Option<CallStatus>,
    /// A part of the reason for which it is skipped or parked, in either case of letters.
    pub reason: Option<String>,
}

impl CallSearch {
    /// In the order of [`ListFilter`], at most `limit`.
    pub fn run(
        &self,
        reader: &dyn ReadStore,
        limit: usize,
    ) -> Result<Vec<CallSummary>, StoreError> {
        let filter = ListFilter {
            state: self.state,
            limit,
        };
        if self.asks_for_state_alone() {
            return reader.list(filter);
        }
        reader.find(filter, &mut |summary| {
            if !self.admits(summary) || !self.asks_for_callbacks() {
                return Ok(self.admits(summary));
            }
            let call = reader.get(&summary.sid)?;
            Ok(call.is_some_and(|call| self.admits_whole(&call)))
        })
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.asks_for_state_alone()
    }

    fn asks_for_state_alone(&self) -> bool {
        let of_summary = self.since.is_none() && self.until.is_none() && self.account.is_none();
        of_summary && self.reason.is_none() && !self.asks_for_callbacks()
    }

    fn asks_for_callbacks(&self) -> bool {
        self.number.is_some() || self.status.is_some()
    }

    fn admits(&self, call: &CallSummary) -> bool {
        let reason = call.reason.as_deref().unwrap_or_default().to_lowercase();
        self.state.is_none_or(|state| call.state == state)
            && self.since.is_none_or(|since| call.first_received >= since)
            && self.until.is_none_or(|until| call.first_received < until)
            && self
                .account
                .as_ref()
                .is_none_or(|account| call.account == *account)
            && self
                .reason
                .as_ref()
                .is_none_or(|part| reason.contains(&part.to_lowercase()))
    }

    fn admits_whole(&self, call: &StoredCall) -> bool {
        let has_number = |number: &str| {
            call.callbacks.iter().any(|stored| {
                let told = fields(&stored.request.body);
                let mut addresses = told
                    .iter()
                    .filter(|(name, _)| ADDRESSES.contains(&name.as_str()));
                addresses.any(|(_, address)| is_address(address, number))
            })
        };
        let has_status = |wanted: &CallStatus| {
            call.callbacks.iter().any(|stored| {
                let read = callback::read(&stored.request.body, &stored.request.url);
                matches!(read.map(|read| read.kind), Ok(CallbackContent::Status(told)) if told.status == *wanted)
            })
        };
        self.number.as_deref().is_none_or(has_number) && self.status.as_ref().is_none_or(has_status)
    }
}
