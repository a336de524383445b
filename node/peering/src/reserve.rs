//! File descriptors in reserve, so that a listener can go on accepting when the rest of the process has used up all.

use std::fs::File;
use std::io;
use std::time::Duration;

/// Descriptors that a listener keeps for itself.
const KEPT: usize = 16;

/// Pause after the system refused to accept and no reserve is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Descriptors kept open for nothing but to be given up when they are needed.
#[derive(Debug, Default)]
pub struct Reserve {
    kept: Vec<File>,
}

impl Reserve {
    /// Opens descriptors until the reserve is full. Does without those that the system refuses.
    pub fn fill(&mut self) {
        while self.kept.len() < KEPT {
            let Ok(file) = File::open("/dev/null") else {
                return;
            };
            self.kept.push(file);
        }
    }

    /// Returns the pause after `error`, with which the system refused to accept. There is none if a descriptor was
    /// lacking and one of the reserve could be given up.
    pub fn pause_after(&mut self, error: &io::Error) -> Duration {
        let lacking = error
            .raw_os_error()
            .is_some_and(|code| code == EMFILE || code == ENFILE);
        match lacking.then(|| self.kept.pop()).flatten() {
            Some(given_up) => {
                drop(given_up);
                Duration::ZERO
            }
            None => PAUSE,
        }
    }
}

/// Number of the error "too many open files in system" on Linux, errno(3).
const ENFILE: i32 = 23;
/// Number of the error "too many open files" on Linux, errno(3).
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_given_up_for_lack_of_descriptors_alone_and_not_without_end() {
        let mut reserve = Reserve::default();
        reserve.fill();
        let other = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(reserve.pause_after(&other), PAUSE);
        let lacking = io::Error::from_raw_os_error(EMFILE);
        for _ in 0..KEPT {
            assert_eq!(reserve.pause_after(&lacking), Duration::ZERO);
        }
        assert_eq!(reserve.pause_after(&lacking), PAUSE);
    }
}
