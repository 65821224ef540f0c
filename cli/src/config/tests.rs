//! Configurations that are right, and the one line each wrong one gets.

use super::*;
use twinpath_flow::port::{OuterTos, TunnelKind};

const GOOD: &str = r#"
device = "sim"
rules = "gateway.flows"
workers = 2
[sim]
profile = "small"
capacity = 4096
[[port]]
number = 2
name = "core"
wire = "null"
mtu = 1514
[[port]]
number = 1
[[port]]
number = 12
name = "access"
type = "gtpu"
over = 1
local_ip = "192.0.2.1"
remote_ip = "flow"
local_mac = "02:00:00:00:00:01"
peer_mac = "02:00:00:00:00:02"
tos = "inherit"
qfi = 9
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("conf/gateway.toml"), text.to_owned())
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_full_configuration_is_resolved_against_its_folder() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.device, Device::Sim);
    assert_eq!(config.rules.as_deref(), Some(Path::new("conf/gateway.flows")));
    assert_eq!(config.workers, 2);
    assert_eq!(config.sim.overrides[0].0, "capacity");
    assert_eq!(config.sim.overrides[0].1, 4096);
    assert_eq!(config.name(), "gateway");
    let numbers: Vec<u16> = config.wires.iter().map(|wire| wire.number.0).collect();
    assert_eq!(numbers, [1, 2]);
    let tunnel = config.ports.tunnel(PortNo(12)).unwrap();
    assert_eq!((tunnel.kind, tunnel.remote_ip, tunnel.ttl), (TunnelKind::Gtpu, None, 64));
    assert_eq!((tunnel.tos, tunnel.qfi), (OuterTos::Inherit, Some(9)));
    assert_eq!(config.ports.find(PortNo(2)).unwrap().mtu_out, Some(1514));
    assert_eq!(config.ports.find(PortNo(1)).unwrap().name, "port1");
}

#[test]
fn placement_may_be_limited_and_not_forbidden() {
    const PORTS: &str = "[[port]]\nnumber = 1\n[[port]]\nnumber = 2\n";
    let placement =
        |text: &str| parse(&format!("device = \"sim\"\n{text}{PORTS}")).map(|c| c.placement);
    let given = placement("[placement]\nupdates_per_second = 9\nhost_percent = 100\n").unwrap();
    assert_eq!((given.updates_per_second, given.host_percent), (9, 100));
    assert_eq!(placement("").unwrap().host_percent, 15);
    for (bad, range) in
        [("host_percent = 0", "from 1 to 100"), ("updates_per_second = 0", "from 1")]
    {
        let told = complaint(&format!("device = \"sim\"\n[placement]\n{bad}\n{PORTS}"));
        assert!(told.contains("conf/gateway.toml:3") && told.contains(range), "{told}");
    }
    let told = complaint("device = \"sim\"\n[placement]\nhost_share = 3\n");
    assert!(told.contains("host_share") && told.contains("[placement]"), "{told}");
}

#[test]
fn a_kernel_is_taken_by_its_name_and_the_best_is_left_to_the_processor() {
    let with = |word: &str| parse(&GOOD.replace("workers = 2", word)).unwrap().kernel;
    assert_eq!(with("kernel = \"scalar\""), Some(Kernel::Scalar));
    assert_eq!(with("kernel = \"auto\""), None);
    assert_eq!(with("workers = 2"), None);
}

#[test]
fn every_fault_names_file_line_and_column() {
    let cases = [
        (
            "workers",
            "wrokers",
            "4:1: unknown key \"wrokers\" in the configuration (did you mean \"workers\"?)",
        ),
        ("mtu", "mut", "12:1: unknown key \"mut\" in [[port]] (did you mean \"mtu\"?)"),
        ("profile", "latency", "6:1: unknown key \"latency\" in [sim]"),
        (
            "[sim]",
            "[rocker]\nipv4_header = \"trust\"\n[sim]",
            "6:15: unknown ipv4_header \"trust\" (did you mean \"trusted\"?); expected \"trusted\" or \"untrusted\"",
        ),
        ("number = 2", "number = 1", "14:10: port number 1 is used twice"),
        ("number = 2", "number = 70000", "9:10: port number \"70000\" is not between 1 and 65279"),
        ("number = 2", "# none", "8:1: [[port]] needs \"number\""),
        ("workers = 2", "workers = 17", "4:11: workers \"17\" is not between 1 and 16"),
        ("workers = 2", "cpus = [1, 1]", "4:12: cpus \"1\" is not a number below 1024, once"),
        (
            "workers = 2",
            "poll = \"bussy\"",
            "4:8: unknown poll \"bussy\" (did you mean \"busy\"?); expected \"adaptive\" or \"busy\"",
        ),
        (
            "workers = 2",
            "kernel = \"avx51\"",
            "4:10: unknown kernel \"avx51\" (did you mean \"avx512\"?); expected \"auto\", \"scalar\", \"avx2\" or \"avx512\"",
        ),
        (
            "over = 1",
            "over = 3",
            "19:8: tunnel port 12 is over port 3, which is not a physical port",
        ),
        (
            "\"gtpu\"",
            "\"gtp\"",
            "18:8: unknown port type \"gtp\" (did you mean \"gtpu\"?); expected \"gtpu\", \"vxlan\" or \"geneve\"",
        ),
        (
            "02:00:00:00:00:01",
            "02:00:00:00:01",
            "22:13: local_mac \"02:00:00:00:01\" is not a MAC address",
        ),
        ("\"sim\"", "\"vfio-user:\"", "2:10: device \"vfio-user:\" is not \"vfio-user:SOCKET\""),
        (
            "\"sim\"",
            "\"simm\"",
            "2:10: unknown device \"simm\" (did you mean \"sim\"?); expected \"vfio:ADDRESS\", \"vfio-user:SOCKET\", \"sim\", \"none\" or \"reference\"",
        ),
        ("mtu = 1514", "ttl = 64", "12:7: \"ttl\" has no meaning for a physical port"),
        (
            "over = 1",
            "over = 1\nwire = \"null\"",
            "20:8: \"wire\" has no meaning for a tunnel port",
        ),
    ];
    for (from, to, wanted) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        assert_eq!(complaint(&text), format!("conf/gateway.toml:{wanted}"));
    }
}

#[test]
fn text_that_is_not_toml_and_wrong_types_are_one_line_with_a_place() {
    for (text, place) in [("device = \"sim\n", ":1:"), ("device = 3\n", ":1:10: ")] {
        let line = complaint(text);
        assert!(line.starts_with(&format!("conf/gateway.toml{place}")), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_missing_device_and_missing_ports_are_said() {
    assert!(complaint("").contains("needs \"device\""));
    let line = complaint("device = \"sim\"\n[[port]]\nnumber = 1\n");
    assert!(line.contains("1 physical ports; device \"sim\" takes 2 to 64"), "{line}");
}

#[test]
fn a_real_card_is_named_by_its_address() {
    let text = |device: &str| format!("device = \"{device}\"\n[[port]]\nnumber = 1\n");
    let config = parse(&text("vfio:03:00.1")).unwrap();
    assert_eq!(config.device, Device::Vfio("0000:03:00.1".parse().unwrap()));
    let place = "conf/gateway.toml:1:10: ";
    assert!(complaint(&text("vfio:3")).starts_with(&format!("{place}\"3\" is no pci address")));
}

#[test]
fn a_card_in_another_process_is_named_by_its_socket() {
    let text = "device = \"vfio-user:run/card.sock\"\n[[port]]\nnumber = 1\n";
    let config = parse(text).unwrap();
    assert_eq!(config.device, Device::VfioUser);
    assert_eq!(config.socket.as_deref(), Some(Path::new("conf/run/card.sock")));
}
