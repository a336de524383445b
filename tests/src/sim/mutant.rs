//! Planted faults: each is a named switch of the simulation's own shell, store or network.
//!
//! None is a switch of the product. Each is a way in which an exchange of this kind has been, or
//! could easily be, built wrong; a test turns one on at a time and expects the simulation to
//! notice.

macro_rules! mutants {
    ($( $(#[$meta:meta])* $variant:ident = $name:literal, )+) => {
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
        }
    };
}

mutants! {
    /// The cursor moves when a frame is planned, not when it is receipted.
    CursorBeforeReceipt = "cursor-before-receipt",
    /// The receipt is sent before the disk has what it speaks of.
    ReceiptBeforeSync = "receipt-before-sync",
    /// The frame is sent before the disk has its ledger rows.
    SendBeforeIntended = "send-before-intended",
    /// After a change of register or policy, what was remembered still decides.
    StaleMemo = "stale-memo",
    /// A frame planned under an earlier register or policy is sent all the same.
    NoRecheck = "no-recheck-after-reload",
    /// What is held in some form counts as held in any.
    DuplicateById = "duplicate-by-id-alone",
    /// An item is judged anew although it has its final answer.
    FinalOverwritten = "final-answer-overwritten",
    /// What is to be tried again is kept in memory alone.
    ExceptionsForgotten = "exceptions-forgotten-on-crash",
    /// Tombstones are not looked at.
    TombstoneIgnored = "tombstone-ignored",
    /// What is refused for now or held is tried again without an end.
    RetryForEver = "retry-for-ever",
    /// What is refused for now is never tried again.
    RetryNever = "retry-never",
    /// A refusal for now is noted as one for good.
    TemporaryMadeFinal = "temporary-refusal-made-final",
    /// A commit that failed counts as done.
    FailedCommitIgnored = "failed-commit-ignored",
    /// Sections that came later are not logged, so nobody passes them on.
    ExtensionNotLogged = "extension-not-logged",
    /// Who delivered a record is forgotten, so that it goes back there.
    SourceForgotten = "source-forgotten",
    /// The writer takes bulk jobs before urgent ones, as long as there are any.
    BulkFirst = "bulk-before-urgent",
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
