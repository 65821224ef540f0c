//! VFIO itself: finding, binding, opening functions; registers, memory and interrupts of two
//! devices that nobody here wrote.

use super::platform::{E1000, E1000E, RANDOM, ROCKER, VIRTIO, function};
use crate::guest::runner::Case;
use crate::guest::{Guest, Iommu};
use serde_json::{Value, json};

/// The cases.
pub(super) const CASES: [Case; 14] = [
    Case { name: "modules_missing", iommu: Iommu::Present, prove: modules_missing },
    Case { name: "bind_and_unbind", iommu: Iommu::Present, prove: bind_and_unbind },
    Case { name: "shared_group", iommu: Iommu::Present, prove: shared_group },
    Case { name: "busy_interface", iommu: Iommu::Present, prove: busy_interface },
    Case { name: "rocker_registers", iommu: Iommu::Present, prove: rocker_registers },
    Case { name: "rocker_interrupts", iommu: Iommu::Present, prove: rocker_interrupts },
    Case { name: "rocker_dma", iommu: Iommu::Present, prove: rocker_dma },
    Case { name: "iommu_fault", iommu: Iommu::Present, prove: iommu_fault },
    Case { name: "bus_reset", iommu: Iommu::Present, prove: bus_reset },
    Case { name: "e1000e", iommu: Iommu::Present, prove: e1000e },
    Case { name: "no_permission", iommu: Iommu::Present, prove: no_permission },
    Case { name: "memory_lock", iommu: Iommu::Present, prove: memory_lock },
    Case { name: "unplug", iommu: Iommu::Present, prove: unplug },
    Case { name: "aer_error", iommu: Iommu::Present, prove: aer_error },
];

/// Those of a machine without an IOMMU.
pub(super) const WITHOUT_IOMMU: [Case; 1] =
    [Case { name: "no_iommu", iommu: Iommu::Absent, prove: no_iommu }];

/// The function of that kind, bound to VFIO.
pub(super) fn bound(guest: &mut Guest, kind: &str) -> String {
    let address = function(guest, kind);
    guest
        .succeed(&format!("modprobe vfio_iommu_type1; modprobe vfio-pci; twinpath bind {address}"));
    address
}

/// What `twinpath devices` tells of a function.
fn device(guest: &mut Guest, address: &str) -> Value {
    let printed = guest.succeed("twinpath devices --json");
    let devices: Value = serde_json::from_str(&printed).expect("one JSON object");
    let functions = devices["functions"].as_array().expect("a list");
    let found = functions.iter().find(|found| found["address"] == address);
    found.unwrap_or_else(|| panic!("{address} is not in {printed}")).clone()
}

/// Its first obstacle and what mends it.
fn obstacle(device: &Value) -> (String, String) {
    let first = &device["obstacles"][0];
    let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("remedy"))
}

/// A step of the probe, which must succeed.
fn probe(guest: &mut Guest, kind: &str, step: &str) -> String {
    let address = bound(guest, kind);
    guest.succeed(&format!("probe {address} {step}"))
}

/// A command that must fail with one line.
fn refused(guest: &mut Guest, command: &str) -> String {
    let output = guest.run(command);
    assert_ne!(output.code, 0, "{command}: {}", output.text);
    assert_eq!(output.text.lines().count(), 1, "{command}: {}", output.text);
    output.text.trim_end().to_owned()
}

/// A user other than root runs a command.
fn as_user(command: &str) -> String {
    format!("su guest -c '{command}'")
}

fn modules_missing(guest: &mut Guest) -> String {
    guest.run("modprobe -r vfio-pci vfio_iommu_type1");
    let address = function(guest, ROCKER);
    let mut remedies = Vec::new();
    for module in ["vfio-pci", "vfio_iommu_type1"] {
        let (reason, remedy) = obstacle(&device(guest, &address));
        assert_eq!(reason, format!("{module} is not loaded"));
        let line = refused(guest, &format!("probe {address} open"));
        assert!(line.contains(&reason) && line.contains(&remedy), "{line}");
        guest.succeed(&remedy);
        remedies.push(remedy);
    }
    let (reason, remedy) = obstacle(&device(guest, &address));
    assert_eq!(
        (reason.as_str(), remedy),
        ("not bound to vfio-pci", format!("twinpath bind {address}"))
    );
    format!("{} each named by devices, and mends it", remedies.join(", "))
}

fn bind_and_unbind(guest: &mut Guest) -> String {
    guest.succeed("modprobe virtio_pci; modprobe virtio_net");
    let address = function(guest, VIRTIO);
    assert_eq!(device(guest, &address)["driver"], "virtio-pci");
    guest.succeed("modprobe vfio_iommu_type1; modprobe vfio-pci");
    guest.succeed(&format!("twinpath bind {address}"));
    let ready = device(guest, &address);
    assert_eq!((&ready["driver"], &ready["ready"]), (&json!("vfio-pci"), &json!(true)), "{ready}");
    guest.succeed(&format!("twinpath unbind {address}"));
    let restored = device(guest, &address);
    assert_eq!(restored["driver"], "virtio-pci");
    let interface = &restored["interfaces"][0]["name"];
    assert!(interface.is_string(), "{restored}");
    format!("virtio-pci to vfio-pci and back, interface {interface} again")
}

fn shared_group(guest: &mut Guest) -> String {
    guest.succeed("modprobe virtio_pci; modprobe vfio_iommu_type1; modprobe vfio-pci");
    let (address, other) = (function(guest, E1000), function(guest, RANDOM));
    guest.succeed(&format!("twinpath bind {address}"));
    let (reason, remedy) = obstacle(&device(guest, &address));
    assert!(reason.contains(&other) && reason.contains("virtio-pci"), "{reason}");
    let line = refused(guest, &format!("probe {address} open"));
    assert!(line.contains(&reason) && line.contains(&remedy), "{line}");
    guest.succeed(&remedy);
    let ready = device(guest, &address);
    assert_eq!(ready["ready"], json!(true), "{ready}");
    guest.succeed(&format!("twinpath unbind {other}; twinpath unbind {address}"));
    format!("{reason}; mended by {remedy}")
}

fn busy_interface(guest: &mut Guest) -> String {
    guest.succeed("modprobe virtio_pci; modprobe virtio_net; modprobe vfio-pci");
    let address = function(guest, VIRTIO);
    let name = device(guest, &address)["interfaces"][0]["name"].as_str().map(str::to_owned);
    let name = name.expect("virtio-net has an interface");
    guest.succeed(&format!("ip link set {name} up"));
    let line = refused(guest, &format!("twinpath bind {address}"));
    assert!(line.contains("is up") && line.contains(&format!("ip link set {name} down")), "{line}");
    assert_eq!(device(guest, &address)["driver"], "virtio-pci");
    guest.succeed(&format!("twinpath bind --force {address} && twinpath unbind {address}"));
    line
}

fn rocker_registers(guest: &mut Guest) -> String {
    probe(guest, ROCKER, "registers")
}

fn rocker_interrupts(guest: &mut Guest) -> String {
    probe(guest, ROCKER, "interrupts")
}

fn rocker_dma(guest: &mut Guest) -> String {
    probe(guest, ROCKER, "dma")
}

fn iommu_fault(guest: &mut Guest) -> String {
    guest.succeed("dmesg -c >/dev/null");
    let told = probe(guest, ROCKER, "fault");
    let fault = guest.succeed("dmesg | grep -m 1 'DMAR:.*fault addr'");
    let fault = fault.split("DMAR: ").last().expect("split gives one");
    let after = probe(guest, ROCKER, "dma");
    format!("{told}; kernel: {fault}; afterwards {after}")
}

fn bus_reset(guest: &mut Guest) -> String {
    probe(guest, ROCKER, "reset")
}

fn e1000e(guest: &mut Guest) -> String {
    probe(guest, E1000E, "e1000e")
}

fn no_permission(guest: &mut Guest) -> String {
    let address = bound(guest, E1000E);
    guest.succeed("chmod 600 /dev/vfio/[0-9]*");
    let line = refused(guest, &as_user(&format!("probe {address} open")));
    assert!(line.contains("no permission on /dev/vfio/") && line.contains("chown"), "{line}");
    line
}

fn memory_lock(guest: &mut Guest) -> String {
    let address = bound(guest, E1000E);
    guest.succeed("chmod 666 /dev/vfio/*");
    let limited = |kilobytes: u32, bytes: u32| {
        as_user(&format!("ulimit -l {kilobytes}; probe {address} open {bytes}"))
    };
    let line = refused(guest, &limited(64, 1 << 20));
    assert!(line.contains("memory lock limit 65536 is below 1048576"), "{line}");
    assert!(line.contains("ulimit -l"), "{line}");
    let enough = guest.succeed(&limited(4096, 1 << 20));
    guest.succeed("chmod 600 /dev/vfio/[0-9]*");
    format!("{line}; with 4096: {enough}")
}

/// Starts a probe that waits for what the kernel tells, and waits until it listens.
fn listen(guest: &mut Guest, address: &str) {
    guest.succeed(&format!(
        "probe {address} notice >/tmp/notice 2>&1 & \
         for i in $(seq 200); do grep -q listening /tmp/notice && exit; usleep 20000; done; false"
    ));
}

/// What the listening probe heard.
fn heard(guest: &mut Guest) -> String {
    guest.succeed(
        "for i in $(seq 500); do [ $(wc -l </tmp/notice) -ge 2 ] && break; usleep 20000; done; \
         tail -n 1 /tmp/notice",
    )
}

fn unplug(guest: &mut Guest) -> String {
    let address = bound(guest, E1000E);
    listen(guest, &address);
    guest.monitor.command("device_del", json!({"id": "e1000e"})).expect("it is hot-pluggable");
    let told = heard(guest);
    assert_eq!(told, "removal");
    guest.monitor.event("DEVICE_DELETED").expect("QEMU takes the device out");
    let gone = guest.run(&format!("test -e /sys/bus/pci/devices/{address}"));
    assert_ne!(gone.code, 0, "{address} is still there");
    let back = json!({"driver": "e1000e", "id": "e1000e", "bus": "root2"});
    guest.monitor.command("device_add", back).expect("its place is free");
    guest.succeed(&format!(
        "for i in $(seq 500); do [ -e /sys/bus/pci/devices/{address} ] && exit; usleep 20000; done; false"
    ));
    let again = probe(guest, E1000E, "e1000e");
    format!("REQ came, let go, DEVICE_DELETED; plugged again: {again}")
}

fn aer_error(guest: &mut Guest) -> String {
    let address = bound(guest, E1000E);
    guest.succeed("modprobe aer_inject");
    listen(guest, &address);
    let bus = address.get(5..7).expect("DDDD:BB:DD.F").to_owned();
    // Bus, device, function, nothing; uncorrectable 0x4000 (completion timeout), corrected; four
    // words of header; domain.
    let zeros = |count| "\\x00".repeat(count);
    let bytes = format!("\\x{bus}\\x00\\x00\\x00\\x00\\x40{}", zeros(26));
    guest.succeed(&format!("printf '{bytes}' >/tmp/error && cat /tmp/error >/dev/aer_inject"));
    let told = heard(guest);
    assert_eq!(told, "error");
    let again = probe(guest, E1000E, "e1000e");
    format!("an injected completion timeout fires ERR; afterwards {again}")
}

fn no_iommu(guest: &mut Guest) -> String {
    guest.succeed("modprobe vfio_iommu_type1; modprobe vfio-pci");
    let address = function(guest, ROCKER);
    let (reason, remedy) = obstacle(&device(guest, &address));
    assert_eq!(reason, "no iommu");
    assert!(remedy.contains("intel_iommu=on"), "{remedy}");
    let line = refused(guest, &format!("twinpath bind {address}"));
    assert!(line.contains(&reason) && line.contains(&remedy), "{line}");
    line
}
