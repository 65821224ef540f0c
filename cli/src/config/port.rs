//! `[[port]]`: physical ports with their wires, and tunnel ports.

use super::PortWire;
use super::place::{Fault, Place};
use super::raw::{Located, RawPort, RawTos};
use super::value::value;
use crate::near::nearest;
use std::path::Path;
use std::str::FromStr;
use toml::Spanned;
use twinpath_fallback::wire::WireSpec;
use twinpath_flow::port::{
    MTU_IN_DEFAULT, Mac, OuterTos, Port, PortKind, PortNo, PortTable, PortTableError, Tunnel,
    TunnelKind,
};

const TABLE: &str = "[[port]]";

/// The port table of all `[[port]]` sections.
///
/// # Errors
/// The first section that is wrong, or does not go with the others.
pub(crate) fn table(raw: &[Spanned<RawPort>]) -> Result<PortTable, Located> {
    let ports = raw.iter().map(port).collect::<Result<Vec<_>, _>>()?;
    PortTable::new(ports).map_err(|error| (span_of(raw, &error), Fault::Ports(error)))
}

/// The wire of a physical port, `null` if it names none; `None` for a tunnel port.
///
/// # Errors
/// The text of the wire is wrong.
pub(crate) fn wire(raw: &RawPort, path: &Path, text: &str) -> Result<Option<PortWire>, Located> {
    if raw.kind.is_some() {
        return Ok(None);
    }
    let parse = |wire: &Spanned<String>| {
        WireSpec::from_str(wire.get_ref()).map_err(|error| (wire.span(), Fault::WireSpec(error)))
    };
    let number = raw.number.as_ref().expect("the port table was made of it before");
    let span = raw.wire.as_ref().map_or_else(|| number.span(), Spanned::span);
    Ok(Some(PortWire {
        number: PortNo(u16::try_from(*number.get_ref()).expect("checked by the port table")),
        wire: raw.wire.as_ref().map_or(Ok(WireSpec::Null), parse)?,
        standby: raw.standby.as_ref().map(parse).transpose()?,
        place: Place::of(path, text, &span),
    }))
}

/// Where the number, name or section stands that a table error complains about; for pairs, the
/// later one.
fn span_of(raw: &[Spanned<RawPort>], error: &PortTableError) -> std::ops::Range<usize> {
    let numbered = |wanted: u16| {
        let mut numbers = raw.iter().filter_map(|port| port.get_ref().number.as_ref());
        numbers.rfind(|number| *number.get_ref() == i64::from(wanted)).map(Spanned::span)
    };
    let found = match error {
        PortTableError::DuplicateName(name) => {
            let mut names = raw.iter().filter_map(|port| port.get_ref().name.as_ref());
            names.rfind(|given| given.get_ref() == name).map(Spanned::span)
        }
        PortTableError::DuplicateNumber(number) | PortTableError::NumberOutOfRange(number) => {
            numbered(*number)
        }
        PortTableError::TunnelOverNothing { tunnel, .. } => raw
            .iter()
            .map(Spanned::get_ref)
            .find(|port| port.number.as_ref().is_some_and(|n| *n.get_ref() == i64::from(*tunnel)))
            .and_then(|port| port.over.as_ref().map(Spanned::span)),
        PortTableError::SameTunnel(_, later) => numbered(*later),
    };
    found.unwrap_or(0..0)
}

fn port(spanned: &Spanned<RawPort>) -> Result<Port, Located> {
    let raw = spanned.get_ref();
    let missing = |key| (spanned.span(), Fault::MissingKey { key, table: TABLE });
    let number_given = raw.number.as_ref().ok_or_else(|| missing("number"))?;
    let number =
        value("port number", number_given, "between 1 and 65279", |n| u16::try_from(*n).ok())?;
    let mtu = raw
        .mtu
        .as_ref()
        .map(|mtu| {
            value("mtu", mtu, "between 64 and 9216", |n| {
                u16::try_from(*n).ok().filter(|n| (64..=MTU_IN_DEFAULT).contains(n))
            })
        })
        .transpose()?;
    let kind = match &raw.kind {
        None => physical(raw)?,
        Some(kind) => PortKind::Tunnel(tunnel(raw, kind, &missing)?),
    };
    let name = raw.name.as_ref().map_or_else(|| format!("port{number}"), |n| n.get_ref().clone());
    let mtu_in = mtu.unwrap_or(MTU_IN_DEFAULT);
    Ok(Port { number: PortNo(number), name, mtu_out: mtu, mtu_in, kind })
}

fn physical(raw: &RawPort) -> Result<PortKind, Located> {
    let spans = [
        ("over", raw.over.as_ref().map(Spanned::span)),
        ("local_ip", raw.local_ip.as_ref().map(Spanned::span)),
        ("remote_ip", raw.remote_ip.as_ref().map(Spanned::span)),
        ("local_mac", raw.local_mac.as_ref().map(Spanned::span)),
        ("peer_mac", raw.peer_mac.as_ref().map(Spanned::span)),
        ("tos", raw.tos.as_ref().map(Spanned::span)),
        ("ttl", raw.ttl.as_ref().map(Spanned::span)),
        ("qfi", raw.qfi.as_ref().map(Spanned::span)),
    ];
    for (key, span) in spans {
        if let Some(span) = span {
            return Err((span, Fault::KeyOfOther { key, kind: "physical" }));
        }
    }
    Ok(PortKind::Physical)
}

fn tunnel(
    raw: &RawPort,
    kind: &Spanned<String>,
    missing: &dyn Fn(&'static str) -> Located,
) -> Result<Tunnel, Located> {
    let (kind, gtpu) = match kind.get_ref().as_str() {
        "gtpu" => (TunnelKind::Gtpu, true),
        "vxlan" => (TunnelKind::Vxlan, false),
        "geneve" => (TunnelKind::Geneve, false),
        given => {
            let nearest = nearest(given, &["gtpu", "vxlan", "geneve"]);
            let expected = "\"gtpu\", \"vxlan\" or \"geneve\"";
            let given = given.to_owned();
            let fault = Fault::UnknownWord { what: "port type", given, nearest, expected };
            return Err((kind.span(), fault));
        }
    };
    for (key, wire) in [("wire", &raw.wire), ("standby", &raw.standby)] {
        if let Some(wire) = wire {
            return Err((wire.span(), Fault::KeyOfOther { key, kind: "tunnel" }));
        }
    }
    if let (Some(qfi), false) = (&raw.qfi, gtpu) {
        let kind = "VXLAN or Geneve";
        return Err((qfi.span(), Fault::KeyOfOther { key: "qfi", kind }));
    }
    let over = raw.over.as_ref().ok_or_else(|| missing("over"))?;
    let local_ip = raw.local_ip.as_ref().ok_or_else(|| missing("local_ip"))?;
    let local_mac = raw.local_mac.as_ref().ok_or_else(|| missing("local_mac"))?;
    let peer_mac = raw.peer_mac.as_ref().ok_or_else(|| missing("peer_mac"))?;
    let address = |text: &String| text.parse().ok();
    let remote_ip = match &raw.remote_ip {
        Some(word) if word.get_ref() == "flow" => None,
        Some(word) => Some(value("remote_ip", word, "an IPv4 address or \"flow\"", address)?),
        None => return Err(missing("remote_ip")),
    };
    let byte = |n: &i64| u8::try_from(*n).ok();
    let qfi = |n: &i64| byte(n).filter(|qfi| *qfi < 64);
    Ok(Tunnel {
        kind,
        over: PortNo(value("over", over, "a port number", |n| u16::try_from(*n).ok())?),
        local_ip: value("local_ip", local_ip, "an IPv4 address", address)?,
        remote_ip,
        local_mac: value("local_mac", local_mac, "a MAC address", |text| mac(text))?,
        peer_mac: value("peer_mac", peer_mac, "a MAC address", |text| mac(text))?,
        tos: tos(raw)?,
        ttl: raw.ttl.as_ref().map_or(Ok(64), |ttl| {
            value("ttl", ttl, "between 1 and 255", |n| byte(n).filter(|ttl| *ttl > 0))
        })?,
        qfi: raw.qfi.as_ref().map(|n| value("qfi", n, "between 0 and 63", qfi)).transpose()?,
    })
}

fn tos(raw: &RawPort) -> Result<OuterTos, Located> {
    let Some(given) = &raw.tos else { return Ok(OuterTos::Fixed(0)) };
    let (fixed, shown) = match given.get_ref() {
        RawTos::Word(word) if word == "inherit" => return Ok(OuterTos::Inherit),
        RawTos::Word(word) => (word.parse().ok(), word.clone()),
        RawTos::Number(number) => (u8::try_from(*number).ok(), number.to_string()),
    };
    let expected = "\"inherit\" or between 0 and 255";
    let fault = Fault::Value { what: "tos", given: shown, expected };
    fixed.map(OuterTos::Fixed).ok_or_else(|| (given.span(), fault))
}

fn mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}
