//! Progress messages of the demo: a moving line at a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Writer of progress messages. It uses standard error, so that results stay apart.
pub struct Show {
    started: Instant,
    terminal: bool,
}

/// A step under way.
pub struct Step {
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Show {
    /// Begins. It finds out once if standard error is a terminal.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Returns the time since the beginning.
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

    /// Prints a line.
    pub fn line(&self, text: &str) {
        say(text);
    }
}

impl Step {
    /// Shows the progress of the step. Plain output prints nothing, so as not to fill a log.
    pub fn at(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {detail}", self.title));
        }
    }

    /// Ends the step and prints its result.
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

/// Prints a line. A demo whose reader has gone goes on, because the report and the exit code still
/// count.
fn say(text: &str) {
    if writeln!(std::io::stderr(), "{text}").is_err() {
        tracing::trace!("nobody reads what the demo says");
    }
}
