//! The open connections of a listener: the state of each, and which of them the bridge closes when
//! time, room or memory is used up.
//!
//! A client that sends slowly, or nothing, must not keep others from being accepted. So a connection
//! has a deadline in each state but one, and may be closed early in favour of a new client. Only a
//! connection with a complete request that is being answered is always left alone.

mod slot;
#[cfg(test)]
mod tests;
pub mod tracker;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::clock;
use crate::config::ServerSettings;

use self::slot::{Age, Slot};

/// Memory for incomplete requests, beyond the first buffer of each connection. The bridge answers
/// 10,000 slow clients in less than 200 MiB, of which this is a part.
const MEMORY_FOR_INCOMPLETE: usize = 16 * 1024 * 1024;

/// A connection has a read buffer of this size from its start.
const FIRST_BUFFER: usize = 8 * 1024;

/// Pause between two checks of the deadlines.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Added to the deadline of a request, so that actix and the handlers can answer 408 before.
const ANSWER_FIRST: Duration = Duration::from_secs(1);

/// Pause between two log lines with the same reason.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Connections of operators, balancers and Prometheus.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// State of an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Between two requests, or with an answer that the client does not read.
    Idle,
    /// With an incomplete request; at first with none at all.
    Reading,
    /// With a complete request that is being answered.
    Busy,
}

impl ConnectionState {
    pub const ALL: [Self; 3] = [Self::Idle, Self::Reading, Self::Busy];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Reading => "reading",
            Self::Busy => "busy",
        }
    }
}

/// Limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub total: usize,
    /// The source of `total`, for the log.
    pub total_setting: &'static str,
    /// For each address of a client, unless it is a trusted proxy.
    pub per_client: usize,
    /// From the first byte of a request to its last, and from the connect to the end of the first request.
    pub request: Duration,
    pub keep_alive: Duration,
}

impl ConnectionLimits {
    /// The limits of the public listener. The process may open `files` files.
    pub fn public(server: &ServerSettings, files: Option<usize>) -> Self {
        // Buffers and keys of TLS take as much memory again.
        let (wanted, total_setting) = match &server.tls {
            Some(_) => (
                server.max_connections.div_ceil(2),
                "half of server.max_connections, with TLS",
            ),
            None => (server.max_connections, "server.max_connections"),
        };
        // The admin listener, the store and the deliveries need files too.
        let room = files.map_or(usize::MAX, |files| {
            (files * 9 / 10).saturating_sub(384).max(64)
        });
        if room < wanted {
            warn!(
                "the process may open too few files for {wanted} connections ({total_setting}): the limit is \
                 {room}; raise LimitNOFILE of the service, or `ulimit -n`"
            );
        }
        Self {
            total: wanted.min(room),
            total_setting,
            per_client: server.max_connections_per_client,
            request: server.request_timeout,
            keep_alive: server.keep_alive,
        }
    }

    pub fn admin(server: &ServerSettings) -> Self {
        Self {
            total: MAX_ADMIN_CONNECTIONS,
            total_setting: "fixed for admin.listen",
            per_client: MAX_ADMIN_CONNECTIONS,
            request: server.request_timeout,
            keep_alive: server.keep_alive,
        }
    }
}

/// The open connections of one listener.
#[derive(Debug)]
pub struct OpenConnections {
    pub limits: ConnectionLimits,
    started_at: Instant,
    /// Bytes of incomplete requests beyond [`FIRST_BUFFER`].
    buffered: AtomicUsize,
    open: Mutex<Open>,
}

/// Sorted by the time of the last change, as of the last look: a request that changes the state of its
/// connection does not touch the map. So a connection is never older than its place says.
type ByAge = BTreeMap<Age, Arc<Slot>>;

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    all: ByAge,
    by_client: HashMap<IpAddr, ByAge>,
    logged_at: HashMap<&'static str, Instant>,
}

impl OpenConnections {
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            started_at: Instant::now(),
            buffered: AtomicUsize::new(0),
            open: Mutex::default(),
        })
    }

    /// The number of connections in each state, in the order of [`ConnectionState::ALL`].
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for slot in self.lock().all.values() {
            if let Some((state, _)) = slot.state() {
                counts[state as usize] += 1;
            }
        }
        counts
    }

    /// Whether each new client costs another one its connection.
    pub fn is_full(&self) -> bool {
        self.lock().all.len() >= self.limits.total
    }

    /// Closes connections at their deadlines, for as long as the listener exists.
    pub async fn close_late(list: std::sync::Weak<Self>) {
        loop {
            clock::pause(CHECK_INTERVAL).await;
            let Some(list) = list.upgrade() else {
                return;
            };
            list.close_expired();
        }
    }

    fn close_expired(&self) {
        let now = self.now();
        let limits = &self.limits;
        let mut open = self.lock();
        let is_expired = |slot: &&Arc<Slot>| {
            slot.state().is_some_and(|(state, since)| {
                let limit = match state {
                    ConnectionState::Busy => return false,
                    ConnectionState::Reading => limits.request + ANSWER_FIRST,
                    ConnectionState::Idle => limits.keep_alive,
                };
                Duration::from_micros(now.saturating_sub(since)) > limit
            })
        };
        let expired: Vec<_> = open.all.values().filter(is_expired).cloned().collect();
        for slot in expired {
            self.close(&mut open, &slot);
        }
    }

    /// Adds a connection. If there is no room, the one that has been idle or incomplete longest is
    /// closed; `None` if all are being answered.
    fn add(&self) -> Option<Arc<Slot>> {
        let now = self.now();
        let mut open = self.lock();
        if open.all.len() >= self.limits.total {
            self.close_oldest(&mut open, None)?;
            let (total, setting) = (self.limits.total, self.limits.total_setting);
            open.log("full", || format!(
                "{total} connections are open ({setting}): each new client closes the one that has been \
                 idle or incomplete longest"
            ));
        }
        open.next_id += 1;
        let slot = Arc::new(Slot::new(open.next_id, now));
        open.all.insert(slot.age(), Arc::clone(&slot));
        Some(slot)
    }

    /// Counts a connection as one of its client. If the client has too many, its own that has been
    /// idle or incomplete longest is closed; false if all of them are being answered.
    fn assign(&self, slot: &Arc<Slot>, client: IpAddr) -> bool {
        let mut open = self.lock();
        if open
            .by_client
            .get(&client)
            .is_some_and(|own| own.len() >= self.limits.per_client)
        {
            let closed = self.close_oldest(&mut open, Some(client));
            open.log("client", || format!(
                "{client} has {} connections (server.max_connections_per_client): each new one closes \
                 its oldest; if it is your load balancer, add it to server.trusted_proxies",
                self.limits.per_client
            ));
            if closed.is_none() {
                return false;
            }
        }
        // It may have been closed meanwhile, and must not be found any more then.
        if open.all.contains_key(&slot.age()) {
            let own = open.by_client.entry(client).or_default();
            own.insert(slot.age(), Arc::clone(slot));
            slot.assign(client);
        }
        true
    }

    /// `None` if none of them, or of one client's, can be closed.
    fn close_oldest(&self, open: &mut Open, client: Option<IpAddr>) -> Option<()> {
        let now = self.now();
        loop {
            let candidates = match client {
                Some(client) => open.by_client.get(&client)?,
                None => &open.all,
            };
            let (age, slot) = candidates.first_key_value()?;
            if age.0 >= now {
                return None;
            }
            let slot = Arc::clone(slot);
            match slot.state() {
                // Not idle or incomplete before this moment.
                Some((ConnectionState::Busy, _)) => open.place(&slot, now),
                Some((_, since)) if since > slot.age().0 => open.place(&slot, since),
                // A request that was completed in this moment has won.
                _ => {
                    if self.close(open, &slot) {
                        return Some(());
                    }
                }
            }
        }
    }

    /// Keeps the memory within its budget: closes the longest incomplete requests first, until an
    /// eighth is free.
    fn free_memory(&self) {
        let mut open = self.lock();
        let mut incomplete: Vec<_> = open
            .all
            .values()
            .filter_map(|slot| {
                let (state, since) = slot.state()?;
                let is_incomplete = state == ConnectionState::Reading && slot.buffered() > 0;
                is_incomplete.then(|| (since, Arc::clone(slot)))
            })
            .collect();
        incomplete.sort_unstable_by_key(|(since, slot)| (*since, slot.age().1));
        for (_, slot) in incomplete {
            if self.buffered.load(Ordering::Relaxed) <= MEMORY_FOR_INCOMPLETE / 8 * 7 {
                break;
            }
            self.close(&mut open, &slot);
        }
        open.log("memory", || {
            "the memory for incomplete requests is used up: the longest incomplete ones \
             are closed; look for clients that send slowly"
                .to_owned()
        });
    }

    /// Closes a connection, unless it is being answered. Its task drops the socket when it runs next.
    fn close(&self, open: &mut Open, slot: &Slot) -> bool {
        let closes = slot.close();
        if closes {
            self.buffered.fetch_sub(slot.buffer(0), Ordering::Relaxed);
            open.remove(slot);
        }
        closes
    }

    fn remove(&self, slot: &Slot) {
        self.buffered.fetch_sub(slot.buffer(0), Ordering::Relaxed);
        self.lock().remove(slot);
    }

    /// Notes how many bytes of an incomplete request a connection has.
    fn buffer(&self, slot: &Slot, bytes: usize) {
        // Buffers double as they grow.
        let bytes = if bytes <= FIRST_BUFFER {
            0
        } else {
            bytes.next_power_of_two()
        };
        if bytes == slot.buffered() {
            return;
        }
        let before = slot.buffer(bytes);
        self.buffered.fetch_sub(before, Ordering::Relaxed);
        let all = self.buffered.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > MEMORY_FOR_INCOMPLETE {
            self.free_memory();
        }
    }

    /// Microseconds since the start. A clock that is set forward or back closes no connection.
    fn now(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn place(&mut self, slot: &Arc<Slot>, since: u64) {
        self.remove(slot);
        slot.place(since);
        self.all.insert(slot.age(), Arc::clone(slot));
        if let Some(client) = slot.client() {
            let own = self.by_client.entry(client).or_default();
            own.insert(slot.age(), Arc::clone(slot));
        }
    }

    fn remove(&mut self, slot: &Slot) {
        self.all.remove(&slot.age());
        let client = slot.client();
        if let Some((client, own)) =
            client.and_then(|client| Some((client, self.by_client.get_mut(&client)?)))
        {
            own.remove(&slot.age());
            if own.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    fn log(&mut self, reason: &'static str, message: impl FnOnce() -> String) {
        let now = Instant::now();
        let last = self.logged_at.get(reason);
        if last.is_none_or(|last| now.duration_since(*last) >= LOG_INTERVAL) {
            self.logged_at.insert(reason, now);
            warn!(reason, "{}", message());
        }
    }
}
