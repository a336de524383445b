//! How many frames of a stream may be on their way: what receipts granted, counted from its start.
//!
//! ```text
//! a stream begins with one frame; receipt number n that grants c allows frames up to n + c
//! ```
//!
//! A later receipt may grant less: what an earlier one allowed stays allowed, for it may have been
//! sent already. A frame beyond is refused whole (EX-15), and counts as a frame that came.

/// What one stream may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The number of the last frame that may come.
    through: u64,
    came: u64,
    answered: u64,
}

/// Whether a frame is one of those that were granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// It is.
    Within,
    /// It was sent although the window was full.
    Beyond,
}

impl Allowance {
    /// A stream that begins.
    pub(super) const fn new() -> Self {
        Self {
            through: 1,
            came: 0,
            answered: 0,
        }
    }

    /// A frame came.
    pub(super) const fn take(&mut self) -> Grant {
        self.came += 1;
        if self.came > self.through {
            Grant::Beyond
        } else {
            Grant::Within
        }
    }

    /// A receipt with this credit leaves.
    pub(super) fn answer(&mut self, credit: u32) {
        self.answered += 1;
        self.through = self.through.max(self.answered + u64::from(credit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of frames (`f`) and receipts with a credit (a digit), in this order.
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
