//! Entries in the device: which flows and groups each one consists of, added and taken out whole.

use super::command::Command;
use super::control::{CommandError, Control};
use super::group::{Group, GroupId};
use super::groups::Groups;
use super::io::RockerIo;
use super::rule::{Cookie, Rule};
use super::translate::Part;
use std::collections::HashMap;
use twinpath_flow::card::EntryId;
use twinpath_flow::key::MaskedKey;

/// An entry in the device.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Its match, for a change of its edit.
    pub matching: MaskedKey,
    /// Flows with the groups they lead to, in the order in which they were added.
    flows: Vec<(Cookie, Option<Group>)>,
}

/// Everything the driver has put into the device's tables.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    groups: Groups,
    entries: HashMap<EntryId, Installed>,
    next_cookie: u64,
}

impl Roster {
    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&self, id: EntryId) -> Option<&Installed> {
        self.entries.get(&id)
    }

    /// Adds a flow that stays until the next reset.
    ///
    /// # Errors
    /// [`CommandError`].
    pub(crate) fn add_rule(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        rule: &Rule,
    ) -> Result<Cookie, CommandError> {
        self.next_cookie += 1;
        let cookie = Cookie(self.next_cookie);
        control.execute(io, &Command::AddFlow(cookie, rule))?;
        Ok(cookie)
    }

    /// Adds one flow and what it leads to.
    ///
    /// # Errors
    /// [`CommandError`]; nothing is left behind unless the device is dead.
    pub(crate) fn add_part(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        part: &Part,
    ) -> Result<Cookie, CommandError> {
        let group = match &part.group {
            Some(group) => self.groups.acquire(io, control, group)?,
            None => GroupId::NOWHERE,
        };
        let rule = Rule::Acl { rank: part.rank, matching: part.matching, group };
        let added = self.add_rule(io, control, &rule);
        if let (Err(_), Some(group)) = (&added, &part.group) {
            self.groups.release(io, control, group)?;
        }
        added
    }

    /// Adds an entry: its flows in order, each behind its groups.
    ///
    /// # Errors
    /// [`CommandError`]; nothing is left behind unless the device is dead.
    pub(crate) fn install(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        (id, matching): (EntryId, MaskedKey),
        parts: Vec<Part>,
    ) -> Result<(), CommandError> {
        let mut installed = Installed { matching, flows: Vec::with_capacity(parts.len()) };
        for part in parts {
            match self.add_part(io, control, &part) {
                Ok(cookie) => installed.flows.push((cookie, part.group)),
                Err(error) => {
                    self.take_out(io, control, installed)?;
                    return Err(error);
                }
            }
        }
        self.entries.insert(id, installed);
        Ok(())
    }

    /// Takes an entry out.
    ///
    /// # Errors
    /// [`CommandError`]: the device disagrees about what it holds, or is dead.
    pub(crate) fn remove(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        id: EntryId,
    ) -> Result<(), CommandError> {
        match self.entries.remove(&id) {
            Some(installed) => self.take_out(io, control, installed),
            None => Ok(()),
        }
    }

    /// Flows go in the reverse order, so that a flow for tagged frames is never there without the
    /// one that keeps untagged frames from it.
    fn take_out(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        installed: Installed,
    ) -> Result<(), CommandError> {
        for (cookie, group) in installed.flows.iter().rev() {
            control.execute(io, &Command::DeleteFlow(*cookie))?;
            if let Some(group) = group {
                self.groups.release(io, control, group)?;
            }
        }
        Ok(())
    }
}
