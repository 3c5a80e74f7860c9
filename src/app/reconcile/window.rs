//! Which calls a pass compares: those that ended between two times, within what the store can know.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{AccountReport, ReconcileRequest, Reconciler, Result};
use crate::clock::Millis;
use crate::domain::reconcile::reach;
use crate::twilio::AccountSid;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Calls that ended at `from` or later, and before `until`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub from: Millis,
    pub until: Option<Millis>,
}

/// A look at each call when it has reached an age. A note has the time before which all calls that ended
/// had it.
struct Look {
    note: &'static str,
    age: Duration,
    /// How often it is taken; zero: in each pass.
    every: Duration,
    /// It begins so long before the end of the last one.
    overlap: Duration,
}

/// In rare cases a record takes up to 14 days to become final (Twilio's error 20009), so each call is
/// looked at again after 3 and 14 days.
const LOOKS: [Look; 3] = [
    Look {
        note: "watermark",
        age: Duration::ZERO,
        every: Duration::ZERO,
        overlap: Duration::from_secs(3_600),
    },
    Look {
        note: "after-3-days",
        age: DAY.saturating_mul(3),
        every: DAY,
        overlap: Duration::ZERO,
    },
    Look {
        note: "after-14-days",
        age: DAY.saturating_mul(14),
        every: DAY,
        overlap: Duration::ZERO,
    },
];

impl Look {
    async fn taken_until(
        &self,
        reconciler: &Reconciler,
        account: &AccountSid,
    ) -> Result<Option<Millis>> {
        let text = reconciler.store.noted(&self.key(account)).await?;
        Ok(text.and_then(|text| Millis::try_from(text).ok()))
    }

    fn key(&self, account: &AccountSid) -> String {
        format!("{}/{account}", self.note)
    }
}

/// The windows of a pass: that of the request, or those of the looks that are due.
pub(super) async fn due(
    reconciler: &Reconciler,
    account: &AccountSid,
    request: &ReconcileRequest,
) -> Result<Vec<Window>> {
    if let Some(from) = request.from {
        let until = request.until;
        return Ok(vec![Window { from, until }]);
    }
    let (now, mut windows) = (reconciler.clock.now(), Vec::new());
    for look in &LOOKS {
        let until = now.minus(look.age);
        match look.taken_until(reconciler, account).await? {
            Some(taken) if until.since(taken) >= look.every => windows.push(Window {
                from: taken.minus(look.overlap),
                until: (!look.age.is_zero()).then_some(until),
            }),
            // The first pass goes back to the first day of the store, and is the first of each look.
            None if look.age.is_zero() => windows.push(Window {
                from: Millis(0),
                until: None,
            }),
            _ => {}
        }
    }
    Ok(windows)
}

/// Notes the looks that a whole pass over `window` was.
pub(super) async fn note(
    reconciler: &Reconciler,
    account: &AccountSid,
    window: Window,
    report: &AccountReport,
) -> Result<()> {
    let now = reconciler.clock.now();
    for look in &LOOKS {
        let taken = look.taken_until(reconciler, account).await?;
        // A pass by hand over a short time leaves a gap before it. The first pass must have been cut at
        // the first day of the store, or at its retention.
        if taken.map_or(report.from <= window.from, |taken| taken < window.from) {
            continue;
        }
        let until = report.until.min(now.minus(look.age));
        let until = until.max(taken.unwrap_or_default()).to_string();
        let (store, mark) = (&reconciler.store, (look.key(account), Some(until)));
        store.note(mark.0.clone(), mark.1.clone()).await?;
        // Not before: if this process ends in between, the store must not look set back.
        if let Some(own) = store.writable().and_then(|store| store.spool())
            && look.age.is_zero()
        {
            own.write_notes(vec![mark]).await?;
        }
    }
    Ok(())
}

/// When the passes of this node last ended, as its spool file has it; later than the store's watermark, the
/// store was set back meanwhile. Returns both times then.
pub(super) async fn set_back(
    reconciler: &Reconciler,
    account: &AccountSid,
) -> Result<Option<(Millis, Millis)>> {
    let [look, ..] = &LOOKS;
    let store = reconciler.store.writable();
    let Some(own) = store.and_then(|store| store.spool()) else {
        return Ok(None);
    };
    let (key, taken) = (
        look.key(account),
        look.taken_until(reconciler, account).await?,
    );
    let noted = own.notes(key.clone()).await?.into_iter().next();
    let noted = noted.and_then(|(_, text)| Millis::try_from(text).ok());
    let taken = taken.unwrap_or_default();
    own.write_notes(vec![(key, Some(taken.to_string()))])
        .await?;
    Ok(noted
        .filter(|noted| *noted > taken)
        .map(|noted| (taken, noted)))
}

/// Before this time nothing is compared, whatever is asked for: the store's first day, the retention.
pub(super) async fn floor(
    reconciler: &Reconciler,
    request: &ReconcileRequest,
    from: Millis,
    report: &mut AccountReport,
) -> Result<Millis> {
    let now = reconciler.clock.now();
    let first_day = if request.calls.is_empty() {
        let oldest = reconciler.store.oldest_call().await?;
        oldest.unwrap_or(now).start_of_day()
    } else {
        Millis(0)
    };
    let kept = now.minus(reach(reconciler.config.store.shortest_retention()));
    let floor = first_day.max(kept);
    if from.0 > 0 && floor > from {
        report.note(if first_day > kept {
            format!("Calls before the store's first day, {first_day}, are left out.")
        } else {
            format!(
                "Calls before {kept} are left out, because the store removes calls of that age \
                 (store.retention)."
            )
        });
    }
    Ok(floor)
}

/// The UTC day of a time, as Twilio's filters have it, whatever the zone of this machine.
pub(super) fn day(at: Millis) -> String {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    time.to_zoned_datetime(TimeZone::UTC).date().to_string()
}

/// An upper limit: a limit is the first moment of its day, so the last day needs the next one.
pub(super) fn day_after(at: Millis) -> String {
    day(at.plus(DAY))
}
