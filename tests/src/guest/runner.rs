//! Runs cases, each alone in its guest's state, and prints one line for each.

use super::{Guest, Iommu, Laboratory};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A case: what it proves, and how.
#[derive(Clone, Copy)]
pub struct Case {
    /// Name, as on the command line.
    pub name: &'static str,
    /// Machine it needs.
    pub iommu: Iommu,
    /// Leaves the guest as it found it; returns its evidence, panics where it fails.
    pub prove: fn(&mut Guest) -> String,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How cases ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that proved what they should.
    pub passed: usize,
    /// Cases that did not.
    pub failed: usize,
}

/// Runs `cases` in order and hands one line for each to `report`.
///
/// Consecutive cases share a guest. After a failure the next case gets a fresh one.
pub fn run(laboratory: &Laboratory, cases: &[Case], report: &mut dyn FnMut(&str)) -> Tally {
    let mut tally = Tally::default();
    let mut running: Option<(Iommu, Guest)> = None;
    for case in cases {
        if running.as_ref().is_some_and(|(iommu, _)| *iommu != case.iommu) {
            running = None;
        }
        let result = caught(|| {
            let (_, guest) =
                running.get_or_insert_with(|| (case.iommu, laboratory.boot(case.iommu)));
            (case.prove)(guest)
        });
        match result {
            Ok(evidence) => {
                tally.passed += 1;
                report(&format!("PASS {} {evidence}", case.name));
            }
            Err(message) => {
                tally.failed += 1;
                let words = running.take().map(|(_, guest)| guest.last_words());
                let words = words.unwrap_or_default();
                report(format!("FAIL {} {message}\n{words}", case.name).trim_end());
            }
        }
    }
    tally
}

fn caught(work: impl FnOnce() -> String) -> Result<String, String> {
    // After a panic the guest is only asked for its last words and ended.
    catch_unwind(AssertUnwindSafe(work)).map_err(message)
}

/// What a panic said.
#[must_use]
pub fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().map_or("no message", |text| text).to_owned(),
    }
}
