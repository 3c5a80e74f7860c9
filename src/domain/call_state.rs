//! The states of a call.

words! {
    /// The state of a call. The database, metrics, console and logs use the same words.
    #[derive(Hash)]
    pub enum State {
        /// A request to Acquire is due at a time. `claim` ends it.
        Pending = "pending",
        /// A worker has it until its lease ends. `settle` ends it, or any `claim` after the lease.
        Claimed = "claimed",
        /// Acquire accepted all requests so far. A new callback or a requeue ends it, and a purge after
        /// `store.retention`.
        Delivered = "delivered",
        /// No request to send so far, with the reason. Ends as `Delivered` does.
        Skipped = "skipped",
        /// The bridge gave a request up, with the reason, and no other is due: an operator decides. A new
        /// callback or a requeue ends it, and a purge after `store.parked_retention`.
        Parked = "parked",
    }
}
