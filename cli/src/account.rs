//! Users and groups, from the system's files: no name service is asked.

use std::path::Path;
use std::{fs, io};

/// A user to run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// User id.
    pub uid: u32,
    /// Own group.
    pub gid: u32,
    /// Other groups.
    pub groups: Vec<u32>,
}

/// A group with those that the files say are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Group id.
    pub gid: u32,
    /// User ids of its members, those with it as their own group included.
    pub members: Vec<u32>,
}

/// `/etc/passwd` and `/etc/group`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the system's files; one that is not there is empty.
    ///
    /// # Errors
    /// One that is there cannot be read.
    pub(crate) fn read() -> io::Result<Self> {
        let read = |path: &str| match fs::read_to_string(Path::new(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            result => result,
        };
        Ok(Self { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
    }

    /// (name, uid, gid) of every user.
    fn users(&self) -> impl Iterator<Item = (&str, u32, u32)> {
        self.passwd.lines().filter_map(|line| {
            let mut parts = line.split(':');
            let (name, _) = (parts.next()?, parts.next()?);
            Some((name, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
    }

    /// (name, gid, names of members) of every group.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, Vec<&str>)> {
        self.group.lines().filter_map(|line| {
            let mut parts = line.split(':');
            let (name, _) = (parts.next()?, parts.next()?);
            Some((name, parts.next()?.parse().ok()?, parts.next()?.split(',').collect()))
        })
    }

    /// The user of a name or number.
    pub(crate) fn user(&self, given: &str) -> Option<User> {
        let number: Option<u32> = given.parse().ok();
        let mut users = self.users();
        let found = users.find(|(name, uid, _)| *name == given || Some(*uid) == number);
        let Some((name, uid, gid)) = found else {
            // A number need not be in the files.
            return number.map(|uid| User { uid, gid: uid, groups: Vec::new() });
        };
        let is_in = |group: &(&str, u32, Vec<&str>)| group.2.contains(&name) && group.1 != gid;
        let groups = self.groups().filter(is_in).map(|group| group.1).collect();
        Some(User { uid, gid, groups })
    }

    /// The group of a name or number.
    pub(crate) fn group(&self, given: &str) -> Option<Group> {
        let number: Option<u32> = given.parse().ok();
        let mut groups = self.groups();
        let found = groups.find(|(name, gid, _)| *name == given || Some(*gid) == number);
        let (gid, names) = match found {
            Some((_, gid, names)) => (gid, names),
            None => (number?, Vec::new()),
        };
        let is_in = |(name, _, own): &(&str, u32, u32)| *own == gid || names.contains(name);
        let members = self.users().filter(is_in).map(|(_, uid, _)| uid).collect();
        Some(Group { gid, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nada:x:1001:100::/:\nbad:x:y:1\nbob:x:7:7\n";
        let group = "users:x:100:\nnet:x:50:ada,bob\nbob:x:7:\nshort:x\n";
        Accounts { passwd: passwd.into(), group: group.into() }
    }

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let ada = User { uid: 1001, gid: 100, groups: vec![50] };
        assert_eq!(accounts().user("ada"), Some(ada.clone()));
        assert_eq!(accounts().user("1001"), Some(ada));
        assert_eq!(accounts().user("bad"), None);
        assert_eq!(accounts().user("carl"), None);
        let unknown = User { uid: 4000, gid: 4000, groups: Vec::new() };
        assert_eq!(accounts().user("4000"), Some(unknown));
    }

    #[test]
    fn groups_have_members_by_either_file() {
        assert_eq!(accounts().group("net"), Some(Group { gid: 50, members: vec![1001, 7] }));
        assert_eq!(accounts().group("100"), Some(Group { gid: 100, members: vec![1001] }));
        assert_eq!(accounts().group("short"), None);
    }
}
