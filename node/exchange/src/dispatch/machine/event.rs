//! What happens to a machine, and what it asks for.

use portcullis_protocol::{
    frame::{Generation, Receipt},
    time::Timestamp,
};

use super::super::plan::{Footing, Outgoing, Plan};
use portcullis_store::{Intend, Settle};

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
