//! What killed tests leave: namespaces, links and folders, whose names carry the number of the process
//! that made them. Once that process is gone, the next one removes them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

/// Beginnings of the names of folders; the process's number comes next.
const FOLDERS: [&str; 3] = ["twinpath-lab-", "twinpath-kill-", "twinpath-restart-"];

static SWEPT: Once = Once::new();

/// Removes what processes that are gone have left; once in a process.
pub(crate) fn sweep() {
    SWEPT.call_once(|| {
        for name in names("/run/netns") {
            if maker(&name).is_some_and(is_gone) {
                remove(&["netns", "del", &name]);
            }
        }
        for name in names("/sys/class/net") {
            if maker(&name).is_some_and(is_gone) {
                // Its peer goes with it, and may be next in the list.
                remove(&["link", "del", &name]);
            }
        }
        let folder = std::env::temp_dir();
        for name in names(&folder) {
            let rest = FOLDERS.iter().find_map(|prefix| name.strip_prefix(prefix));
            if rest.and_then(number).is_some_and(|(process, _)| is_gone(process)) {
                // Another user's folder stays.
                let _ = fs::remove_dir_all(folder.join(name));
            }
        }
    });
}

/// Names in a folder; none when there is no such folder.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The process that made a namespace or link of ours: `tw`, a letter, its number, `x`, a number.
fn maker(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("tw")?;
    let rest = rest.strip_prefix(|kind: char| kind.is_ascii_lowercase())?;
    let (process, rest) = number(rest)?;
    let rest = rest.strip_prefix('x')?;
    rest.bytes().all(|byte| byte.is_ascii_digit()).then_some(process)
}

/// The number at the beginning, and what follows.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn is_gone(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

fn remove(arguments: &[&str]) {
    // Gone already, or not ours to remove: then what needs the name will say so.
    let _ = Command::new("ip").args(arguments).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_carry_a_process_are_ours() {
        assert_eq!(maker("twn4194304x12"), Some(4_194_304));
        assert_eq!(maker("twv77x0"), Some(77));
        for other in ["twn", "eth0", "twnx0", "twn12", "twin0", "twn12y0", "twn12x0a", "tw12x0"] {
            assert_eq!(maker(other), None, "{other}");
        }
        assert!(is_gone(u32::MAX));
        assert!(!is_gone(std::process::id()));
    }
}
