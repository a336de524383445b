//! The events of the world, and the passages at which a process may end.

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

/// Contents of a message on a connection.
pub enum Message {
    /// A frame, from the end that opened the connection.
    Frame(Box<wire::Frame>),
    /// A receipt, back to it.
    Receipt(Box<wire::Receipt>),
}

/// An event within one life of a process.
pub enum Task {
    /// The rest of a driver is over, if it is still in this turn.
    Timer(DriverKey, u64),
    /// The record log grew.
    Woken(DriverKey),
    /// A plan is ready.
    Planned(DriverKey, Loaded),
    /// The writer answers.
    Replied(Asker, Reply),
    /// An attempt to open a connection is over; `None`: it failed.
    Opened(DriverKey, u64, Option<LinkId>),
    /// A receipt should have arrived by now.
    Overdue(DriverKey),
    /// The end of a connection is noticed.
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
    /// A machine that compares channels checks again, if it is still in this rest.
    CompareTick(u64),
    /// A question about a channel, asked in this turn, should have been answered by now.
    CompareFailed(MemberNumber, u64),
    /// A question about a channel: the asker, its life and its turn.
    Asked(MemberNumber, u32, u64, Box<wire::ReconcileAsk>),
    /// An answer to such a question: the peer that answers, and the turn of the question.
    Told(MemberNumber, u64, Box<wire::ReconcileAnswer>),
    /// The writer begins a transaction.
    Turn,
    /// The transaction is on disk.
    Synced,
}

/// An event of the world.
pub enum Happening {
    /// An event within this life of a member's process.
    To(MemberNumber, u32, Task),
    /// A member publishes a batch.
    Publish(MemberNumber, usize),
    /// Another register or policy comes into force at a member.
    Reload(MemberNumber, InForce),
    /// A member withdraws one of its records.
    Withdraw(MemberNumber),
    /// A backup of a member's disk is taken.
    Backup(MemberNumber),
    /// The backup of a member is restored.
    Restore(MemberNumber),
    /// A member's disk is copied while it runs, and both go on.
    Copy(MemberNumber),
    /// A member tells a lie.
    Lie(MemberNumber),
    /// A process ends.
    Crash(MemberNumber),
    /// A process starts again.
    Restart(MemberNumber),
    /// The way from one member to the other is cut.
    Cut(MemberNumber, MemberNumber),
    /// The way from one member to the other is mended.
    Mend(MemberNumber, MemberNumber),
    /// From now on nothing fails.
    Heal,
}

/// A point between two steps at which a process may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// A plan is ready.
    Planned,
    /// A job was queued.
    Queued,
    /// A commit is on disk and nobody has been told.
    Durable,
    /// A frame is about to be sent.
    BeforeSend,
    /// A frame was sent.
    Sent,
    /// A receipt has arrived.
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
