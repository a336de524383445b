//! What can happen: the events of the world, and the passages at which a process may end.

use std::sync::Arc;

use portcullis_exchange::dispatch::load::Loaded;
use portcullis_protocol::{frame::ReceivedFrame, wire};
use portcullis_store::Intake;

use super::{
    cast::{InForce, MemberNumber},
    coverage::Seen,
    network::LinkId,
    node::{Asker, DriverKey},
    store::Reply,
};

/// What a message on a connection is.
pub enum Message {
    /// Sent out.
    Frame(Box<wire::Frame>),
    /// Sent back.
    Receipt(Box<wire::Receipt>),
}

/// Something that happens within one life of a process.
pub enum Task {
    /// A driver's rest is over, if it is still this one.
    Timer(DriverKey, u64),
    /// The record log grew.
    Woken(DriverKey),
    /// A plan is made.
    Planned(DriverKey, Loaded),
    /// The writer answers.
    Replied(Asker, Reply),
    /// A connection is there, or not.
    Opened(DriverKey, u64, Option<LinkId>),
    /// A receipt should have come by now.
    Overdue(DriverKey),
    /// A connection is noticed to have ended.
    Closed(LinkId),
    /// A message arrives.
    Arrived(LinkId, Message),
    /// The items of a frame are judged.
    Judged(
        LinkId,
        Box<(ReceivedFrame, Intake)>,
        Arc<portcullis_kernel::decide::Decider>,
    ),
    /// A receipt is signed.
    Answered(LinkId, Box<wire::Receipt>),
    /// A machine that compares channels looks again, if it is still this rest.
    CompareTick(u64),
    /// A question about a channel should have been answered by now.
    CompareFailed(MemberNumber, u64),
    /// A question about a channel, by whom, in which life and turn of it.
    Asked(MemberNumber, u32, u64, Box<wire::ReconcileAsk>),
    /// An answer to one.
    Told(MemberNumber, u64, Box<wire::ReconcileAnswer>),
    /// The writer begins a transaction.
    Turn,
    /// The disk has it.
    Synced,
}

/// Something that happens.
pub enum Happening {
    /// Within this life of a member's process.
    To(MemberNumber, u32, Task),
    /// A member publishes a batch.
    Publish(MemberNumber, usize),
    /// A member has another register or policy in force.
    Reload(MemberNumber, InForce),
    /// A member withdraws one of its records.
    Withdraw(MemberNumber),
    /// A backup of a member's disk is taken.
    Backup(MemberNumber),
    /// It comes back.
    Restore(MemberNumber),
    /// A member's disk is copied while it runs, and both go on.
    Copy(MemberNumber),
    /// A member tells a lie.
    Lie(MemberNumber),
    /// A process ends.
    Crash(MemberNumber),
    /// It starts again.
    Restart(MemberNumber),
    /// The way from one to the other is cut.
    Cut(MemberNumber, MemberNumber),
    /// It is mended.
    Mend(MemberNumber, MemberNumber),
    /// From now on nothing goes wrong.
    Heal,
}

/// Where a process may end between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// A plan is in hand.
    Planned,
    /// A job was queued.
    Queued,
    /// The disk has a commit and nobody was told.
    Durable,
    /// A frame is about to be sent.
    BeforeSend,
    /// A frame was sent.
    Sent,
    /// A receipt is in hand.
    Receipt,
    /// A frame is judged.
    Judged,
    /// A receipt is about to be sent.
    BeforeReceipt,
    /// A receipt was sent.
    AfterReceipt,
}

impl Passage {
    pub(super) const fn seen(self) -> Seen {
        match self {
            Self::Planned => Seen::CrashPlanned,
            Self::Queued => Seen::CrashQueued,
            Self::Durable => Seen::CrashDurable,
            Self::BeforeSend => Seen::CrashBeforeSend,
            Self::Sent => Seen::CrashSent,
            Self::Receipt => Seen::CrashReceipt,
            Self::Judged => Seen::CrashJudged,
            Self::BeforeReceipt => Seen::CrashBeforeReceipt,
            Self::AfterReceipt => Seen::CrashAfterReceipt,
        }
    }
}
