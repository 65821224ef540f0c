//! The first bring-up of a remote card: whoever starts the run waits for it.

use super::{LOOK, PATIENCE, RemotePath};
use crate::clock::Clock;
use crate::run::brain::Brain;
use crate::run::keeping::Keeping;
use crate::run::ports::Ports;
use std::path::PathBuf;
use twinpath_abi::bus::Bus as _;
use twinpath_flow::card::Health;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{Mode, SmartNic as _};
use twinpath_host_driver::vfio_user::bus::ConnectError;

/// Why the card did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// No connection.
    #[error("{error}; a simulated card is served there by: twinpath sim --socket {} CONFIG", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: ConnectError,
    },
    /// The driver gave it up.
    #[error("{}: the card did not come up: {cause}", path.display())]
    Card {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

impl RemotePath {
    /// Connects, waits until the card is up, and returns the time then.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn bring_up(
        &mut self,
        clock: Clock,
        brain: &mut Brain,
        ports: &mut Ports,
    ) -> Result<Time, StartError> {
        self.clock = clock;
        if !self.keeping.as_ref().is_some_and(Keeping::is_heir) {
            // A server has one client: what is left of a former connection goes first.
            self.forget(clock.now(), brain);
            let path = || self.bus.path().to_owned();
            self.bus.connect().map_err(|error| StartError::Connect { path: path(), error })?;
            self.odometer.begin(&self.registers);
        }
        self.give(clock.now(), brain);
        let deadline = clock.now().after(PATIENCE);
        loop {
            let now = clock.now();
            self.exchange(now, brain, ports);
            let cause = match self.host.nic.health(now) {
                Health::Good => return Ok(now),
                Health::Bypass if self.host.recovery().mode() == Mode::Bypass => {
                    let standing = self.host.recovery().describe();
                    let told = format!("card is {standing}; to trust it: twinpath card resume");
                    brain.events.event(now, told);
                    return Ok(now);
                }
                Health::Dead(cause) => {
                    let failure = self.host.nic.failure().map(ToString::to_string);
                    failure.unwrap_or_else(|| cause.to_string())
                }
                Health::Starting | Health::Bypass if now < deadline => {
                    // Whether something came or the time passed makes no difference.
                    self.bus.wait_interrupt(LOOK);
                    continue;
                }
                Health::Starting | Health::Bypass => "no answer in time".to_owned(),
            };
            return Err(StartError::Card { path: self.bus.path().to_owned(), cause });
        }
    }
}
