//! Random actions that fit a match.

use super::{IPV4, IPV6, MACS, PORTS, Random, TUNNEL_IDS, VIDS};
use crate::action::{Action, OutPort};
use crate::check::Checker;
use crate::field::Field;
use crate::frame::{ethernet, number};
use crate::key::{MaskedKey, VLAN_PRESENT};
use crate::port::PortTable;

/// Fields that are tried as targets of a set.
const TARGETS: [Field; 16] = [
    Field::EthDst,
    Field::EthSrc,
    Field::VlanTci,
    Field::VlanTci,
    Field::IpSrc,
    Field::IpDst,
    Field::IpTos,
    Field::IpTtl,
    Field::L4Src,
    Field::L4Dst,
    Field::FlowLabel,
    Field::NdTarget,
    Field::ArpSha,
    Field::ArpTha,
    Field::IpProto,
    Field::TunId,
];

/// Up to `count_max` actions that `checker` admits, after those it has seen.
pub(super) fn actions(
    random: &mut Random,
    ports: &PortTable,
    checker: &mut Checker,
    count_max: usize,
) -> Vec<Action> {
    let mut list = Vec::new();
    let count = random.below(count_max + 1);
    // Ends: forty tries, whatever is admitted.
    for _ in 0..40 {
        if list.len() == count {
            break;
        }
        let action = action(random, ports, checker.matching());
        if checker.admit(&action).is_ok() {
            list.push(action);
        }
    }
    list
}

fn action(random: &mut Random, ports: &PortTable, matching: &MaskedKey) -> Action {
    match random.below(10) {
        0..=3 => Action::Output(out_port(random, ports)),
        4 => Action::DecTtl,
        5 if random.chance(50) => Action::PopVlan,
        5 => Action::PushVlan(random.pick(&[ethernet::TYPE_VLAN, ethernet::TYPE_VLAN_SERVICE])),
        _ => set_field(random, ports, matching),
    }
}

fn out_port(random: &mut Random, ports: &PortTable) -> OutPort {
    let numbers: Vec<_> = ports.iter().map(|port| port.number).collect();
    match random.below(20) {
        0 => OutPort::InPort,
        1 => OutPort::All,
        2 => OutPort::Flood,
        3 => OutPort::Controller { max_len: 65535 },
        _ => OutPort::Number(random.pick(&numbers)),
    }
}

fn set_field(random: &mut Random, ports: &PortTable, matching: &MaskedKey) -> Action {
    let is_v6 = matching.value.get(Field::EthType) == u128::from(ethernet::TYPE_IPV6);
    let is_icmp = matches!(matching.value.get(Field::IpProto), 1 | 58);
    let mut field = random.pick(&TARGETS);
    if field == Field::TunId && ports.tunnels().next().is_none() {
        field = Field::EthDst;
    }
    let full = field.full_mask();
    let (value, mask) = match field {
        Field::VlanTci if random.chance(40) => (u128::from(random.byte() & 7) << 13, 0xe000),
        Field::VlanTci => (u128::from(random.pick(&VIDS) | VLAN_PRESENT), 0x1fff),
        Field::IpSrc | Field::IpDst if is_v6 => (random.pick(&IPV6), full),
        Field::IpSrc | Field::IpDst => {
            let mask = random.pick(&[0xffff_ffff, 0xffff_ffff, 0x0000_ffff]);
            (u128::from(random.pick(&IPV4)) & mask, mask)
        }
        Field::IpTos if random.chance(30) => (u128::from(random.byte() & 3), 3),
        Field::IpTos => (u128::from(random.byte() & 0xfc), 0xfc),
        Field::IpTtl => (random.pick(&[64, 3, 2, 1]), full),
        Field::L4Src | Field::L4Dst if is_icmp => (u128::from(random.byte() & 0x0f), 0xff),
        Field::L4Src | Field::L4Dst => (u128::from(random.pick(&PORTS)), full),
        Field::FlowLabel => (0x12345, full),
        Field::NdTarget => (random.pick(&IPV6), full),
        Field::IpProto => (random.pick(&[1, 2]), full),
        Field::TunId => (u128::from(random.pick(&TUNNEL_IDS)), full),
        _ => (number(&random.pick(&MACS)), full),
    };
    Action::SetField { field, value, mask }
}
