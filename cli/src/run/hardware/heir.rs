//! A real card that outlives its daemon: what is kept for the next, and what is taken from the last.

use super::HardwarePath;
use super::start::NAMES;
use crate::config::Config;
use crate::run::brain::Brain;
use crate::run::heritage::Heritage;
use crate::run::keeping::{Keeping, Numbers, port_accounts};
use crate::run::ports::Ports;
use crate::run::recovery::Recovery;
use crate::run::state::SoftwareAccount;
use twinpath_flow::time::Time;

impl HardwarePath {
    /// Takes over what a former process counted, and keeps things for the next from now on.
    pub(super) fn inherit(
        &mut self,
        heritage: Option<Heritage>,
        config: &Config,
        (origin, rule_file): (Time, u64),
    ) {
        let Some(heritage) = heritage else { return };
        if let (Some(found), Some(held)) = (&heritage.found, &mut self.held) {
            let run = &found.state.run;
            self.software.go_on_from(&run.software);
            held.host.set_recovery(Recovery::resume(config.recovery, &run.card));
            held.host.expect(found.state.accounts.entries.clone());
        }
        self.keeping = Some(Keeping::new(heritage, (config.device_text(), rule_file), origin));
    }

    /// Gives what the function is made of to the store; then an end leaves the card to the next process.
    pub(super) fn give(&mut self, now: Time, brain: &mut Brain) {
        let (Some(keeping), Some(held)) = (&mut self.keeping, &mut self.held) else { return };
        if keeping.is_heir() {
            keeping.keep_on(now, brain);
        } else {
            let keepsakes = match held.function.keepsakes() {
                Ok(keepsakes) => keepsakes,
                Err(error) => {
                    let told = format!("a restart will reset the card: {error}");
                    return brain.events.error(now, told);
                }
            };
            let all = [keepsakes.device, keepsakes.container, keepsakes.memory];
            let all = NAMES.map(str::to_owned).into_iter().zip(all).collect();
            if !keeping.give(all, now, brain) {
                return;
            }
        }
        held.host.nic.leave();
        held.function.leave();
    }

    /// Has the store close what a function was made of: it is gone.
    pub(super) fn forget(&mut self, now: Time, brain: &mut Brain) {
        brain.begin_changes();
        if let Some(keeping) = &mut self.keeping {
            keeping.forget(now, brain);
        }
    }

    /// What is kept for a next process.
    pub(crate) const fn keeping_mut(&mut self) -> Option<&mut Keeping> {
        self.keeping.as_mut()
    }

    /// Writes the state if the card waits for that, or it is time.
    pub(super) fn save_if_due(&mut self, now: Time, brain: &mut Brain, ports: &Ports) -> bool {
        let is_wanted = self.keeping.as_ref().is_some_and(|keeping| keeping.is_wanted(now, brain));
        if is_wanted {
            self.save(now, brain, ports);
        }
        is_wanted
    }

    /// Writes the state, unless a former one is still being taken over.
    pub(crate) fn save(&mut self, now: Time, brain: &mut Brain, ports: &Ports) {
        let Some(keeping) = self.keeping.as_mut().filter(|keeping| !keeping.is_heir()) else {
            return;
        };
        let dropped = |number| self.held.as_ref().map_or(0, |held| held.host.dropped_at(number));
        let numbers = Numbers {
            ports: port_accounts(ports, dropped),
            software: SoftwareAccount::of(&self.software),
            // What was inside a card that does not count is not known.
            losses: (0, 0),
            card: self
                .held
                .as_ref()
                .map_or_else(Default::default, |held| held.host.recovery().account()),
        };
        keeping.save(now, brain, numbers);
    }

    /// The card is up: taken over from a former process, or reset.
    pub(super) fn succeed(&mut self, now: Time, brain: &mut Brain) {
        let (Some(keeping), Some(held)) = (&mut self.keeping, &self.held) else { return };
        if keeping.succeed()
            && let Some(reason) = held.host.nic.why_reset()
        {
            brain.events.error(now, format!("the card was reset: {reason}"));
        }
    }
}
