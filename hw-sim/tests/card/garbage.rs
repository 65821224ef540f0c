//! Whatever host and wire do, the card answers, drops or faults; it never panics.

use crate::host::{Host, entry, frame, ternary};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use twinpath_abi::bus::Bus;
use twinpath_abi::command::{Command, Holding, Operand};
use twinpath_abi::entry::{ENTRY_BYTES, EntryImage, SETTABLE_BYTES};
use twinpath_abi::register as reg;
use twinpath_abi::tunnel::{TunnelImage, TunnelKind};

/// Mostly frames that get deep into the parser, with a few bytes changed and the end cut off.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let outer = |port: u16, payload: &[u8]| {
        let mut bytes = frame(7, 1);
        bytes.truncate(42);
        bytes[36..38].copy_from_slice(&port.to_be_bytes());
        bytes.extend_from_slice(payload);
        let total = u16::try_from(bytes.len() - 14).unwrap().to_be_bytes();
        bytes[16..18].copy_from_slice(&total);
        bytes
    };
    let gtp = outer(
        2152,
        &[&[0x34, 255, 0, 40, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0][..], &frame(7, 2)[14..]]
            .concat(),
    );
    let vxlan = outer(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &frame(7, 2)].concat());
    let mut tagged = frame(7, 3);
    tagged.splice(12..12, [0x88, 0xa8, 0, 5, 0x81, 0, 0x20, 6]);
    let mut ipv6 = frame(7, 4);
    ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    ipv6.splice(14.., [0x60, 0, 0, 0, 0, 16, 0, 64]);
    ipv6.extend([1; 32]);
    ipv6.extend([17, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 8, 0, 0]);
    let base = prop_oneof![
        Just(frame(7, 1)),
        Just(gtp),
        Just(vxlan),
        Just(tagged),
        Just(ipv6),
        vec(any::<u8>(), 0..200),
    ];
    let changes = vec((any::<u16>(), any::<u8>()), 0..4);
    (base, changes, any::<u16>()).prop_map(|(mut bytes, changes, cut)| {
        for (at, value) in changes {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(usize::from(at) % length) {
                *byte = value;
            }
        }
        // One in four is cut off.
        if cut % 4 == 0 {
            bytes.truncate(usize::from(cut) / 4 % (bytes.len() + 1));
        }
        bytes
    })
}

/// An entry that matches everything and does anything.
fn any_entry() -> impl Strategy<Value = EntryImage> {
    let numbers = (any::<u64>(), any::<u64>(), any::<[u8; 8]>());
    (vec(any::<u8>(), 64), numbers).prop_map(|(set, (byte_mask, choice, small))| {
        let mut image = entry(1, 7, choice & 0xf);
        image.mask = [0; 64];
        image.matching = [0; 64];
        image.set = set.try_into().unwrap();
        let edit = &mut image.edit;
        edit.byte_mask = byte_mask & SETTABLE_BYTES;
        edit.tos_mask = small[0];
        edit.tci_mask = u16::from(small[1]) << 4;
        edit.ttl_decrements = small[2] % 4;
        edit.pops = small[3] % 3;
        let push = twinpath_abi::entry::Push { tpid: 0x8100, tci: 7 };
        edit.pushes = [(small[4] & 1 == 1).then_some(push), (small[4] & 3 == 3).then_some(push)];
        edit.tunnel = (small[5] & 1 == 1).then_some(u16::from(small[5] >> 6));
        edit.qfi = (small[6] & 1 == 1).then_some(small[6]);
        edit.to_host = (small[7] & 1 == 1).then_some(9);
        image
    })
}

fn set_tunnels(host: &mut Host) {
    let kinds = [(TunnelKind::Vxlan, 4789), (TunnelKind::Geneve, 6081), (TunnelKind::Gtpu, 2152)];
    for (index, (kind, udp_port)) in (0..).zip(kinds) {
        let tunnel = TunnelImage {
            number: 100,
            kind,
            over: 0,
            udp_port,
            local_ip: [10, 0, 0, 7],
            remote_ip: Some([10, 0, 1, 1]),
            local_mac: [2; 6],
            peer_mac: [4; 6],
            tos: None,
            ttl: 64,
            qfi: None,
        };
        let image = host.operand(&tunnel.encode());
        host.done(Command::SetTunnel { index, image });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_frame_meets_any_entry(
        image in any_entry(),
        frames in vec((0_usize..9, wire()), 1..40),
    ) {
        let mut host = Host::new("tiny");
        set_tunnels(&mut host);
        assert_eq!(host.add(ternary(0, 1), &image, Holding::Direct).status, 0);
        for (port, frame) in frames {
            host.card.port_in(port, &frame, host.now);
            host.settle();
            host.receive_all();
        }
        let sum = |register| (0..4).map(|port| host.port_counter(port, register)).sum::<u64>();
        let ended = [reg::port::RX_TOO_LONG, reg::port::RX_OVERRUN, reg::port::DECIDED, reg::port::MISSED];
        assert_eq!(sum(reg::port::RX_PACKETS), ended.into_iter().map(sum).sum::<u64>());
    }

    #[test]
    fn any_registers_and_rings_are_survived(
        registers in vec((0_u32..0x5000, any::<u32>()), 0..40),
        sane in vec((0_usize..3, any::<u8>()), 0..20),
    ) {
        let mut host = Host::new("tiny");
        for (offset, value) in registers {
            host.memory.write32(offset & !3, value);
            host.settle();
            host.card.port_in(1, &frame(7, 1), host.now);
        }
        for (kind, value) in sane {
            match kind {
                0 => host.memory.write32(reg::COMMAND_PRODUCER.offset, value.into()),
                1 => host.memory.write32(reg::QUEUE_ARRAY + 0x2c, value.into()),
                _ => host.memory.write32(reg::WINDOW_SUBMIT.offset, value.into()),
            }
            host.settle();
        }
        host.bring_up();
        host.card.port_in(0, &frame(7, 1), host.now);
    }

    #[test]
    fn any_descriptor_is_answered_once(
        descriptors in vec((0_u8..14, vec(any::<u8>(), 63), any::<bool>()), 1..60),
    ) {
        let mut host = Host::new("tiny");
        let image = host.operand(&entry(3, 7, 2).encode());
        let Operand::Dma(address) = image else { unreachable!() };
        for (opcode, rest, tame) in descriptors {
            let mut bytes = [0; 64];
            bytes[0] = opcode;
            bytes[1..].copy_from_slice(&rest);
            if tame {
                bytes[1] &= 7;
                bytes[2] %= 4;
                bytes[3] = 0;
                bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
                bytes[16..24].copy_from_slice(&[rest[20] % 4, 0, 0, 0, rest[21] % 8, 0, 0, 0]);
                bytes[24..28].copy_from_slice(&[rest[30] % 8, 0, 0, 0]);
                bytes[32..40].copy_from_slice(&address.to_le_bytes());
                bytes[60..].fill(0);
            }
            host.post_raw(&bytes);
            host.settle();
            host.card.port_in(0, &frame(7, 1), host.now);
            while host.completion().is_some() {}
        }
        assert_eq!(host.memory.read32(reg::SYNDROME.offset), 0);
        assert_eq!(host.memory.read32(reg::COMMAND_CONSUMER.offset), host.produced);
    }

    #[test]
    fn any_image_is_refused_or_works(bytes in vec(any::<u8>(), ENTRY_BYTES)) {
        let mut host = Host::new("tiny");
        let image = host.operand(&bytes);
        host.command(Command::Add { at: ternary(0, 1), holding: Holding::Direct, image });
        host.card.port_in(0, &frame(7, 1), host.now);
    }
}
