//! What this process leaves, kept up to date: descriptors in the store, numbers in the state file.

use super::brain::Brain;
use super::heritage::Heritage;
use super::ports::Ports;
use super::software::fresh_seed;
use super::state::{CardAccount, PortAccount, RuleLists, Run, SoftwareAccount, file, pair};
use crate::clock::boot_ns;
use crate::hold::message::Name;
use crate::hold::store::Store;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// How often the state is written when nothing else asks for it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Store and state file.
#[derive(Debug)]
pub(crate) struct Keeping {
    store: Store,
    path: PathBuf,
    /// Names of descriptors in the store.
    names: Vec<Name>,
    /// Which of them are ours now; empty before there are any.
    id: String,
    device: String,
    origin: Time,
    rule_file: u64,
    due: Time,
    /// The rules as last written.
    rules: Vec<u8>,
    /// Whether writing failed last, so that it is told once.
    failing: bool,
    /// Whether the card is being taken over from a former process.
    is_heir: bool,
}

/// The numbers of a run that are not in the brain.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Ports.
    pub ports: Vec<PortAccount>,
    /// Software.
    pub software: SoftwareAccount,
    /// Frames that were inside cards that are gone, and those former processes had.
    pub losses: (u64, u64),
    /// What is thought of the card.
    pub card: CardAccount,
}

impl Keeping {
    /// Goes on with a store; `id` names the descriptors that are taken over.
    pub(crate) fn new(
        heritage: Heritage,
        (device, rule_file): (String, u64),
        origin: Time,
    ) -> Self {
        let Heritage { store, state_path: path, names, found, .. } = heritage;
        let is_heir = found.is_some();
        let id = found.map_or_else(String::new, |found| found.state.run.id);
        let (due, rules, failing) = (Time::default(), Vec::new(), false);
        Self { store, path, names, id, device, origin, rule_file, due, rules, failing, is_heir }
    }

    /// Whether the card is being taken over from a former process, whose state is not written over.
    pub(crate) const fn is_heir(&self) -> bool {
        self.is_heir
    }

    /// The card is up; whether it was being taken over until now.
    pub(crate) const fn succeed(&mut self) -> bool {
        std::mem::replace(&mut self.is_heir, false)
    }

    /// Whether the state should be written now: the card waits for that, or it is time.
    pub(crate) fn is_wanted(&self, now: Time, brain: &Brain) -> bool {
        !self.is_heir && (now >= self.due || brain.awaits_save())
    }

    /// Notes that another rule file is in force.
    pub(crate) const fn set_rule_file(&mut self, digest: u64) {
        self.rule_file = digest;
    }

    /// Goes on with the descriptors of a former process, which are ours now, and has all others closed.
    pub(crate) fn keep_on(&mut self, now: Time, brain: &mut Brain) {
        let ours = format!("{}.", self.id);
        let is_ours = |name: &Name| name.as_str().starts_with(&ours);
        let (ours, others) = std::mem::take(&mut self.names).into_iter().partition(is_ours);
        self.names = ours;
        self.remove(others, now, brain);
    }

    /// Gives descriptors away, under a new identity, and has the former ones closed; whether the store
    /// took them all.
    pub(crate) fn give(
        &mut self,
        descriptors: Vec<(String, OwnedFd)>,
        now: Time,
        brain: &mut Brain,
    ) -> bool {
        let id = format!("{:016x}", fresh_seed());
        let former = std::mem::take(&mut self.names);
        let wanted = descriptors.len();
        for (what, descriptor) in descriptors {
            let name = Name::new(&format!("{id}.{what}")).expect("letters and numbers");
            if let Err(error) = self.store.keep(&name, descriptor.as_fd()) {
                brain.events.error(now, format!("a restart will reset the card: {error}"));
                break;
            }
            self.names.push(name);
        }
        self.id = id;
        self.remove(former, now, brain);
        self.names.len() == wanted
    }

    /// Has all descriptors closed: the card is gone.
    pub(crate) fn forget(&mut self, now: Time, brain: &mut Brain) {
        let former = std::mem::take(&mut self.names);
        self.is_heir = false;
        self.id.clear();
        self.remove(former, now, brain);
    }

    fn remove(&self, names: Vec<Name>, now: Time, brain: &mut Brain) {
        for name in names {
            if let Err(error) = self.store.remove(&name) {
                return brain.events.error(now, error.to_string());
            }
        }
    }

    /// Writes the state.
    pub(crate) fn save(&mut self, now: Time, brain: &mut Brain, numbers: Numbers) {
        self.due = now.after(INTERVAL);
        if brain.take_unsaved() || self.rules.is_empty() {
            let lists: RuleLists = brain.rule_lists();
            self.rules = file::encode_rules(&lists);
        }
        let accounts = brain.engine.accounts();
        let mut run = Run {
            id: self.id.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            device: self.device.clone(),
            boot_ns: boot_ns(),
            now: now.0,
            origin: self.origin.0,
            rule_file: self.rule_file,
            card_gone: numbers.losses.0,
            restart: numbers.losses.1,
            card: numbers.card,
            ports: numbers.ports,
            software: numbers.software,
            ..Run::default()
        };
        file::put_totals(&mut run, &accounts);
        let bytes = file::encode(&run, &self.rules, &accounts);
        match file::write(&self.path, &bytes) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                brain.events.error(now, format!("state not written: {error}"));
            }
            Err(_) => {}
        }
    }
}

/// What all ports have counted; `dropped`: what the card's host could not send out of one.
pub(crate) fn port_accounts(ports: &Ports, dropped: impl Fn(PortNo) -> u64) -> Vec<PortAccount> {
    let lines = ports.lines().iter();
    lines.map(|line| port_account(line, dropped(line.number))).collect()
}

/// Packets and bytes of a port as the state has them.
pub(crate) fn port_account(line: &super::ports::PortLine, dropped: u64) -> PortAccount {
    PortAccount {
        number: line.number.0,
        received: pair(line.received),
        sent: pair(line.sent()),
        dropped: line.dropped + dropped,
        ..PortAccount::default()
    }
}
