//! Whom a run is, and who may talk to it.

use super::place::Fault;
use super::raw::{Located, RawConfig};
use crate::account::{Accounts, Group, User};
use std::ops::Range;
use toml::Spanned;

/// Mode of the control socket unless the file says otherwise.
const CONTROL_MODE: u32 = 0o600;
const CONTROL_MODE_EXPECTED: &str = "a file mode such as \"0660\", the owner's rw in it";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Security {
    user: Option<(String, Range<usize>)>,
    group: Option<(String, Range<usize>)>,
    /// Mode of the control socket.
    pub control_mode: u32,
}

/// The same, looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parties {
    /// Whom the run becomes.
    pub user: Option<User>,
    /// Who besides root and the run's own user may change things.
    pub group: Option<Group>,
}

fn text(given: Option<&Spanned<String>>) -> Option<(String, Range<usize>)> {
    given.map(|given| (given.get_ref().clone(), given.span()))
}

impl Security {
    /// What the file says.
    ///
    /// # Errors
    /// The mode is none.
    pub(super) fn read(raw: &RawConfig) -> Result<Self, Located> {
        let group = text(raw.control_group.as_ref());
        let usual = if group.is_some() { 0o660 } else { CONTROL_MODE };
        let control_mode = raw.control_mode.as_ref().map_or(Ok(usual), |given| {
            let digits = given.get_ref();
            let mode = u32::from_str_radix(digits, 8).ok();
            mode.filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600).ok_or_else(|| {
                let (given_text, expected) = (digits.clone(), CONTROL_MODE_EXPECTED);
                (given.span(), Fault::Value { what: "control_mode", given: given_text, expected })
            })
        })?;
        Ok(Self { user: text(raw.user.as_ref()), group, control_mode })
    }

    /// Makes it another user, as the command line says.
    pub(crate) fn set_user(&mut self, user: &str) {
        self.user = Some((user.to_owned(), 0..0));
    }

    /// Looks user and group up.
    ///
    /// # Errors
    /// There is no such user or group; the place, for a complaint.
    pub(crate) fn look_up(&self, accounts: &Accounts) -> Result<Parties, Located> {
        let missing = |what, (given, span): &(String, Range<usize>), expected| {
            (span.clone(), Fault::Value { what, given: given.clone(), expected })
        };
        let user = self.user.as_ref().map(|given| {
            let expected = "a user of /etc/passwd, or a number";
            accounts.user(&given.0).ok_or_else(|| missing("user", given, expected))
        });
        let group = self.group.as_ref().map(|given| {
            let expected = "a group of /etc/group, or a number";
            accounts.group(&given.0).ok_or_else(|| missing("control_group", given, expected))
        });
        Ok(Parties { user: user.transpose()?, group: group.transpose()? })
    }
}
