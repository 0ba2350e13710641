//! Running the example binaries as a user does: what the tests of this package share.

pub mod fixture;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A finished run of an example binary.
pub struct Run {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// The last line of standard error that is not empty: where a failure explains itself.
    #[must_use]
    pub fn last_line(&self) -> &str {
        self.stderr
            .lines()
            .rev()
            .find(|l| !l.trim().is_empty())
            .unwrap_or("")
    }

    /// Asserts the exit code and that the explaining line holds every one of `words`.
    ///
    /// # Panics
    /// When it does not: this is an assertion of a test.
    pub fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no `{word}` in:\n{}",
                self.stderr
            );
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Path of an example binary of the profile that the calling test was built with.
///
/// # Panics
/// When it is not there: `cargo test --workspace` builds the examples before any test runs; a test of this package
/// alone needs `cargo build --examples` first.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("target/<profile>/deps/<test>");
    let path = profile
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is not built: run `cargo build --examples` or `cargo test --workspace`",
        path.display()
    );
    path
}

/// Runs an example binary to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run<I, S>(name: &str, arguments: I) -> Run
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    Command::new(binary(name))
        .args(arguments)
        .output()
        .expect("the binary starts")
        .into()
}

/// Starts an example binary with its outputs captured.
///
/// # Panics
/// When it cannot be started.
pub fn start<I, S>(name: &str, arguments: I) -> Child
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    Command::new(binary(name))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Waits until `condition` holds while the process runs; false if it ended or a minute went by before.
#[must_use]
pub fn wait_until(child: &mut Child, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if condition() {
            return true;
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return condition();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// Sends a signal, e.g. `INT` or `KILL`, to a process and waits for its end.
///
/// # Panics
/// When there is no `kill`, or the process cannot be waited for.
#[must_use]
pub fn signal(child: Child, name: &str) -> Run {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success(), "kill -{name} failed");
    child.wait_with_output().expect("the process ends").into()
}

/// The folder of real data, or `None` after saying that the test is skipped.
#[must_use]
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CYTOSELF_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: CYTOSELF_DATA is not set");
    }
    folder
}
