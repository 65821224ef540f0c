//! Commands: what is demanded, what is ignored, and what would crash.

use super::State;
use super::pipeline::{Flow, Group};

/// TLVs as the device reads them: unknown ones ignored, the last of a type wins, silence at the
/// first that is broken.
pub(crate) struct Attributes(Vec<(u32, Vec<u8>)>);

pub(crate) fn put(out: &mut Vec<u8>, kind: u32, value: &[u8]) {
    out.extend(kind.to_le_bytes());
    out.extend((8 + value.len() as u16).to_le_bytes());
    out.extend([0, 0]);
    out.extend(value);
    out.resize(out.len().next_multiple_of(8), 0);
}

impl Attributes {
    pub(crate) fn read(mut bytes: &[u8]) -> Self {
        let mut found = Vec::new();
        while bytes.len() >= 8 {
            let kind = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            let length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
            if length < 8 || length > bytes.len() {
                break;
            }
            found.push((kind, bytes[8..length].to_vec()));
            bytes = &bytes[length.next_multiple_of(8).min(bytes.len())..];
        }
        Self(found)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        self.0.iter().map(|(_, value)| Self::read(value))
    }

    fn value(&self, kind: u32) -> Option<&[u8]> {
        self.0.iter().rev().find(|(found, _)| *found == kind).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn nest(&self, kind: u32) -> Option<Self> {
        self.value(kind).map(Self::read)
    }

    /// Little-endian.
    pub(crate) fn number(&self, kind: u32) -> Option<u64> {
        let mut bytes = [0; 8];
        let value = self.value(kind)?;
        bytes[..value.len()].copy_from_slice(value);
        Some(u64::from_le_bytes(bytes))
    }

    fn small(&self, kind: u32) -> Option<u32> {
        self.number(kind).map(|number| number as u32)
    }

    /// Network order.
    fn word(&self, kind: u32) -> Option<u16> {
        self.value(kind).map(|value| u16::from_be_bytes([value[0], value[1]]))
    }

    fn mac(&self, kind: u32) -> Option<[u8; 6]> {
        self.value(kind).map(|value| value.try_into().unwrap())
    }
}

const EINVAL: u16 = 22;
const ENOENT: u16 = 2;
const EEXIST: u16 = 17;

type Answer = Result<Option<Vec<u8>>, u16>;

impl State {
    /// Carries a command out: error number and reply.
    pub(crate) fn command(&mut self, request: &[u8]) -> (u16, Option<Vec<u8>>) {
        self.commands += 1;
        let scripted = self.script.pop_front().unwrap_or(0);
        if scripted != 0 {
            return (scripted, None);
        }
        let request = Attributes::read(request);
        let (Some(kind), Some(info)) = (request.number(1), request.nest(2)) else {
            return (EINVAL, None);
        };
        let answer = match kind {
            1 | 2 => self.port_settings(kind == 2, &info),
            3 => self.flow_add(&info),
            5 => self.flow_delete(&info),
            7 => self.group_add(&info),
            9 => self.group_delete(&info),
            4 | 8 => {
                self.note("MOD: not atomic");
                Err(EINVAL)
            }
            _ => Err(EINVAL),
        };
        answer.map_or_else(|error| (error, None), |reply| (0, reply))
    }

    fn port_settings(&mut self, set: bool, info: &Attributes) -> Answer {
        let port = info.small(1).filter(|port| (1..=62).contains(port)).ok_or(EINVAL)?;
        if port > self.ports {
            self.note("port settings of an absent port");
            return Err(EINVAL);
        }
        if set {
            let bit = 1 << port;
            if let Some(learning) = info.number(7) {
                self.learning =
                    if learning == 0 { self.learning & !bit } else { self.learning | bit };
            }
            return Ok(None);
        }
        let (mut reply, mut settings) = (Vec::new(), Vec::new());
        put(&mut settings, 1, &port.to_le_bytes());
        put(&mut settings, 5, &[0x52, 0x54, 0, 0x12, 0x35, port as u8]);
        put(&mut reply, 2, &settings);
        Ok(Some(reply))
    }

    fn flow_add(&mut self, info: &Attributes) -> Answer {
        let cookie = info.number(5).ok_or(EINVAL)?;
        if self.flows.contains_key(&cookie) {
            return Err(EEXIST);
        }
        let table = info.small(1).ok_or(EINVAL)?;
        let priority = info.small(2).ok_or(EINVAL)?;
        info.number(3).ok_or(EINVAL)?;
        let mut flow = Flow { table, priority, ..Flow::default() };
        match table {
            10 => self.vlan_flow(&mut flow, info)?,
            60 => acl_flow(&mut flow, info)?,
            _ => self.note("a table the driver has no business with"),
        }
        self.flows.insert(cookie, flow);
        Ok(None)
    }

    fn vlan_flow(&mut self, flow: &mut Flow, info: &Attributes) -> Result<(), u16> {
        let port = info.small(6).filter(|port| (1..=62).contains(port)).ok_or(EINVAL)?;
        flow.in_port = (port, u32::MAX);
        flow.tci = (info.word(14).ok_or(EINVAL)?, info.word(15).unwrap_or(0));
        if flow.tci.0 != 0 && flow.tci.1 == 0 {
            self.note("VLAN rule that an untagged frame matches without getting a tag");
        }
        if flow.tci.0 == 0 {
            let vlan = info.word(19).filter(|vlan| (1..=4095).contains(vlan)).ok_or(EINVAL)?;
            flow.insert = Some(vlan);
        }
        flow.goto = info.small(9);
        if flow.goto.is_some_and(|goto| goto != 20) { Err(EINVAL) } else { Ok(()) }
    }

    fn flow_delete(&mut self, info: &Attributes) -> Answer {
        let cookie = info.number(5).ok_or(EINVAL)?;
        self.flows.remove(&cookie).map(|_| None).ok_or(ENOENT)
    }

    fn group_add(&mut self, info: &Attributes) -> Answer {
        let id = info.small(10).ok_or(EINVAL)?;
        if self.groups.contains_key(&id) {
            return Err(EEXIST);
        }
        let group = match id >> 28 {
            0 => {
                let port = info.small(8).ok_or(EINVAL)?;
                Group::Interface { port, pop: info.number(59).ok_or(EINVAL)? != 0 }
            }
            1 => {
                let lower = info.small(11).ok_or(EINVAL)?;
                let vlan = info.word(14).unwrap_or(0);
                let known = lower >> 28 == 0 && self.groups.contains_key(&lower);
                let agrees = vlan == 0 || u32::from(vlan & 0xfff) == lower >> 16 & 0xfff;
                if !known || !agrees {
                    return Err(EINVAL);
                }
                let mac = |kind| info.mac(kind).unwrap_or_default();
                Group::Rewrite { lower, source: mac(26), destination: mac(24), vlan }
            }
            4 => self.flood(id, info)?,
            _ => return Err(95),
        };
        self.groups.insert(id, group);
        Ok(None)
    }

    fn flood(&mut self, id: u32, info: &Attributes) -> Result<Group, u16> {
        let count = info.number(12).ok_or(EINVAL)? as usize;
        let list = info.nest(13).ok_or(EINVAL)?;
        let members: Vec<_> = (1..).map_while(|number| list.small(number)).collect();
        if members.len() != count {
            self.note("a flood group that counts more members than it lists");
        }
        let agrees = |member: &u32| member >> 28 != 0 || member >> 16 & 0xfff == id >> 16 & 0xfff;
        if members.iter().all(agrees) { Ok(Group::Flood(members)) } else { Err(EINVAL) }
    }

    fn group_delete(&mut self, info: &Attributes) -> Answer {
        let id = info.small(10).ok_or(EINVAL)?;
        self.groups.remove(&id).map(|_| None).ok_or(ENOENT)
    }
}

fn acl_flow(flow: &mut Flow, info: &Attributes) -> Result<(), u16> {
    flow.in_port = (info.small(6).ok_or(EINVAL)?, info.small(7).unwrap_or(0));
    flow.ethertype = info.word(23).ok_or(EINVAL)?;
    flow.tci = (info.word(14).filter(|vlan| *vlan != 0).ok_or(EINVAL)?, info.word(15).unwrap_or(0));
    let mac = |kind| info.mac(kind).unwrap_or_default();
    flow.destination = (mac(24), mac(25));
    flow.source = (mac(26), mac(27));
    if matches!(flow.ethertype, 0x0800 | 0x86dd) {
        let byte = |kind| info.number(kind).unwrap_or(0) as u8;
        flow.protocol = (byte(28), byte(29));
        flow.tos = (byte(30), byte(31));
    }
    flow.group = info.small(10).unwrap_or(0);
    Ok(())
}
