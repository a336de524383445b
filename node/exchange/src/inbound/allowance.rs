//! Window of a delivery stream: the frames that its receipts have granted, counted from the start
//! of the stream.
//!
//! ```text
//! a stream begins with one frame; receipt number n that grants c allows frames up to n + c
//! ```
//!
//! A later receipt may grant less. What an earlier one granted stays granted, because those frames
//! may have been sent already. A frame beyond the grant is refused whole (EX-15), and still counts
//! as a frame that came.

/// Frames received, receipts sent and frames granted on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Number of the last frame that may come.
    through: u64,
    came: u64,
    answered: u64,
}

/// FrameAnswer on one frame: inside the granted window, or beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// The frame was granted.
    Within,
    /// The frame was sent although the window was full.
    Beyond,
}

impl Allowance {
    /// Begins a stream: one frame is granted.
    pub(super) const fn new() -> Self {
        Self {
            through: 1,
            came: 0,
            answered: 0,
        }
    }

    /// Counts a frame that came and judges it.
    pub(super) const fn take(&mut self) -> Grant {
        self.came += 1;
        if self.came > self.through {
            Grant::Beyond
        } else {
            Grant::Within
        }
    }

    /// Counts a receipt with this credit, which is about to be sent.
    pub(super) fn answer(&mut self, credit: u32) {
        self.answered += 1;
        self.through = self.through.max(self.answered + u64::from(credit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one `+` (within) or `-` (beyond) for each frame in `events`: `f` is a frame, a digit
    /// is a receipt with that credit.
    fn grants(events: &str) -> String {
        let mut allowance = Allowance::new();
        let mut seen = String::new();
        for event in events.chars() {
            match event.to_digit(10) {
                Some(credit) => allowance.answer(credit),
                None => seen.push(match allowance.take() {
                    Grant::Within => '+',
                    Grant::Beyond => '-',
                }),
            }
        }
        seen
    }

    #[test]
    fn a_stream_begins_with_one_frame_and_goes_on_with_what_is_granted() {
        assert_eq!(grants("f1f1f1"), "+++");
        assert_eq!(grants("ff"), "+-");
        assert_eq!(grants("f4fffff"), "+++++-");
        assert_eq!(grants("f4ffff4f4ff"), "+++++++-");
    }

    #[test]
    fn what_was_granted_is_not_taken_back() {
        // Four were granted, three of them came before the sender heard that it is one now.
        assert_eq!(grants("f4fff111f1f1f"), "+++++++");
        assert_eq!(grants("f4f0fff0f0f"), "+++++--");
    }

    #[test]
    fn a_stream_that_is_granted_nothing_brings_nothing() {
        assert_eq!(grants("f0f"), "+-");
        assert_eq!(grants("f0f0f0f"), "+---");
    }
}
