//! What everything else stands on: the machine, and `twinpath` in it without any card.

use crate::guest::runner::Case;
use crate::guest::{Guest, Iommu};
use serde_json::Value;
use std::collections::BTreeSet;

/// The cases.
pub(super) const CASES: [Case; 4] = [
    Case { name: "boot", iommu: Iommu::Present, prove: boot },
    Case { name: "iommu_groups", iommu: Iommu::Present, prove: iommu_groups },
    Case { name: "static_binary", iommu: Iommu::Present, prove: static_binary },
    Case { name: "sim_in_guest", iommu: Iommu::Present, prove: sim_in_guest },
];

/// Functions of the machine by vendor and device.
const FUNCTIONS: [&str; 3] = [ROCKER, E1000E, VIRTIO];
/// The switch.
pub(super) const ROCKER: &str = "0x1b36 0x0006";
/// Intel's 82574L as QEMU has it.
pub(super) const E1000E: &str = "0x8086 0x10d3";
/// A modern virtio network function.
pub(super) const VIRTIO: &str = "0x1af4 0x1041";

/// Intel's 82540EM as QEMU has it, behind a bridge with [`RANDOM`].
pub(super) const E1000: &str = "0x8086 0x100e";
/// A virtio source of randomness.
pub(super) const RANDOM: &str = "0x1af4 0x1044";

/// The address of the only function of that kind.
pub(super) fn function(guest: &mut Guest, kind: &str) -> String {
    let found = guest.succeed(&format!(
        "cd /sys/bus/pci/devices; for f in *; do \
         [ \"$(cat $f/vendor $f/device | tr '\\n' ' ')\" = '{kind} ' ] && echo $f; done; true"
    ));
    assert_eq!(found.lines().count(), 1, "functions {kind}: {found:?}");
    found
}

fn boot(guest: &mut Guest) -> String {
    let faults = guest.run("dmesg | grep -c 'DMAR:.*fault'").text;
    assert_eq!(faults.trim(), "0", "DMA faults at boot");
    let line = guest.succeed("dmesg | grep -m 1 'DMAR-IR: Enabled IRQ remapping'");
    let remapping = line.split("DMAR-IR: ").last().expect("split gives one");
    format!("kernel {} up after {} s, {remapping}", guest.release, guest.uptime)
}

fn iommu_groups(guest: &mut Guest) -> String {
    let mut groups = BTreeSet::new();
    for kind in FUNCTIONS {
        let address = function(guest, kind);
        let members =
            guest.succeed(&format!("ls /sys/bus/pci/devices/{address}/iommu_group/devices"));
        assert_eq!(members, address, "the function is alone in its group");
        let link = format!("readlink /sys/bus/pci/devices/{address}/iommu_group");
        groups.insert(guest.succeed(&link).rsplit('/').next().map(str::to_owned));
    }
    assert_eq!(groups.len(), FUNCTIONS.len());
    let numbers: Vec<String> = groups.into_iter().flatten().collect();
    format!("rocker, e1000e and virtio-net each alone in groups {}", numbers.join(", "))
}

fn static_binary(guest: &mut Guest) -> String {
    let version = guest.succeed("twinpath --version");
    assert!(version.starts_with("twinpath "), "{version}");
    let libraries = guest.run("ls /lib64 /usr/lib /lib/*.so*").text;
    assert!(!libraries.contains("ld-linux"), "{libraries}");
    format!("{version} runs without a library in the guest")
}

fn sim_in_guest(guest: &mut Guest) -> String {
    guest.succeed(
        "cat >/tmp/sim.toml <<'END'\n\
         device = \"sim\"\n\
         rules = \"sim.flows\"\n\
         [[port]]\nnumber = 1\nwire = \"gen:count=1000,rate=100000\"\n\
         [[port]]\nnumber = 2\nwire = \"null\"\n\
         END\n\
         echo 'in_port=1,actions=output:2' >/tmp/sim.flows",
    );
    let printed = guest.succeed(
        "twinpath run /tmp/sim.toml --json 2>/tmp/sim.log || { cat /tmp/sim.log; false; }",
    );
    let summary: Value = serde_json::from_str(&printed).expect("one JSON object");
    let packets = &summary["packets"];
    assert_eq!(packets["received"], 1000, "{printed}");
    guest.succeed("rm /tmp/sim.*");
    format!("1000 packets, {} by the card, {} by software", packets["card"], packets["software"])
}
