//! Planted faults: each is a named switch of the simulation's own shell, store or network.
//!
//! None is a switch of the product. Each is a way in which an exchange of this kind has been, or
//! could easily be, built wrong; a test turns one on at a time and expects the invariant that it is
//! made for to notice. Others may speak first in some runs, for the reason given, and no further
//! ones: a fault that is noticed by accident is not one that is watched for.

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

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// The invariant that it is made for: it has to notice.
            #[must_use]
            pub const fn made_for(self) -> Invariant {
                match self { $( Self::$variant => Invariant::$made_for, )+ }
            }

            /// Those that may notice as well, and why.
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
    /// The receipt is sent before the disk has what it speaks of.
    ReceiptBeforeSync = "receipt-before-sync", for NothingAcknowledgedIsLost,
        also HonestIsNoFork because "the frame that was answered is lost with its items, so that \
            its sender claims more than is remembered";
    /// The frame is sent before the disk has its ledger rows.
    SendBeforeIntended = "send-before-intended", for PermittedAndIntended;
    /// After a change of register or policy, what was remembered still decides.
    StaleMemo = "stale-memo", for PermittedAndIntended,
        also AllArrives because "what is remembered may as well be a denial";
    /// A frame planned under an earlier register or policy is sent all the same.
    NoRecheck = "no-recheck-after-reload", for PermittedAndIntended;
    /// What is held in some form counts as held in any.
    DuplicateById = "duplicate-by-id-alone", for NothingAcknowledgedIsLost,
        also AllArrives because "sections that are said to be there are missing at the end";
    /// An item is judged anew although it has its final answer.
    FinalOverwritten = "final-answer-overwritten", for OneFinalAnswer;
    /// What is to be tried again is kept in memory alone.
    ExceptionsForgotten = "exceptions-forgotten-on-crash", for NothingIsPassedOver;
    /// Tombstones are not looked at.
    TombstoneIgnored = "tombstone-ignored", for WithdrawnStaysAway;
    /// What is refused for now or held is tried again without an end.
    RetryForEver = "retry-for-ever", for Bounded;
    /// What is refused for now is never tried again.
    RetryNever = "retry-never", for AllArrives;
    /// A refusal for now is noted as one for good.
    TemporaryMadeFinal = "temporary-refusal-made-final", for AllArrives;
    /// A commit that failed counts as done.
    FailedCommitIgnored = "failed-commit-ignored", for NothingAcknowledgedIsLost,
        also PermittedAndIntended because "the commit may have been of a frame's ledger rows",
        also NothingIsPassedOver, OneFinalAnswer because "or of the answers to one",
        also HonestIsNoFork because "or of the place of one";
    /// Sections that came later are not logged, so nobody passes them on.
    ExtensionNotLogged = "extension-not-logged", for NothingIsPassedOver;
    /// A hub forgets who delivered a record, so that it goes back there.
    SourceForgotten = "source-forgotten", for NothingGoesBack;
    /// What a sender claims to have settled is not held against what it was answered.
    ForkAnswered = "chain-not-compared", for ForkIsSeen;
    /// A fork is refused, and neither of its frames kept.
    ForkNotKept = "fork-not-kept", for ForkIsSeen;
    /// Who is told of a fork goes on delivering.
    ForkNotHeeded = "fork-not-heeded", for ForkIsSeen;
    /// Whoever signs a receipt is believed.
    AnyoneSignsReceipts = "receipt-signed-by-anyone", for AnswersAreGiven;
    /// A frame is taken for what it says of itself, whoever brings it to whom.
    AnyoneBringsFrames = "frame-of-anyone-answered", for AnswersAreGiven,
        also HonestIsNoFork because "its place is held against what its sender has answered itself";
    /// What a peer passes on is taken in without asking whether it may be.
    RelayedUnasked = "relayed-and-not-decided-on", for AllArrives;
    /// Channels are never compared, so that what a restored node lost stays lost.
    NeverCompared = "never-compared", for AllArrives;
    /// The writer takes bulk jobs before urgent ones, as long as there are any.
    BulkFirst = "bulk-before-urgent", for UrgentIsFirst;
}

impl Mutant {
    /// Whether this invariant may notice it.
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
