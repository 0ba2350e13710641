//! Flags that every binary has, and the mapping from failures to exit codes.

use std::error::Error;
use std::fmt::{self, Display};
use std::process::ExitCode;

use clap::{Args, Parser};
use cytoself_model::ModelError;

use crate::progress;

/// Flags of every binary.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Threads to use; never changes a result [default: all cores]
    #[arg(long, value_name = "N", global = true)]
    pub threads: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = Self::SEED, global = true)]
    pub seed: u64,
    /// Print errors only
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Replace an existing output
    #[arg(long, global = true)]
    pub overwrite: bool,
}

impl Common {
    /// The seed without `--seed`.
    pub const SEED: u64 = 42;

    /// Prints a line on standard error unless `--quiet` was given.
    pub fn say(&self, line: impl Display) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }
}

/// Access to the shared flags of a binary's argument type.
pub trait HasCommon {
    /// The shared flags.
    fn common(&self) -> &Common;
}

/// Why a binary ends without success; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// Bad arguments or bad input: exit code 2.
    Input(String),
    /// The user interrupted; the text says what was kept: exit code 130.
    Interrupted(String),
    /// Anything else, a full disk too: exit code 1.
    Other(String),
    /// Bad input that every rank of a job sees: exit code 2.
    AllRanks(String),
    /// What another rank of the job reports: nothing is printed here; with the exit code.
    Elsewhere(u8),
}

impl Failure {
    /// Bad arguments or bad input, with what the user can do about it.
    pub fn input(message: impl Display) -> Self {
        Self::Input(one_line(&message.to_string()))
    }

    /// A failure of the machine rather than of the input.
    pub fn other(message: impl Display) -> Self {
        Self::Other(one_line(&message.to_string()))
    }

    /// Puts `context` in front of the message.
    #[must_use]
    pub fn context(self, context: impl Display) -> Self {
        match self {
            Self::Input(m) => Self::Input(format!("{context}: {m}")),
            Self::Interrupted(m) => Self::Interrupted(format!("{context}: {m}")),
            Self::Other(m) => Self::Other(format!("{context}: {m}")),
            Self::AllRanks(m) => Self::AllRanks(format!("{context}: {m}")),
            Self::Elsewhere(code) => Self::Elsewhere(code),
        }
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::AllRanks(_) => 2,
            Self::Interrupted(_) => 130,
            Self::Other(_) => 1,
            Self::Elsewhere(code) => *code,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Input(m) | Self::Interrupted(m) | Self::Other(m) | Self::AllRanks(m) => m,
            Self::Elsewhere(_) => "reported by another rank",
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let message = chain(&error);
        let any: &(dyn Error + 'static) = &error;
        match any.downcast_ref::<ModelError>() {
            Some(ModelError::Inconsistent { .. }) => return Self::AllRanks(message),
            Some(ModelError::Lost { .. }) => return Self::Elsewhere(1),
            _ => {}
        }
        if progress::interrupted() {
            return Self::Interrupted(message);
        }
        if is_machine_fault(&error) {
            Self::Other(message)
        } else {
            Self::Input(message)
        }
    }
}

/// The message of an error and of its sources, without repeating a source whose text the outer message already has.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    one_line(&text)
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Whether the cause is the machine (disk full, permission, memory) and not the content of the input.
fn is_machine_fault(error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind as Kind;
    let mut current = Some(error);
    while let Some(e) = current {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return matches!(
                io.kind(),
                Kind::StorageFull
                    | Kind::QuotaExceeded
                    | Kind::FileTooLarge
                    | Kind::PermissionDenied
                    | Kind::ReadOnlyFilesystem
                    | Kind::WriteZero
                    | Kind::OutOfMemory
                    | Kind::BrokenPipe
            );
        }
        current = e.source();
    }
    let text = chain(error);
    text.contains("No space left on device") || text.contains("File too large")
}

/// Parses the arguments, sets threads and the interrupt handler, runs `body` and returns the exit code.
pub fn run<A: Parser + HasCommon>(body: impl FnOnce(A) -> Result<(), Failure>) -> ExitCode {
    let arguments = A::parse();
    let name = A::command().get_name().to_string();
    if let Err(failure) = prepare(arguments.common()) {
        return report(&name, &failure);
    }
    match body(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&name, &failure),
    }
}

fn prepare(common: &Common) -> Result<(), Failure> {
    if common.threads == Some(0) {
        return Err(Failure::input(
            "--threads 0: expected at least 1; leave the flag out to use all cores",
        ));
    }
    keep_freed_pages();
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = common.threads {
        pool = pool.num_threads(threads);
    }
    limit_candle();
    pool.build_global().map_err(Failure::other)?;
    progress::install_interrupt_handler().map_err(Failure::other)
}

/// Makes the allocator reuse the pages of large tensors from step to step instead of having them cleared anew; [`run`] does it.
pub fn keep_freed_pages() {
    // `mi_option_purge_delay` of mimalloc.h, which the bindings do not name.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const NEVER: std::ffi::c_long = -1;
    // SAFETY: the option exists in mimalloc 2 and 3; setting it stores a number.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, NEVER) };
}

/// Keeps candle from a thread pool of its own: it only adds gradients, does not know `--threads`, and its threads wait
/// spinning, which on a machine with other work costs a third of a training.
fn limit_candle() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: runs first of all in `main`, before there is a second thread that could read the environment.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

pub(crate) fn report(name: &str, failure: &Failure) -> ExitCode {
    if let Failure::Elsewhere(code) = failure {
        return ExitCode::from(*code);
    }
    let kind = if matches!(failure, Failure::Interrupted(_)) {
        "interrupted"
    } else {
        "error"
    };
    eprintln!("{name}: {kind}: {}", failure.message());
    ExitCode::from(failure.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_the_users_fault() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Failure::from(full).code(), 1);
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(Failure::from(missing).code(), 2);
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::input("a\n  b\n").message(), "a; b");
    }
}
