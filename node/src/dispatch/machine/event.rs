//! What happens to a machine, and what it asks for.

use portcullis_protocol::{
    frame::{Generation, Receipt},
    time::Timestamp,
};

use super::super::plan::{Footing, Outgoing, Plan};
use crate::store::{Intend, Settle};

/// How long to wait after failures: doubling from `first` up to `most`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first_ms: i64,
    /// At most.
    pub most_ms: i64,
}

impl Backoff {
    /// How long to wait after so many failures in a row.
    #[must_use]
    pub fn after(self, failures: u32) -> i64 {
        let doubled = 1_i64.checked_shl(failures.saturating_sub(1).min(32));
        self.first_ms
            .saturating_mul(doubled.unwrap_or(i64::MAX))
            .min(self.most_ms)
    }
}

/// What happens to a machine.
#[derive(Debug)]
pub enum Event {
    /// The log may have grown, an exception may be due, or a pause may be over.
    Wake,
    /// The plan it asked for.
    Planned(Box<Plan>),
    /// No plan: another generation is in force than the one it was to start from.
    Outdated,
    /// The ledger rows it asked for are durable.
    Intended,
    /// Register or policy changed since the frame was planned: it is not sent.
    Superseded,
    /// The peer's receipt for the oldest frame on its way, checked against it.
    Answered(Box<Receipt>),
    /// The answers it asked for are durable.
    Settled,
    /// A new generation is in force.
    GenerationStarted,
    /// The connection ended with nothing on its way: the next one begins with its own credit.
    Parted,
    /// Something failed.
    Failed(Stage),
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Planning.
    Plan,
    /// Making ledger rows durable.
    Intend,
    /// The connection: what is on its way will not be receipted.
    Link,
    /// Making answers durable.
    Settle,
    /// Starting a generation.
    Generation,
}

/// What a machine asks its driver to do.
#[derive(Debug)]
pub enum Effect {
    /// Plan what comes next: after this footing, or after the durable position and with what is
    /// due to be tried again.
    Plan(Option<Footing>),
    /// Make these ledger rows durable.
    Intend(Box<Intend>),
    /// Send this frame, if its register and policy are still in force.
    Send(Box<Outgoing>),
    /// Make these answers durable, all together.
    Settle(Vec<Settle>),
    /// Start a generation instead of this one.
    StartGeneration {
        /// The generation that a peer refused.
        instead_of: Generation,
        /// Why, for the event.
        why: String,
    },
    /// Give the connection up, with whatever is still on its way.
    Disconnect,
    /// The peer refuses what this node sends under the rule with this id, until something changes.
    Trouble(String),
    /// Wake the machine at this time.
    WakeAt(Timestamp),
}
