//! Whom a run is: the user it becomes once all is open, and its control socket.

use crate::account::Accounts;
use crate::config::{Config, Device, Parties};
use crate::control::path::{SocketError, default_socket};
use crate::control::peer::Trust;
use crate::control::server::Server;
use crate::failure::Failure;
use crate::privileges::{self, Later};
use anyhow::Context as _;
use rustix::process::geteuid;

/// Looks up whom the configuration names, or the command line instead.
///
/// # Errors
/// There is no such user or group.
pub(super) fn parties(config: &mut Config, user: Option<&str>) -> Result<Parties, Failure> {
    if let Some(user) = user {
        config.security.set_user(user);
    }
    let accounts = Accounts::read().context("users and groups").map_err(Failure::run)?;
    let found = config.security.look_up(&accounts);
    found.map_err(|(span, fault)| config.at(&span, fault).into())
}

/// The control socket; a default one that cannot be made is done without, a configured one not.
///
/// # Errors
/// It cannot be made, or another instance has it.
pub(super) fn open_control(config: &Config, parties: &Parties) -> Result<Option<Server>, Failure> {
    let path = config.control.clone().unwrap_or_else(|| default_socket(&config.name()));
    let owner = parties.user.as_ref().map(|user| user.uid);
    let users = owner.into_iter().chain([geteuid().as_raw()]).collect();
    let trust = Trust { users, group: parties.group.clone() };
    match Server::open_for(&path, config.security.control_mode, owner, trust) {
        Ok(server) => Ok(Some(server)),
        Err(error @ SocketError::System { .. }) if config.control.is_none() => {
            tracing::warn!("no control socket: {error}");
            Ok(None)
        }
        Err(error) => Err(Failure::run(error)),
    }
}

/// Gives up privileges when the wires are open, unless a function is still to be opened.
///
/// # Errors
/// The system refuses.
pub(super) fn settle_wires(config: &Config, parties: &Parties) -> Result<(), Failure> {
    if matches!(config.device, Device::Vfio(_)) { Ok(()) } else { settle(config, parties) }
}

/// Gives up privileges: everything is open.
///
/// # Errors
/// The system refuses.
pub(super) fn settle(config: &Config, parties: &Parties) -> Result<(), Failure> {
    let standby = config.wires.iter().any(|wire| wire.standby.is_some());
    let later = if standby { Later::Wires } else { Later::Nothing };
    if let Some(user) = &parties.user {
        privileges::become_user(user, later).map_err(Failure::run)?;
    }
    privileges::seal().map_err(Failure::run)
}
