//! Events that a machine takes, and effects that it asks for.

use portcullis_protocol::{
    frame::{Generation, Receipt},
    time::Timestamp,
};

use super::super::plan::{Footing, Outgoing, Plan};
use portcullis_store::{Intend, Settle};

/// Event for a machine.
#[derive(Debug)]
pub enum Event {
    /// The log may have grown, an exception may be due, or a pause may be over.
    Wake,
    /// The requested plan is made.
    Planned(Box<Plan>),
    /// No plan was made: its generation is no longer in force.
    Outdated,
    /// The requested ledger rows are durable.
    Intended,
    /// Register or policy changed since the frame was planned, so it was not sent.
    Superseded,
    /// The peer's receipt for the oldest frame on its way, checked against it.
    Answered(Box<Receipt>),
    /// The peer's receipt for the oldest frame on its way refuses it under EX-10, and shows a
    /// statement of this node, of this generation, that this node does not remember.
    Forgotten(Box<Receipt>, Generation),
    /// The requested answers are durable.
    Settled,
    /// A new generation is in force.
    GenerationStarted,
    /// The connection ended with nothing on its way: the next one begins with its own credit.
    Parted,
    /// Something failed.
    Failed(FailedAt),
}

/// FailedAt of delivery that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedAt {
    /// Making a plan.
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

/// Request of a machine to its driver.
#[derive(Debug)]
pub enum Effect {
    /// Plan what comes after this footing. Without one, plan what comes after the durable position,
    /// with the records due to be tried again.
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
        /// The generation of the statement that the peer showed.
        shown: Generation,
        /// Reason, for the event log.
        why: String,
    },
    /// Give the connection up, with whatever is still on its way.
    Disconnect,
    /// Report that the peer refuses this node's frames under the rule with this id, until something
    /// changes.
    Trouble(String),
    /// Wake the machine at this time.
    WakeAt(Timestamp),
}
