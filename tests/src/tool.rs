//! Other programs the tests need: finding them, waiting for them.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// Where a program is.
///
/// # Panics
/// If it is not installed: the message says how to install it.
#[must_use]
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file()).unwrap_or_else(
        || panic!("{program} is not installed; the tests need it: run ./check tools"),
    )
}

/// A command for a program that must be there.
///
/// # Panics
/// As [`find`].
#[must_use]
pub fn command(program: &str) -> Command {
    Command::new(find(program))
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must succeed; returns what it wrote to standard output.
///
/// # Panics
/// If it fails.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Waits between two looks at something that another process changes.
pub fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "another process offers nothing to wait on")]
    std::thread::sleep(duration);
}

/// Calls `look` up to `tries` times, 5 ms apart, until it finds something.
pub fn wait_for<T>(tries: u32, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..tries {
        if let Some(found) = look() {
            return Some(found);
        }
        pause(Duration::from_millis(5));
    }
    None
}
