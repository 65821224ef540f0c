//! A remote card that outlives its daemon: what is kept for the next, and what is taken from the last.

use super::RemotePath;
use crate::config::Config;
use crate::run::brain::Brain;
use crate::run::heritage::Heritage;
use crate::run::keeping::{Keeping, Numbers, port_accounts};
use crate::run::odometer::Odometer;
use crate::run::ports::{PortTotals, Ports};
use crate::run::recovery::Recovery;
use crate::run::state::{SoftwareAccount, counts};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use twinpath_flow::time::Time;

/// Looks at counters and rings until no frame came between.
const LOOKS_MAX: usize = 64;

impl RemotePath {
    /// Takes over what a former process counted, and keeps things for the next from now on.
    pub(super) fn inherit(
        &mut self,
        heritage: Option<Heritage>,
        config: &Config,
        (origin, rule_file): (Time, u64),
    ) {
        let Some(heritage) = heritage else { return };
        if let Some(found) = &heritage.found {
            self.as_of = Time(found.state.run.now);
            let run = &found.state.run;
            for account in &run.ports {
                let index = self.numbers.iter().position(|port| port.0 == account.number);
                if let Some(index) = index {
                    self.odometer.resume(index, &account.shown, &account.total);
                }
            }
            self.software.go_on_from(&run.software);
            (self.losses, self.restart_losses) = (run.card_gone, run.restart);
            self.host.expect(found.state.accounts.entries.clone());
            self.host.set_recovery(Recovery::resume(config.recovery, &run.card));
        }
        self.keeping = Some(Keeping::new(heritage, (config.device_text(), rule_file), origin));
    }

    /// Gives what the connection is made of to the store.
    pub(super) fn give(&mut self, now: Time, brain: &mut Brain) {
        let Some(keeping) = &mut self.keeping else { return };
        if keeping.is_heir() {
            // They are the very same: whoever kills us now finds what the state names.
            return keeping.keep_on(now, brain);
        }
        match self.bus.keepsakes() {
            Ok(Some(keepsakes)) => {
                let mut descriptors: Vec<(String, OwnedFd)> = vec![
                    ("socket".to_owned(), keepsakes.socket),
                    ("memory".to_owned(), keepsakes.memory),
                ];
                let bells = keepsakes.bells.into_iter().enumerate();
                descriptors.extend(bells.map(|(index, bell)| (format!("bell{index}"), bell)));
                // A store that does not take them has said so.
                let _ = keeping.give(descriptors, now, brain);
            }
            Ok(None) => {}
            Err(error) => {
                brain.events.error(now, format!("a restart will reset the card: {error}"))
            }
        }
    }

    /// Has the store close what a connection was made of.
    pub(super) fn forget(&mut self, now: Time, brain: &mut Brain) {
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
        if self.keeping.as_ref().is_none_or(Keeping::is_heir) {
            return;
        }
        let numbers = self.account(ports);
        if let Some(keeping) = &mut self.keeping {
            keeping.save(now, brain, numbers);
        }
    }

    fn account(&self, ports: &Ports) -> Numbers {
        let mut ports = port_accounts(ports, |number| self.host.dropped_at(number));
        for (index, account) in ports.iter_mut().enumerate() {
            (account.shown, account.total) = self.odometer.values(index);
        }
        let software = SoftwareAccount::of(&self.software);
        let losses = (self.losses, self.restart_losses);
        let card = self.host.recovery().account();
        Numbers { ports, software, losses, card }
    }

    /// The former process's card is up: what it had taken and not counted as decided is lost, or
    /// was decided and not counted.
    pub(super) fn succeed(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        if !self.keeping.as_mut().is_some_and(Keeping::succeed) {
            return;
        }
        if let Some(reason) = self.host.nic.unadoptable() {
            brain.events.error(now, format!("the card was reset: {reason}"));
            brain.engine.lose_counters_since(self.as_of);
        }
        let mut waiting = self.registers.waiting();
        for _ in 0..LOOKS_MAX {
            self.count_by(ports, Odometer::look);
            let again = self.registers.waiting();
            if std::mem::replace(&mut waiting, again) == again {
                break;
            }
        }
        let received = ports.lines().iter().map(|line| line.received.packets).sum();
        self.restart_losses += self.fates(received).held.saturating_sub(waiting);
    }
}

/// Puts what a former process counted at the ports in place.
pub(crate) fn resume_ports(ports: &mut Ports, state: &crate::run::state::State) {
    let accounts: BTreeMap<u16, _> =
        state.run.ports.iter().map(|account| (account.number, account)).collect();
    let numbers: Vec<_> = ports.lines().iter().map(|line| line.number).collect();
    for number in numbers {
        if let Some(account) = accounts.get(&number.0) {
            let (received, sent) = (counts(account.received), counts(account.sent));
            let totals = PortTotals { received, sent, dropped: account.dropped, missed: 0 };
            ports.set_totals(number, totals);
        }
    }
}
