//! Sources of time and randomness, which tests can replace.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_protocol::{seal::Entropy, time::Timestamp};
use zeroize::Zeroizing;

/// Function that returns the present time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Returns the clock of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Random numbers of the operating system, drawn by the block. A record takes a handful of small
/// ones, and a call to the system costs as much as hashing the record.
#[derive(Default)]
pub struct SystemEntropy {
    /// Bytes drawn and not given out yet. Each byte is given out once and overwritten.
    drawn: Zeroizing<Vec<u8>>,
}

/// Bytes drawn at a time. Larger requests go to the system directly.
const BLOCK: usize = 4096;

impl std::fmt::Debug for SystemEntropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemEntropy")
    }
}

impl Entropy for SystemEntropy {
    /// Ends the process if the system has no random numbers: no salt or key may be guessable.
    fn fill(&mut self, out: &mut [u8]) {
        if out.len() > BLOCK {
            return Self::draw(out);
        }
        if self.drawn.len() < out.len() {
            self.drawn.resize(BLOCK, 0);
            Self::draw(&mut self.drawn);
        }
        let rest = self.drawn.len().saturating_sub(out.len());
        if let Some(tail) = self.drawn.get_mut(rest..) {
            out.copy_from_slice(tail);
            tail.fill(0);
        }
        self.drawn.truncate(rest);
    }
}

impl SystemEntropy {
    fn draw(out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            tracing::error!(%error, "the operating system gives no random numbers; stopping");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_out_twice() {
        let mut entropy = SystemEntropy::default();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let mut salt = [0; 16];
            entropy.fill(&mut salt);
            assert!(seen.insert(salt), "16 random bytes came twice");
        }
        let mut large = vec![0; 3 * BLOCK];
        entropy.fill(&mut large);
        assert!(
            large
                .windows(16)
                .all(|part| part.iter().any(|byte| *byte != 0))
        );
    }
}
