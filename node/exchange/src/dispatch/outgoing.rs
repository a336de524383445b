//! A frame on its way out, bound to the register and policy whose permits it carries.

use std::{fmt, sync::Arc};

use portcullis_protocol::{digest::Digest, frame::SentFrame};

use portcullis_kernel::decide::Decider;

/// A frame that may leave as long as the register and policy it was planned under are in force.
pub struct Outgoing {
    frame: SentFrame,
    decider: Arc<Decider>,
}

impl Outgoing {
    pub(super) const fn new(frame: SentFrame, decider: Arc<Decider>) -> Self {
        Self { frame, decider }
    }

    /// The digest of what was signed.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        self.frame.digest()
    }

    /// The frame, to be looked at.
    #[must_use]
    pub const fn frame(&self) -> &SentFrame {
        &self.frame
    }

    /// The frame, to be sent; `None` if `present` is another register or policy than the one that
    /// permitted it.
    #[must_use]
    pub fn release(self, present: &Arc<Decider>) -> Option<SentFrame> {
        Arc::ptr_eq(&self.decider, present).then_some(self.frame)
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outgoing").field(self.digest()).finish()
    }
}
