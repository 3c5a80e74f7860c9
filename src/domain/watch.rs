//! Which changes of conditions make a message, and when it is sent. Several nodes may share a [`Watch`]:
//! each change of it is written only if no other node has written it since it was read.
//!
//! Pure: time and chance are arguments. A clock that is set back delays nothing for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::ConditionKind;
use super::message::{Change, Details, Message};
use crate::clock::Millis;

/// The shortest time between two messages of a condition, apart from that of its end.
pub const MESSAGE_INTERVAL: Duration = Duration::from_secs(300);

/// A condition ends when no node has seen it for this long.
pub const END_AFTER: Duration = Duration::from_secs(30);

/// Parked calls are counted until none was parked for this long,
pub const QUIET: Duration = Duration::from_secs(10);

/// but no longer than this.
pub const WINDOW: Duration = Duration::from_secs(120);

/// A target that failed for so long does not get a message any more.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);

/// A target that rejected a message so often does not get it: the next one may pass. With the waits of the
/// breaker it takes a quarter of an hour, in which an operator can repair a wrong secret (many receivers answer
/// 400 to that).
pub const MAX_REJECTIONS: u32 = 15;

/// The most messages that wait. Then the oldest is given up.
pub const MAX_WAITING: usize = 100;

/// A message is sent by one node: another one sends it if that node did not settle it in this time.
pub const CLAIM: Duration = Duration::from_secs(60);

/// How old the noted time of a condition that holds may be: each change is a write.
const SEEN_STEP: Duration = Duration::from_secs(10);

/// Clocks of nodes differ by less. A time that is further ahead was written by a wrong clock.
const SKEW: Duration = Duration::from_secs(60);

/// A condition that holds now.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: ConditionKind,
    /// The account, or the part that has a problem; empty for others.
    pub subject: String,
    pub details: Details,
}

/// What a node knows at a moment.
pub struct Look<'a> {
    pub now: Millis,
    pub seen: Vec<Seen>,
    /// Whether the node would know if a condition did not hold.
    pub knows: &'a dyn Fn(ConditionKind, &str) -> bool,
    /// Today's headline, for the messages of an end.
    pub headline: &'a str,
    /// The name of this machine.
    pub node: &'a str,
    /// The URL of the console, without a path.
    pub console: &'a str,
    /// The targets of messages about a kind, by their position.
    pub targets: &'a dyn Fn(ConditionKind) -> Vec<usize>,
    /// A new id for a message.
    pub new_id: &'a dyn Fn() -> String,
}

/// What is remembered of conditions and messages, also after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    conditions: Vec<Tracked>,
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tracked {
    kind: ConditionKind,
    subject: String,
    state: TrackedState,
    since: Millis,
    seen: Millis,
    /// The time of the last message, apart from that of its end.
    reported: Option<Millis>,
    /// Calls at the last look, and those that messages were about.
    calls: u64,
    reported_calls: u64,
    /// When the first and the last call since the last message was parked.
    grown: Option<(Millis, Millis)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum TrackedState {
    /// It holds, and no message says so.
    New,
    Reported,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    message: Message,
    /// The targets that do not have it yet.
    targets: BTreeMap<usize, Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// From when it may be sent.
    free_at: Millis,
    rejections: u32,
}

impl Watch {
    /// Notes what holds, and adds the messages that are due.
    pub fn look(&mut self, look: &Look<'_>) {
        let now = look.now;
        for seen in &look.seen {
            self.track(seen, now);
        }
        let mut messages = Vec::new();
        for tracked in &mut self.conditions {
            let seen = look.seen.iter().find(|seen| tracked.is(seen));
            let change = match seen {
                Some(seen) => tracked.news(now).map(|change| (change, seen)),
                None => None,
            };
            if let Some((change, seen)) = change {
                let mut details = seen.details.clone();
                details.new_calls = (change == Change::More)
                    .then(|| tracked.calls.saturating_sub(tracked.reported_calls));
                messages.push(tracked.message(change, details, look));
                tracked.report(now);
            } else if seen.is_none()
                && tracked.state != TrackedState::Over
                && has_passed(now, tracked.seen, END_AFTER)
                && (look.knows)(tracked.kind, &tracked.subject)
            {
                if tracked.state == TrackedState::Reported {
                    let end = tracked.kind.end(&tracked.subject);
                    let details = Details {
                        sentence: format!("{end} {}", look.headline),
                        ..Details::default()
                    };
                    messages.push(tracked.message(Change::Closed, details, look));
                }
                tracked.state = TrackedState::Over;
            }
        }
        self.conditions.retain(|tracked| {
            let is_recent = |at| !has_passed(now, at, MESSAGE_INTERVAL);
            tracked.state != TrackedState::Over || tracked.reported.is_some_and(is_recent)
        });
        self.waiting.extend(messages);
    }

    fn track(&mut self, seen: &Seen, now: Millis) {
        let at = self.conditions.iter().position(|of| of.is(seen));
        let at = at.unwrap_or_else(|| {
            self.conditions.push(Tracked::new(seen, now));
            self.conditions.len() - 1
        });
        let tracked = &mut self.conditions[at];
        if tracked.state == TrackedState::Over {
            *tracked = Tracked {
                reported: tracked.reported,
                ..Tracked::new(seen, now)
            };
        }
        if has_passed(now, tracked.seen, SEEN_STEP) {
            tracked.seen = now;
        }
        if seen.kind == ConditionKind::NeedDecision {
            let calls = seen.details.count.unwrap_or_default();
            if calls > tracked.calls {
                let first = tracked.grown.map_or(now, |(first, _)| first);
                tracked.grown = Some((first, now));
            }
            tracked.calls = calls;
            tracked.reported_calls = tracked.reported_calls.min(calls);
        }
    }

    /// The next message for a target, in the order of the messages. Only the caller sends it for the time
    /// [`CLAIM`].
    pub fn claim(&mut self, target: usize, now: Millis) -> Option<Message> {
        let next = self.next(target, now)?;
        let waiting = &mut self.waiting[next];
        waiting.targets.get_mut(&target)?.free_at = now.plus(CLAIM);
        Some(waiting.message.clone())
    }

    /// Whether [`Self::claim`] would return a message.
    pub fn has(&self, target: usize, now: Millis) -> bool {
        self.next(target, now).is_some()
    }

    fn next(&self, target: usize, now: Millis) -> Option<usize> {
        let mut all = self.waiting.iter();
        let next = all.position(|of| of.targets.contains_key(&target))?;
        let free_at = self.waiting[next].targets[&target].free_at;
        (free_at <= now || free_at > now.plus(CLAIM)).then_some(next)
    }

    /// A target has a message.
    pub fn sent(&mut self, target: usize, id: &str) {
        self.waiting.retain_mut(|waiting| {
            waiting.message.id != id || {
                waiting.targets.remove(&target);
                !waiting.targets.is_empty()
            }
        });
    }

    /// A message could not be sent: it may be sent again after the wait that the target asked for, which is
    /// cut to [`CLAIM`].
    pub fn failed(&mut self, target: usize, id: &str, now: Millis, wait: Duration) {
        if let Some(pending) = self.pending(target, id) {
            pending.free_at = now.plus(wait.min(CLAIM));
        }
    }

    /// A target rejected a message: it may be sent again at once, but not for long.
    pub fn rejected(&mut self, target: usize, id: &str, now: Millis) {
        if let Some(pending) = self.pending(target, id) {
            pending.free_at = now;
            pending.rejections += 1;
        }
    }

    /// The calls that waiting messages name as examples.
    pub fn examples(&self) -> BTreeSet<String> {
        let waiting = self.waiting.iter();
        let examples = waiting.flat_map(|of| of.message.details.examples());
        examples.map(str::to_owned).collect()
    }

    /// Removes these calls from waiting messages.
    pub fn forget_examples(&mut self, calls: &BTreeSet<String>) {
        for waiting in &mut self.waiting {
            waiting.message.details.forget_examples(calls);
        }
    }

    fn pending(&mut self, target: usize, id: &str) -> Option<&mut Pending> {
        let mut all = self.waiting.iter_mut();
        let waiting = all.find(|of| of.message.id == id)?;
        waiting.targets.get_mut(&target)
    }

    /// Removes messages that are too old, too many or rejected too often. Returns the target of each removed
    /// one. Those for targets that are no longer configured (`targets` of them are) are removed too.
    pub fn give_up(&mut self, targets: usize, now: Millis) -> Vec<usize> {
        let surplus = self.waiting.len().saturating_sub(MAX_WAITING);
        let mut given_up = Vec::new();
        for (at, waiting) in self.waiting.iter_mut().enumerate() {
            let is_over = at < surplus || has_passed(now, waiting.message.at, GIVE_UP_AFTER);
            waiting.targets.retain(|target, pending| {
                let is_given_up = is_over || pending.rejections >= MAX_REJECTIONS;
                if is_given_up && *target < targets {
                    given_up.push(*target);
                }
                !is_given_up && *target < targets
            });
        }
        self.waiting.retain(|of| !of.targets.is_empty());
        given_up
    }
}

impl Tracked {
    fn new(seen: &Seen, now: Millis) -> Self {
        Self {
            kind: seen.kind,
            subject: seen.subject.clone(),
            state: TrackedState::New,
            since: now,
            seen: now,
            reported: None,
            calls: 0,
            reported_calls: 0,
            grown: None,
        }
    }

    fn is(&self, seen: &Seen) -> bool {
        (self.kind, &self.subject) == (seen.kind, &seen.subject)
    }

    /// The change that a message is due about, of a condition that holds.
    fn news(&self, now: Millis) -> Option<Change> {
        let change = match self.state {
            TrackedState::New => Change::Opened,
            TrackedState::Reported if self.calls > self.reported_calls => Change::More,
            TrackedState::Reported | TrackedState::Over => return None,
        };
        let is_too_soon = |at| !has_passed(now, at, MESSAGE_INTERVAL);
        let is_growing =
            |(first, last)| !has_passed(now, last, QUIET) && !has_passed(now, first, WINDOW);
        let waits = self.reported.is_some_and(is_too_soon) || self.grown.is_some_and(is_growing);
        (!waits).then_some(change)
    }

    fn report(&mut self, now: Millis) {
        self.state = TrackedState::Reported;
        self.reported = Some(now);
        self.reported_calls = self.calls;
        self.grown = None;
    }

    fn message(&self, change: Change, details: Details, look: &Look<'_>) -> Waiting {
        let message = Message {
            id: (look.new_id)(),
            at: look.now,
            change,
            kind: Some(self.kind),
            subject: self.subject.clone(),
            since: self.since,
            node: look.node.to_owned(),
            link: format!("{}{}", look.console, self.kind.page()),
            details: details.anonymous(),
        };
        let pending = Pending {
            free_at: look.now,
            rejections: 0,
        };
        let targets = (look.targets)(self.kind).into_iter();
        let targets = targets.map(|target| (target, pending)).collect();
        Waiting { message, targets }
    }
}

/// Whether this time has passed since `at`, or a wrong clock has written `at`.
fn has_passed(now: Millis, at: Millis, time: Duration) -> bool {
    now.since(at) >= time || at > now.plus(SKEW)
}
