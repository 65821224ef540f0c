//! Groups in the device, each once, counted by their users: made before what points at them,
//! removed after.

use super::command::Command;
use super::control::{CommandError, Control};
use super::group::{Exit, Group, GroupId, Interface, Rewrite, flood_id};
use super::io::RockerIo;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// What is in the device, with its users.
#[derive(Debug)]
struct Held {
    id: GroupId,
    users: usize,
}

/// Indices of one kind of group; those given back are used again.
#[derive(Debug, Default)]
struct Indices {
    next: u16,
    free: Vec<u16>,
}

impl Indices {
    /// All but those of the groups held.
    fn without<'a>(held: impl Iterator<Item = &'a Held>) -> Self {
        let taken: BTreeSet<u16> = held.map(|held| index_of(held.id)).collect();
        let next = taken.last().map_or(0, |last| last.saturating_add(1));
        Self { next, free: (0..next).filter(|index| !taken.contains(index)).collect() }
    }

    fn take(&mut self) -> Option<u16> {
        self.free.pop().or_else(|| {
            let index = self.next;
            self.next = index.checked_add(1)?;
            Some(index)
        })
    }
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By key, which says all about them.
    interfaces: HashMap<GroupId, Held>,
    rewrites: HashMap<Rewrite, Held>,
    floods: HashMap<Group, Held>,
    rewrite_indices: Indices,
    flood_indices: Indices,
}

/// `ENOBUFS`: what the device itself would answer to one group too many.
const NO_INDEX: CommandError = CommandError::Card(105);

fn reuse<K: Hash + Eq>(groups: &mut HashMap<K, Held>, key: &K) -> Option<GroupId> {
    let held = groups.get_mut(key)?;
    held.users += 1;
    Some(held.id)
}

/// Counts one more user of a group that is there; whether it is the first.
fn adopt<K: Hash + Eq + Clone>(groups: &mut HashMap<K, Held>, key: &K, id: GroupId) -> bool {
    let held = groups.entry(key.clone()).or_insert(Held { id, users: 0 });
    held.users += 1;
    held.users == 1
}

/// Takes one user away; the group's key if that was the last.
fn leave<K: Hash + Eq>(groups: &mut HashMap<K, Held>, key: &K) -> Option<GroupId> {
    let held = groups.get_mut(key)?;
    held.users -= 1;
    if held.users > 0 {
        return None;
    }
    groups.remove(key).map(|held| held.id)
}

/// The index in the key of a rewrite or flood group.
const fn index_of(id: GroupId) -> u16 {
    (id.0 & 0xffff) as u16
}

/// Keys of a group and of what it leads to, where a driver chose them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Of the ways out, as far as they are rewritten.
    rewrites: Vec<Option<GroupId>>,
    /// Of a flood group.
    flood: Option<GroupId>,
}

impl Keys {
    /// Takes the keys of `group` as [`Groups::keys`] lists them; `None` when these are others'.
    pub(crate) fn take(group: &Group, keys: &mut impl Iterator<Item = u32>) -> Option<Self> {
        let mut rewrites = Vec::new();
        for exit in exits(group) {
            let mut chosen = None;
            if let Exit::Rewritten(_) = exit {
                let key = GroupId(keys.next()?);
                chosen = Some(key).filter(|key| Rewrite::id(index_of(*key)) == *key);
                chosen?;
            }
            rewrites.push(chosen);
            keys.next().filter(|key| *key == exit.interface().id().0)?;
        }
        let mut flood = None;
        if let Group::Flood { leaving, .. } = group {
            let key = GroupId(keys.next()?);
            flood = Some(key).filter(|key| flood_id(*leaving, index_of(*key)) == *key);
            flood?;
        }
        Some(Self { rewrites, flood })
    }
}

/// The ways out of a group.
fn exits(group: &Group) -> &[Exit] {
    match group {
        Group::Exit(exit) => std::slice::from_ref(exit),
        Group::Flood { members, .. } => members,
    }
}

impl Groups {
    /// Makes a group, or counts one more user of it.
    ///
    /// # Errors
    /// [`CommandError`]; nothing is left behind unless the device is dead.
    pub(crate) fn acquire(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        group: &Group,
    ) -> Result<GroupId, CommandError> {
        let (leaving, members) = match group {
            Group::Exit(exit) => return self.acquire_exit(io, control, exit),
            Group::Flood { leaving, members } => (leaving, members),
        };
        if let Some(id) = reuse(&mut self.floods, group) {
            return Ok(id);
        }
        let index = self.flood_indices.take().ok_or(NO_INDEX)?;
        let id = flood_id(*leaving, index);
        let mut made = Vec::with_capacity(members.len());
        let mut outcome = Ok(());
        for exit in members {
            match self.acquire_exit(io, control, exit) {
                Ok(member) => made.push(member),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let outcome = outcome.and_then(|()| control.execute(io, &Command::AddFlood(id, &made)));
        if let Err(error) = outcome {
            self.flood_indices.free.push(index);
            for exit in members[..made.len()].iter().rev() {
                self.release_exit(io, control, exit)?;
            }
            return Err(error);
        }
        self.floods.insert(group.clone(), Held { id, users: 1 });
        Ok(id)
    }

    /// The keys of a group that is held, and of those it leads to.
    pub(crate) fn keys(&self, group: &Group, keys: &mut Vec<u32>) {
        for exit in exits(group) {
            if let Exit::Rewritten(rewrite) = exit {
                keys.extend(self.rewrites.get(rewrite).map(|held| held.id.0));
            }
            keys.push(exit.interface().id().0);
        }
        if let Group::Flood { .. } = group {
            keys.extend(self.floods.get(group).map(|held| held.id.0));
        }
    }

    /// Counts one more user of a group that a former driver made under these keys.
    pub(crate) fn adopt(&mut self, group: &Group, keys: &Keys) {
        if let Some(id) = keys.flood
            && !adopt(&mut self.floods, group, id)
        {
            return;
        }
        for (exit, key) in exits(group).iter().zip(&keys.rewrites) {
            if let (Exit::Rewritten(rewrite), Some(id)) = (exit, key)
                && !adopt(&mut self.rewrites, rewrite, *id)
            {
                continue;
            }
            let id = exit.interface().id();
            adopt(&mut self.interfaces, &id, id);
        }
    }

    /// Whether a group is held.
    pub(crate) fn holds(&self, key: u32) -> bool {
        let is = |held: &Held| held.id.0 == key;
        self.interfaces.contains_key(&GroupId(key))
            || self.rewrites.values().any(is)
            || self.floods.values().any(is)
    }

    /// Takes no index that an adopted group has.
    pub(crate) fn settle_indices(&mut self) {
        self.rewrite_indices = Indices::without(self.rewrites.values());
        self.flood_indices = Indices::without(self.floods.values());
    }

    /// Gives a group up; without users it leaves the device.
    ///
    /// # Errors
    /// [`CommandError`]: the device disagrees about what it holds, or is dead.
    pub(crate) fn release(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        group: &Group,
    ) -> Result<(), CommandError> {
        let members = match group {
            Group::Exit(exit) => return self.release_exit(io, control, exit),
            Group::Flood { members, .. } => members,
        };
        if let Some(id) = leave(&mut self.floods, group) {
            control.execute(io, &Command::DeleteGroup(id))?;
            self.flood_indices.free.push(index_of(id));
            for exit in members.iter().rev() {
                self.release_exit(io, control, exit)?;
            }
        }
        Ok(())
    }

    fn acquire_exit(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        exit: &Exit,
    ) -> Result<GroupId, CommandError> {
        let rewrite = match exit {
            Exit::Plain(interface) => return self.acquire_interface(io, control, *interface),
            Exit::Rewritten(rewrite) => rewrite,
        };
        if let Some(id) = reuse(&mut self.rewrites, rewrite) {
            return Ok(id);
        }
        let index = self.rewrite_indices.take().ok_or(NO_INDEX)?;
        let id = Rewrite::id(index);
        let outcome = self.acquire_interface(io, control, rewrite.interface).and_then(|_| {
            let added = control.execute(io, &Command::AddRewrite(id, rewrite));
            if added.is_err() {
                self.release_interface(io, control, rewrite.interface)?;
            }
            added
        });
        if let Err(error) = outcome {
            self.rewrite_indices.free.push(index);
            return Err(error);
        }
        self.rewrites.insert(*rewrite, Held { id, users: 1 });
        Ok(id)
    }

    fn release_exit(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        exit: &Exit,
    ) -> Result<(), CommandError> {
        if let Exit::Rewritten(rewrite) = exit {
            let Some(id) = leave(&mut self.rewrites, rewrite) else { return Ok(()) };
            control.execute(io, &Command::DeleteGroup(id))?;
            self.rewrite_indices.free.push(index_of(id));
        }
        self.release_interface(io, control, exit.interface())
    }

    fn acquire_interface(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        interface: Interface,
    ) -> Result<GroupId, CommandError> {
        if let Some(id) = reuse(&mut self.interfaces, &interface.id()) {
            return Ok(id);
        }
        control.execute(io, &Command::AddInterface(interface))?;
        let id = interface.id();
        self.interfaces.insert(id, Held { id, users: 1 });
        Ok(id)
    }

    fn release_interface(
        &mut self,
        io: &impl RockerIo,
        control: &mut Control,
        interface: Interface,
    ) -> Result<(), CommandError> {
        match leave(&mut self.interfaces, &interface.id()) {
            Some(id) => control.execute(io, &Command::DeleteGroup(id)),
            None => Ok(()),
        }
    }
}
