//! A frame on its way out, bound to the register and policy whose permits it carries.

use std::{fmt, sync::Arc};

use portcullis_protocol::{digest::Digest, frame::SentFrame};

use portcullis_kernel::decide::Decider;

/// A frame that may leave as long as the register and policy under which it was planned are in
/// force.
pub struct Outgoing {
    frame: SentFrame,
    decider: Arc<Decider>,
}

impl Outgoing {
    pub(super) const fn new(frame: SentFrame, decider: Arc<Decider>) -> Self {
        Self { frame, decider }
    }

    /// Returns the digest of the signed statement.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        self.frame.digest()
    }

    /// Returns the frame for inspection.
    #[must_use]
    pub const fn frame(&self) -> &SentFrame {
        &self.frame
    }

    /// Returns the frame for sending, or `None` if `present` is another register or policy than the
    /// one that permitted it.
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
