//! Groups in the device, each once, counted by their users: made before what points at them,
//! removed after.

use super::command::Command;
use super::control::{CommandError, Control};
use super::group::{Exit, Group, GroupId, Interface, Rewrite, flood_id};
use super::io::RockerIo;
use std::collections::HashMap;
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
