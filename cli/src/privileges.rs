//! What a run may do once all is open: as another user, with no more capabilities than it needs.
//!
//! The system's calls change one thread; they are made while there is one.

use crate::account::User;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::fs;

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DropError {
    /// Only root may become somebody else.
    #[error("user: only root can become user {0}; start as root, or as that user without `user`")]
    NotRoot(u32),
    /// Other threads would keep what they have.
    #[error("user: {0} threads run already")]
    Threads(usize),
    /// The system refuses.
    #[error("user: cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: Errno,
    },
}

/// What is opened later, while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// Nothing that needs a privilege.
    Nothing,
    /// Wires that stand by: sockets on interfaces, TAP interfaces, AF_XDP.
    Wires,
}

impl Later {
    const fn needs(self) -> CapabilitySet {
        match self {
            Self::Nothing => CapabilitySet::empty(),
            Self::Wires => CapabilitySet::NET_RAW
                .union(CapabilitySet::NET_ADMIN)
                .union(CapabilitySet::BPF)
                .union(CapabilitySet::IPC_LOCK),
        }
    }
}

/// Whoever runs: no program that is started gains a privilege, by any bit of its file.
///
/// # Errors
/// The system refuses.
pub(crate) fn seal() -> Result<(), DropError> {
    set_no_new_privs(true)
        .map_err(|source| DropError::System { action: "renounce new privileges", source })
}

/// Becomes `user` for good, keeping what is needed `later`. Nothing happens when the run is that
/// user's already.
///
/// # Errors
/// [`DropError`]; the run must end then, for it may be somewhere between.
pub(crate) fn become_user(user: &User, later: Later) -> Result<(), DropError> {
    let me = geteuid();
    if !me.is_root() {
        return if me.as_raw() == user.uid { Ok(()) } else { Err(DropError::NotRoot(user.uid)) };
    }
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(DropError::Threads(threads));
    }
    let system = |action| move |source| DropError::System { action, source };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_keep_capabilities(true).map_err(system("keep capabilities"))?;
    set_thread_groups(&groups).map_err(system("set its groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(system("take its group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(system("become it"))?;
    let kept = later.needs();
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(system("give up capabilities"))?;
    set_keep_capabilities(false).map_err(system("give up capabilities"))
}
