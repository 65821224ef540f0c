//! How many workers forward, where and with what instructions, and what they do without work.

use super::place::Fault;
use super::raw::{Located, RawConfig};
use crate::near::nearest;
use twinpath_fallback::Kernel;
use twinpath_fallback::kernel::KernelError;

/// Most workers, and card queues (positions of a [`twinpath_flow::card::Fence`]).
pub(crate) const WORKERS_MAX: u16 = 16;

/// What a worker without work does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Poll {
    /// Looks again for a moment, then sleeps until something comes.
    #[default]
    Adaptive,
    /// Looks again and again.
    Busy,
}

/// `workers`.
pub(super) fn count(raw: &RawConfig) -> Result<u16, Located> {
    let Some(workers) = &raw.workers else { return Ok(1) };
    let given = *workers.get_ref();
    let count = u16::try_from(given).ok().filter(|count| (1..=WORKERS_MAX).contains(count));
    count.ok_or_else(|| {
        let (given, expected) = (given.to_string(), "between 1 and 16");
        (workers.span(), Fault::Value { what: "workers", given, expected })
    })
}

/// `cpus`.
pub(super) fn cpus(raw: &RawConfig) -> Result<Vec<u16>, Located> {
    let Some(cpus) = &raw.cpus else { return Ok(Vec::new()) };
    let mut checked = Vec::new();
    for cpu in cpus {
        let given = *cpu.get_ref();
        match u16::try_from(given).ok().filter(|cpu| *cpu < 1024 && !checked.contains(cpu)) {
            Some(cpu) => checked.push(cpu),
            None => {
                let expected = "a number below 1024, once";
                let given = given.to_string();
                return Err((cpu.span(), Fault::Value { what: "cpus", given, expected }));
            }
        }
    }
    Ok(checked)
}

/// `poll`.
pub(super) fn poll(raw: &RawConfig) -> Result<Poll, Located> {
    let Some(word) = &raw.poll else { return Ok(Poll::default()) };
    match word.get_ref().as_str() {
        "adaptive" => Ok(Poll::Adaptive),
        "busy" => Ok(Poll::Busy),
        given => {
            let fault = Fault::UnknownWord {
                what: "poll",
                given: given.to_owned(),
                nearest: nearest(given, &["adaptive", "busy"]),
                expected: "\"adaptive\" or \"busy\"",
            };
            Err((word.span(), fault))
        }
    }
}

/// `kernel`; nothing for the best that this processor has.
pub(super) fn kernel(raw: &RawConfig) -> Result<Option<Kernel>, Located> {
    let Some(word) = &raw.kernel else { return Ok(None) };
    let given = word.get_ref();
    let at = |fault| (word.span(), fault);
    match given.parse() {
        Ok(_) if given == "auto" => Ok(None),
        Ok(kernel) => Ok(Some(kernel)),
        Err(KernelError::Missing(_)) => {
            let expected = "a kernel that this processor has the instructions of";
            Err(at(Fault::Value { what: "kernel", given: given.clone(), expected }))
        }
        Err(KernelError::Unknown(_)) => Err(at(Fault::UnknownWord {
            what: "kernel",
            given: given.clone(),
            nearest: nearest(given, &["auto", "scalar", "avx2", "avx512"]),
            expected: "\"auto\", \"scalar\", \"avx2\" or \"avx512\"",
        })),
    }
}
