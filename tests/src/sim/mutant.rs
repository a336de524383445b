//! Planted faults: each is a named switch of the simulation's own shell, store or network.
//!
//! None is a switch of the product. Each is a way in which an exchange of this kind has been, or
//! could easily be, built wrong. A test turns on one at a time and expects the invariant it is made
//! for to detect it. In some runs another invariant may detect it first, for the reason given; no
//! further ones may. A fault that is detected by accident is not one that is watched for.

use super::invariants::Invariant;

macro_rules! mutants {
    ($(
        $(#[$meta:meta])*
        $variant:ident = $name:literal, for $made_for:ident
        $(, also $($also:ident),+ because $reason:literal)*;
    )+) => {
        /// A planted fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant { $( $(#[$meta])* $variant, )+ }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Returns its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// Returns the invariant that it is made for, which must detect it.
            #[must_use]
            pub const fn made_for(self) -> Invariant {
                match self { $( Self::$variant => Invariant::$made_for, )+ }
            }

            /// Returns the other invariants that may detect it, with the reasons.
            #[must_use]
            pub const fn also(self) -> &'static [(&'static [Invariant], &'static str)] {
                match self { $(
                    Self::$variant => &[ $( (&[$( Invariant::$also, )+], $reason), )* ],
                )+ }
            }
        }
    };
}

mutants! {
    /// The cursor moves when a frame is planned, not when it is receipted.
    CursorBeforeReceipt = "cursor-before-receipt", for NothingIsPassedOver;
    /// The receipt is sent before its contents are on disk.
    ReceiptBeforeSync = "receipt-before-sync", for NothingAcknowledgedIsLost,
        also HonestIsNoFork because "the frame that was answered is lost with its items, so that \
            its sender claims more than is remembered";
    /// The frame is sent before its ledger rows are on disk.
    SendBeforeIntended = "send-before-intended", for PermittedAndIntended;
    /// After a change of register or policy, remembered decisions still apply.
    StaleMemo = "stale-memo", for PermittedAndIntended,
        also AllArrives because "what is remembered may as well be a denial";
    /// A frame planned under an earlier register or policy is still sent.
    NoRecheck = "no-recheck-after-reload", for PermittedAndIntended;
    /// A record held in some form counts as held in every form.
    DuplicateById = "duplicate-by-id-alone", for NothingAcknowledgedIsLost,
        also AllArrives because "sections that are said to be there are missing at the end";
    /// An item is judged again although it has its final answer.
    FinalOverwritten = "final-answer-overwritten", for OneFinalAnswer;
    /// Records due for a retry are kept in memory only.
    ExceptionsForgotten = "exceptions-forgotten-on-crash", for NothingIsPassedOver;
    /// Tombstones are ignored.
    TombstoneIgnored = "tombstone-ignored", for WithdrawnStaysAway;
    /// Items refused for now or held are retried without end.
    RetryForEver = "retry-for-ever", for Bounded;
    /// Items refused for now are never retried.
    RetryNever = "retry-never", for AllArrives;
    /// A refusal for now is recorded as a final one.
    TemporaryMadeFinal = "temporary-refusal-made-final", for AllArrives;
    /// A commit that failed counts as done.
    FailedCommitIgnored = "failed-commit-ignored", for NothingAcknowledgedIsLost,
        also PermittedAndIntended because "the commit may have been of a frame's ledger rows",
        also NothingIsPassedOver, OneFinalAnswer because "or of the answers to one",
        also HonestIsNoFork because "or of the place of one";
    /// Sections that arrive later are not logged, so nobody passes them on.
    ExtensionNotLogged = "extension-not-logged", for NothingIsPassedOver;
    /// A hub forgets who delivered a record, so that the record goes back there.
    SourceForgotten = "source-forgotten", for NothingGoesBack;
    /// A sender's claim of what it has settled is not compared with the answers it was given.
    ForkAnswered = "chain-not-compared", for ForkIsSeen;
    /// A fork is refused, but neither of its frames is kept.
    ForkNotKept = "fork-not-kept", for ForkIsSeen;
    /// A sender that is told of a fork continues to deliver.
    ForkNotHeeded = "fork-not-heeded", for ForkIsSeen;
    /// A node starts a new generation on the bare word of a peer.
    SequenceBelieved = "rollback-believed-without-proof", for ForkIsSeen;
    /// A receipt is accepted whoever signed it.
    AnyoneSignsReceipts = "receipt-signed-by-anyone", for AnswersAreGiven;
    /// A frame is accepted for the sender and receiver that it names, whoever delivers it to whom.
    AnyoneBringsFrames = "frame-of-anyone-answered", for AnswersAreGiven,
        also HonestIsNoFork because "its place is held against what its sender has answered itself";
    /// Relayed records are admitted without a policy decision.
    RelayedUnasked = "relayed-and-not-decided-on", for AllArrives;
    /// Channels are never compared, so that records lost by a restored node stay lost.
    NeverCompared = "never-compared", for AllArrives;
    /// The writer takes bulk jobs before urgent ones, as long as there are any.
    BulkFirst = "bulk-before-urgent", for UrgentIsFirst;
}

impl Mutant {
    /// Returns whether this invariant may detect it.
    #[must_use]
    pub fn may_be_noticed_by(self, invariant: Invariant) -> bool {
        let also = self.also().iter().flat_map(|(also, _)| also.iter());
        invariant == self.made_for() || also.copied().any(|other| other == invariant)
    }
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
