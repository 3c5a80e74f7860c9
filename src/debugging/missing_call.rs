//! Facts about a call that is not in the store: for `show` and the console.

use crate::domain::plural::counted;
use crate::store::{RefusedFilter, RemovalCause, RemovedCall, StoredRefusedRequest};
use crate::twilio::CallSid;

/// The largest `refused.keep`.
pub const MAX_SEARCHED: usize = 10_000;

/// All refused requests: the SID of a call may be in the query, or in a body of any type.
pub const SEARCHED: RefusedFilter = RefusedFilter {
    id: None,
    cause: None,
    limit: MAX_SEARCHED,
};

/// Keeps the refused requests that name a call.
pub fn keep_naming(requests: &mut Vec<StoredRefusedRequest>, sid: &CallSid) {
    requests.retain(|stored| {
        let body = String::from_utf8_lossy(&stored.request.body);
        [stored.request.target.as_str(), &body]
            .iter()
            .any(|text| text.contains(sid.as_str()))
    });
}

/// The number of refused requests, and the cause of the latest.
pub fn summary(naming: &[StoredRefusedRequest]) -> Option<String> {
    let cause = &naming.first()?.request.cause;
    let requests = counted(naming.len(), "refused request");
    Some(format!(
        "{requests} named it, the latest with cause {cause}"
    ))
}

/// The same with the command that shows the latest.
pub fn summary_with_command(naming: &[StoredRefusedRequest]) -> Option<String> {
    let id = naming.first()?.id;
    Some(format!("{}: show {id}", summary(naming)?))
}

/// The removal of a call, as a sentence.
pub fn fate(sid: &CallSid, removed: &RemovedCall) -> String {
    let day = removed.day.to_string();
    let day = day.split('T').next().unwrap_or_default();
    let account = &removed.account;
    match removed.cause {
        RemovalCause::Erased => format!("call {sid} of account {account} was erased on {day}"),
        RemovalCause::Retention => format!(
            "call {sid} of account {account} was removed on {day}, after store.retention; it was delivered \
             or skipped"
        ),
        RemovalCause::Expired => {
            let reason = removed.reason.as_deref().unwrap_or("unknown");
            format!(
                "call {sid} of account {account} expired: it was parked for store.parked_retention and \
                 removed on {day}; it was parked because: {reason}"
            )
        }
    }
}
