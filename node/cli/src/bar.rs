//! Progress of what takes longer than a second, at a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::Session;

/// Progress bar. It writes nothing where no person watches: with `--json`, or if the errors go to no terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// Returns a bar that shows nothing yet.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        if session.output.is_json() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg:10} {percent:>3} %") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows the phase and the share of it that is done.
    pub fn at(&mut self, phase: &str, done: u64, of: u64) {
        if self.0.message() != phase {
            self.0.set_message(phase.to_owned());
        }
        self.0.set_length(of);
        self.0.set_position(done);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
