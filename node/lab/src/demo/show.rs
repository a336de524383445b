//! What the demo says while it works: a moving line at a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Says what is going on, on the standard error stream, so that results stay apart.
pub struct Show {
    started: Instant,
    terminal: bool,
}

/// One step under way.
pub struct Step {
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Show {
    /// Begins; whether this is a terminal is found out once.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins a step.
    #[must_use]
    pub fn step(&self, title: &str) -> Step {
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::new_spinner().with_message(title.to_owned());
            bar.set_style(style());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            say(&format!("{title} …"));
        }
        Step {
            title: title.to_owned(),
            started: Instant::now(),
            bar,
        }
    }

    /// Says a line.
    pub fn line(&self, text: &str) {
        say(text);
    }
}

impl Step {
    /// Says how far it is; plain output stays quiet, lest it fill a log.
    pub fn at(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {detail}", self.title));
        }
    }

    /// Says that it is over, and what came of it.
    pub fn done(self, result: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(&format!("{}: {result} ({seconds:.1} s)", self.title));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A demo whose reader has gone goes on: the report and the exit code still count.
fn say(text: &str) {
    if writeln!(std::io::stderr(), "{text}").is_err() {
        tracing::trace!("nobody reads what the demo says");
    }
}
