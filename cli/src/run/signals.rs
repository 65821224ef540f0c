//! Signals as flags and a descriptor to poll: SIGINT and SIGTERM end the run, SIGHUP reloads.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Signals caught for the life of the process.
#[derive(Debug)]
pub(crate) struct Signals {
    bell: UnixStream,
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Catches the signals. A second SIGINT or SIGTERM changes nothing: the end is bounded anyway,
    /// and `timeout` sends two at once.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn catch() -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (end, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&end))?;
            signal_hook::low_level::pipe::register(signal, ringer.try_clone()?)?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload))?;
        signal_hook::low_level::pipe::register(SIGHUP, ringer)?;
        Ok(Self { bell, end, reload })
    }

    /// Readable when a signal came.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Whether the run is to end.
    pub(crate) fn end_wanted(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Whether a reload was asked for since the last call.
    pub(crate) fn take_reload(&mut self) -> bool {
        let mut rings = [0; 64];
        // Rings only wake the poll; what they mean is in the flags.
        while matches!(self.bell.read(&mut rings), Ok(count) if count == rings.len()) {}
        self.reload.swap(false, Ordering::Relaxed)
    }
}
