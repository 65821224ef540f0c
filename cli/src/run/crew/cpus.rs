//! Which CPU each worker runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Why workers cannot run where they are wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    /// Too few CPUs.
    #[error("cpus names {given}, and there are {workers} workers: one for each is needed")]
    TooFew {
        /// CPUs named.
        given: usize,
        /// Workers.
        workers: usize,
    },
    /// A CPU that is not ours.
    #[error("cpu {cpu} is not among those this process may use: {allowed:?}")]
    NotAllowed {
        /// The CPU.
        cpu: u16,
        /// Those it may use.
        allowed: Vec<u16>,
    },
}

/// The CPU of each worker: those wanted, else one each of those this process may use; `None`, and
/// the system decides, when these are too few, or for a worker alone.
///
/// # Errors
/// What is wanted cannot be had.
pub(super) fn assign(wanted: &[u16], workers: usize) -> Result<Vec<Option<u16>>, PinError> {
    choose(wanted, workers, allowed())
}

fn choose(wanted: &[u16], workers: usize, allowed: Vec<u16>) -> Result<Vec<Option<u16>>, PinError> {
    if wanted.is_empty() {
        // A worker alone shares its caches with none; several programs would all be bound to one CPU.
        let is_bound = workers > 1 && allowed.len() >= workers;
        let cpus = if is_bound { &allowed[..workers] } else { &[] };
        let cpus = cpus.iter().copied().map(Some).chain(std::iter::repeat(None));
        return Ok(cpus.take(workers).collect());
    }
    if wanted.len() < workers {
        return Err(PinError::TooFew { given: wanted.len(), workers });
    }
    match wanted.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(&cpu) => Err(PinError::NotAllowed { cpu, allowed }),
        None => Ok(wanted[..workers].iter().copied().map(Some).collect()),
    }
}

/// CPUs this process may use.
fn allowed() -> Vec<u16> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    let most = u16::try_from(CpuSet::MAX_CPU).unwrap_or(u16::MAX);
    (0..most).filter(|cpu| set.is_set(usize::from(*cpu))).collect()
}

/// Binds the calling thread to a CPU.
pub(super) fn pin(cpu: u16) {
    let mut set = CpuSet::new();
    set.set(usize::from(cpu));
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!("a worker stays unbound: cpu {cpu}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_cpus_named_or_one_each_of_those_allowed() {
        assert_eq!(choose(&[], 2, vec![0, 3, 5]).unwrap(), [Some(0), Some(3)]);
        assert_eq!(choose(&[], 2, vec![1]).unwrap(), [None, None]);
        assert_eq!(choose(&[], 1, vec![0, 1]).unwrap(), [None]);
        assert_eq!(choose(&[1], 1, vec![0, 1]).unwrap(), [Some(1)]);
        assert_eq!(choose(&[5, 3, 0], 2, vec![0, 3, 5]).unwrap(), [Some(5), Some(3)]);
        let error = choose(&[0, 9], 2, vec![0, 1]).unwrap_err().to_string();
        assert_eq!(error, "cpu 9 is not among those this process may use: [0, 1]");
        let error = choose(&[0], 2, vec![0, 1]).unwrap_err().to_string();
        assert_eq!(error, "cpus names 1, and there are 2 workers: one for each is needed");
    }
}
