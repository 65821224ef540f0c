//! Entries in the device: which flows and groups each one consists of, added and taken out whole.

use super::command::Command;
use super::control::{CommandError, Control};
use super::group::{Group, GroupId};
use super::groups::{Groups, Keys};
use super::io::RockerIo;
use super::notes::{Found, Record, UnderWay};
use super::rule::{Cookie, Rule};
use super::translate::Part;
use crate::digest::digest;
use std::collections::{BTreeSet, HashMap};
use twinpath_flow::card::EntryId;
use twinpath_flow::key::MaskedKey;

/// An entry in the device.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Its match, for a change of its edit.
    pub matching: MaskedKey,
    /// Flows with the groups they lead to, in the order in which they were added.
    flows: Vec<(Cookie, Option<Group>)>,
    /// Where it is noted for a driver to come.
    slot: u32,
}

impl Installed {
    fn cookies(&self) -> impl Iterator<Item = u64> {
        self.flows.iter().map(|(cookie, _)| cookie.0)
    }
}

/// `ENOBUFS`: more entries than there are places to note them.
const NO_ROOM: CommandError = CommandError::Card(105);

/// Everything the driver has put into the device's tables.
#[derive(Debug)]
pub(crate) struct Roster {
    groups: Groups,
    entries: HashMap<EntryId, Installed>,
    last_cookie: u64,
    /// Free places of the notes.
    slots: Vec<u32>,
}

impl Roster {
    /// An empty one, for at most so many entries.
    pub(crate) fn new(entries_max: u32) -> Self {
        let (groups, entries) = (Groups::default(), HashMap::new());
        Self { groups, entries, last_cookie: 0, slots: (0..entries_max).rev().collect() }
    }

    /// Counts what every switch has and this one has already: a number of flows, and one that leads
    /// to `group` for each of `parts`.
    pub(crate) fn adopt_standing(&mut self, admissions: u64, parts: &[Part]) {
        self.last_cookie = admissions + parts.len() as u64;
        for group in parts.iter().filter_map(|part| part.group.as_ref()) {
            let mut keys = Vec::new();
            self.groups.keys(group, &mut keys);
            if let Some(keys) = Keys::take(group, &mut keys.into_iter()) {
                self.groups.adopt(group, &keys);
            }
        }
    }

    /// Takes no key of this record any more, nor its place.
    pub(crate) fn spare(&mut self, found: &Found) {
        let Record { first, flows, .. } = found.record;
        self.last_cookie = self.last_cookie.max(first.saturating_add(flows.into()));
        self.slots.retain(|slot| *slot != found.slot);
    }

    /// Takes an entry into the books that a former driver has put into the device; `false` when what
    /// is noted of it cannot be.
    pub(crate) fn adopt(&mut self, found: &Found, matching: MaskedKey, parts: Vec<Part>) -> bool {
        let record = &found.record;
        let mut keys = record.groups.iter().copied();
        let groups = parts.iter().filter_map(|part| part.group.as_ref());
        let known: Option<Vec<_>> =
            groups.clone().map(|group| Keys::take(group, &mut keys)).collect();
        let Some(known) = known.filter(|_| keys.next().is_none()) else { return false };
        groups.zip(&known).for_each(|(group, keys)| self.groups.adopt(group, keys));
        let cookies = (record.first..).map(Cookie);
        let flows = cookies.zip(parts).map(|(cookie, part)| (cookie, part.group)).collect();
        self.entries.insert(record.id, Installed { matching, flows, slot: found.slot });
        true
    }

    /// Takes what a former driver left out of the device and out of the notes: entries that nobody
    /// wants, what was being added, and groups that nobody uses.
    ///
    /// # Errors
    /// [`CommandError`]: the device disagrees about what it holds, or is dead.
    pub(crate) fn clear(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        (unwanted, (flows, groups)): (Vec<Found>, UnderWay),
    ) -> Result<(), CommandError> {
        let mut groups: BTreeSet<u32> = groups.into_iter().collect();
        let held: BTreeSet<u64> = self.entries.values().flat_map(Installed::cookies).collect();
        for cookie in flows.into_iter().filter(|cookie| !held.contains(cookie)) {
            control.delete(io, &Command::DeleteFlow(Cookie(cookie)))?;
            self.last_cookie = self.last_cookie.max(cookie);
        }
        for found in &unwanted {
            control.notes.leaves(io, found.slot);
            let record = &found.record;
            for flow in (0..u64::from(record.flows)).rev() {
                control.delete(io, &Command::DeleteFlow(Cookie(record.first + flow)))?;
            }
            groups.extend(&record.groups);
        }
        // The largest are flood groups, then come rewrites, then what both lead to.
        for key in groups.into_iter().rev().filter(|key| !self.groups.holds(*key)) {
            control.delete(io, &Command::DeleteGroup(GroupId(key)))?;
        }
        self.groups.settle_indices();
        control.notes.settled(io);
        for found in unwanted {
            control.notes.left(io, found.slot);
            self.slots.push(found.slot);
        }
        Ok(())
    }

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
        self.last_cookie += 1;
        let cookie = Cookie(self.last_cookie);
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
        let slot = self.slots.pop().ok_or(NO_ROOM)?;
        let digest = digest(parts.iter().map(Part::image));
        let flows = Vec::with_capacity(parts.len());
        let mut installed = Installed { matching, flows, slot };
        for part in parts {
            match self.add_part(io, control, &part) {
                Ok(cookie) => installed.flows.push((cookie, part.group)),
                Err(error) => {
                    self.take_out(io, control, installed)?;
                    control.notes.settled(io);
                    self.slots.push(slot);
                    return Err(error);
                }
            }
        }
        let record = self.record(id, &installed, digest);
        control.notes.installed(io, slot, &record);
        control.notes.settled(io);
        self.entries.insert(id, installed);
        Ok(())
    }

    fn record(&self, id: EntryId, installed: &Installed, digest: u64) -> Record {
        let mut groups = Vec::new();
        for group in installed.flows.iter().filter_map(|(_, group)| group.as_ref()) {
            self.groups.keys(group, &mut groups);
        }
        Record {
            id,
            first: installed.cookies().next().unwrap_or(0),
            flows: u32::try_from(installed.flows.len()).expect("two at most"),
            digest,
            // The device compares nothing of the second line.
            matching: (installed.matching.value.head, installed.matching.mask.head),
            groups,
        }
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
        let Some(installed) = self.entries.remove(&id) else { return Ok(()) };
        let slot = installed.slot;
        control.notes.leaves(io, slot);
        self.take_out(io, control, installed)?;
        control.notes.left(io, slot);
        self.slots.push(slot);
        Ok(())
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
