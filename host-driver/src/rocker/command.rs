//! Commands: what the driver may ask of the device, and no more.
//!
//! `FLOW_MOD` and `GROUP_MOD` do not exist here: the first leaves a half-changed flow behind when
//! it fails, one whose packets then loop until QEMU crashes. A change is a delete and an add.

use super::attribute as attr;
use super::group::{self, GroupId, Interface, Rewrite};
use super::port::Pport;
use super::rule::{Cookie, Rule};
use super::tlv::{TooLong, Writer};

/// Bytes of the buffer for a command: a flood group of 62 members takes 1,048.
pub(crate) const BUFFER_BYTES: u16 = 2048;

/// A command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    /// Asks for a port's settings.
    Settings(Pport),
    /// Announces no source addresses: the host learns from misses.
    StopLearning(Pport),
    /// Adds a flow.
    AddFlow(Cookie, &'a Rule),
    /// Deletes a flow.
    DeleteFlow(Cookie),
    /// Adds an L2 interface group.
    AddInterface(Interface),
    /// Adds an L2 rewrite group.
    AddRewrite(GroupId, &'a Rewrite),
    /// Adds an L2 flood group.
    AddFlood(GroupId, &'a [GroupId]),
    /// Deletes a group.
    DeleteGroup(GroupId),
}

impl Command<'_> {
    /// The request.
    ///
    /// # Errors
    /// [`TooLong`] when it does not fit the buffer.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let mut writer = Writer::default();
        writer.word(attr::COMMAND_TYPE, self.kind());
        writer.nest(attr::COMMAND_INFO, |info| self.write(info));
        writer.finish(usize::from(BUFFER_BYTES))
    }

    const fn kind(&self) -> u16 {
        match self {
            Self::Settings(_) => attr::GET_PORT_SETTINGS,
            Self::StopLearning(_) => attr::SET_PORT_SETTINGS,
            Self::AddFlow(..) => attr::FLOW_ADD,
            Self::DeleteFlow(_) => attr::FLOW_DEL,
            Self::AddInterface(_) | Self::AddRewrite(..) | Self::AddFlood(..) => attr::GROUP_ADD,
            Self::DeleteGroup(_) => attr::GROUP_DEL,
        }
    }

    fn write(&self, info: &mut Writer) {
        match self {
            Self::Settings(port) => info.double(attr::SETTING_PPORT, port.number()),
            Self::StopLearning(port) => {
                info.double(attr::SETTING_PPORT, port.number());
                info.byte(attr::SETTING_LEARNING, 0);
            }
            Self::AddFlow(cookie, rule) => rule.write(*cookie, info),
            Self::DeleteFlow(cookie) => info.quad(attr::COOKIE, cookie.0),
            Self::AddInterface(interface) => interface.write(info),
            Self::AddRewrite(id, rewrite) => rewrite.write(*id, info),
            Self::AddFlood(id, members) => group::write_flood(*id, members, info),
            Self::DeleteGroup(id) => info.double(attr::GROUP_ID, id.0),
        }
    }
}
