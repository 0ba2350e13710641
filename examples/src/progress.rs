//! Progress on a terminal, silence in a pipe, and the interrupt flag.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the user has asked to stop (Ctrl-C, or SIGTERM).
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The first interrupt sets the flag, so that the stage can end cleanly; the second ends the process at once.
///
/// # Errors
/// - the handler cannot be installed.
pub fn install_interrupt_handler() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
}

/// A progress line with rate and time left; draws only on a terminal.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `what` names the unit of work, e.g. `segmenting fields`.
    #[must_use]
    pub fn new(what: &str, total: u64, quiet: bool) -> Self {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(5)
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what.to_string());
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar }
    }

    /// Sets how much is done; breaks when the user has interrupted.
    pub fn update(&self, done: u64) -> ControlFlow<()> {
        self.bar.set_position(done);
        if interrupted() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// As [`Progress::update`], for work whose total is known only while it runs.
    pub fn update_of(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.bar.set_length(total);
        self.update(done)
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
