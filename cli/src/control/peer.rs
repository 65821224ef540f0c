//! Who is at the other end of the control socket, and what they may do.
//!
//! The socket's mode says who may connect at all. Of those, root, the run's own user and the
//! members of `control_group` may change things; others may only look.

use crate::account::Group;
use std::os::fd::AsFd;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Everything.
    Trusted,
    /// Look.
    Onlooker(u32),
}

/// Who is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Users besides root.
    pub users: Vec<u32>,
    /// A group and its members.
    pub group: Option<Group>,
}

impl Trust {
    /// What the peer of `socket` may do; `None` when the system does not say who it is.
    pub(crate) fn judge(&self, socket: impl AsFd) -> Option<Standing> {
        let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
        Some(self.standing(peer.uid.as_raw(), peer.gid.as_raw()))
    }

    fn standing(&self, uid: u32, gid: u32) -> Standing {
        let grouped = self
            .group
            .as_ref()
            .is_some_and(|group| group.gid == gid || group.members.contains(&uid));
        if uid == 0 || self.users.contains(&uid) || grouped {
            Standing::Trusted
        } else {
            Standing::Onlooker(uid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_own_user_and_group_are_trusted_and_nobody_else() {
        let group = Some(Group { gid: 50, members: vec![1001] });
        let trust = Trust { users: vec![7], group };
        for (uid, gid) in [(0, 0), (7, 9), (1001, 100), (12, 50)] {
            assert_eq!(trust.standing(uid, gid), Standing::Trusted);
        }
        assert_eq!(trust.standing(12, 51), Standing::Onlooker(12));
        assert_eq!(Trust::default().standing(1, 50), Standing::Onlooker(1));
    }
}
