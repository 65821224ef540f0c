//! The far end of a rocker port's cable: one frame per datagram.

use super::machine;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Frames are filled up to this. Sockets do not do it, and a shorter one crashes QEMU 7.2.
const FRAME_MIN: usize = 60;
/// Longest frame taken.
const FRAME_MAX: usize = 65_536;
/// Longest wait until QEMU takes a frame.
const SEND_MAX: Duration = Duration::from_secs(10);

/// The cable's end.
#[derive(Debug)]
pub struct Wire {
    socket: UnixDatagram,
    far: PathBuf,
}

impl Wire {
    /// Binds the near ends of all ports, before QEMU starts.
    pub(super) fn bind_all(folder: &Path) -> Vec<Self> {
        let bind = |port| {
            let near = folder.join(format!("near{port}"));
            let socket = UnixDatagram::bind(&near)
                .unwrap_or_else(|error| panic!("{}: {error}", near.display()));
            socket.set_write_timeout(Some(SEND_MAX)).expect("a timeout above zero");
            Self { socket, far: folder.join(format!("far{port}")) }
        };
        (1..=machine::PORTS).map(bind).collect()
    }

    /// Sends a frame, filled up with zeros to the length of the shortest.
    ///
    /// # Panics
    /// When QEMU does not take it.
    pub fn send(&self, frame: &[u8]) {
        let mut frame = frame.to_vec();
        frame.resize(frame.len().max(FRAME_MIN), 0);
        let sent = self.socket.send_to(&frame, &self.far);
        sent.unwrap_or_else(|error| panic!("{}: {error}", self.far.display()));
    }

    /// The next frame, if one comes in time.
    ///
    /// # Panics
    /// When the socket breaks.
    #[must_use]
    pub fn receive(&self, longest: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(longest)).expect("a timeout above zero");
        let mut frame = vec![0; FRAME_MAX];
        match self.socket.recv(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                Some(frame)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("a wire's socket: {error}"),
        }
    }

    /// All frames up to a silence of that length.
    #[must_use]
    pub fn drain(&self, silence: Duration) -> Vec<Vec<u8>> {
        // Ends: only the test sends, so silence comes.
        std::iter::from_fn(|| self.receive(silence)).collect()
    }
}
