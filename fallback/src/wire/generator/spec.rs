//! The text of `gen:…`: one or more streams joined by `;`, each a list of parameters.
//!
//! `docs/wires.md` lists the parameters with their meaning, defaults and examples. Flow i of a stream
//! belongs to *session* i mod n, where n is the number of addresses on the side that `walk` names.

use std::fmt;
use std::str::FromStr;

use twinpath_flow::port::Mac;

use super::super::parameters::Parameters;
use super::super::spec::WireSpecError;
use super::choice::{Address, Choice};
use super::number::{read_count, read_duration_ns, read_mac, read_number, read_rate};

/// Name of the wire in messages.
const KIND: &str = "gen";
/// Most flows: the alias table takes 8 bytes each.
const FLOWS_MAX: u32 = 1 << 24;
/// Longest frame made.
pub(super) const FRAME_MAX: u16 = 9216;

const KNOWN: [&str; 25] = [
    "flows",
    "zipf",
    "rate",
    "count",
    "duration",
    "start",
    "seed",
    "size",
    "proto",
    "src",
    "dst",
    "sport",
    "dport",
    "walk",
    "dscp",
    "ttl",
    "tcp_flags",
    "smac",
    "dmac",
    "vlan",
    "encap",
    "teid",
    "qfi",
    "outer_src",
    "outer_dst",
];

/// All streams of one generator.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorSpec {
    text: String,
    pub(super) streams: Vec<StreamSpec>,
}

/// Protocol over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
    Icmp,
}

/// Which side's address and port number the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    Source,
    Target,
}

/// Settings of the GTP-U tunnel around the packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GtpuSpec {
    pub(super) teid: u32,
    pub(super) qfi: Option<Choice<u8>>,
    pub(super) outer_source: u32,
    pub(super) outer_target: u32,
}

/// One stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StreamSpec {
    pub(super) flows: u32,
    pub(super) zipf: f64,
    /// Packets a second.
    pub(super) rate: u64,
    pub(super) count: u64,
    pub(super) start_ns: u64,
    pub(super) seed: u64,
    pub(super) size: Choice<u16>,
    pub(super) protocol: Choice<u8>,
    pub(super) source: Choice<Address>,
    pub(super) target: Choice<Address>,
    pub(super) source_port: Choice<u16>,
    pub(super) target_port: Choice<u16>,
    pub(super) walk: Walk,
    pub(super) dscp: Choice<u8>,
    pub(super) ttl: Choice<u8>,
    pub(super) tcp_flags: Choice<u8>,
    pub(super) source_mac: Mac,
    pub(super) target_mac: Mac,
    pub(super) vlan: Choice<u16>,
    pub(super) gtpu: Option<GtpuSpec>,
}

impl FromStr for GeneratorSpec {
    type Err = WireSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let streams = text.split(';').map(StreamSpec::read).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), streams })
    }
}

impl fmt::Display for GeneratorSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "gen:{}", self.text)
    }
}

fn choice<T: super::choice::Step + TryFrom<u64>>(text: &str, limit: u64) -> Option<Choice<T>> {
    let value = |text: &str| {
        let number = read_number(text).filter(|number| *number <= limit)?;
        T::try_from(number).ok()
    };
    Choice::read(text, value, |_| None)
}

fn addresses(text: &str) -> Option<Choice<Address>> {
    Choice::read(text, Address::read, Address::read_prefix)
}

fn protocols(text: &str) -> Option<Choice<u8>> {
    let number = |text: &str| match text {
        "udp" => Some(Protocol::Udp as u8),
        "tcp" => Some(Protocol::Tcp as u8),
        "icmp" => Some(Protocol::Icmp as u8),
        _ => None,
    };
    // A range of names means nothing.
    if text.contains('-') { None } else { Choice::read(text, number, |_| None) }
}

impl Protocol {
    /// The protocol that `protocols` numbered so.
    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Udp,
            1 => Self::Tcp,
            _ => Self::Icmp,
        }
    }
}

fn sizes(text: &str) -> Option<Choice<u16>> {
    if text == "imix" {
        return Some(Choice::weighted(&[(60, 7), (590, 4), (1514, 1)]));
    }
    choice(text, u64::from(FRAME_MAX)).filter(|sizes: &Choice<u16>| sizes.ends().all(|n| n >= 60))
}

impl StreamSpec {
    fn read(text: &str) -> Result<Self, WireSpecError> {
        let p = Parameters::split(KIND, text)?;
        p.expect_only(&KNOWN)?;
        let rate =
            p.read("rate", "packets a second, such as 250k or 1Mpps", 1_000_000, read_rate)?;
        let port = |text: &str| choice(text, 65_535);
        let ports = "ports, such as 80*3+443+1000-2000";
        let a = "addresses, such as 10.0.0.1, 10.0.0.0/8 or 10.0.0.1-10.0.0.9*2+10.9.0.1";
        let (any, test) = ("10.0.0.0/16", "198.18.0.0/16");
        let default = |text| addresses(text).expect("literal prefixes can be read");
        let stream = Self {
            flows: p.read("flows", "a number from 1 to 16777216", 1, |text| {
                let number = u32::try_from(read_number(text)?).ok()?;
                (1..=FLOWS_MAX).contains(&number).then_some(number)
            })?,
            zipf: p.read("zipf", "an exponent from 0 to 10", 0.0, |text| {
                text.parse().ok().filter(|exponent| (0.0..=10.0).contains(exponent))
            })?,
            rate,
            count: read_count(&p, rate)?,
            start_ns: p.read("start", "a time such as 10ms", 0, read_duration_ns)?,
            seed: p.read("seed", "a number", 1, read_number)?,
            size: p.read("size", "bytes from 60 to 9216, or imix", Choice::always(60), sizes)?,
            protocol: p.read(
                "proto",
                "udp, tcp or icmp, joined by +",
                Choice::always(Protocol::Udp as u8),
                protocols,
            )?,
            source: p.read("src", a, default(any), addresses)?,
            target: p.read("dst", a, default(test), addresses)?,
            source_port: p.read("sport", ports, port("1024-65535").expect("ports"), port)?,
            target_port: p.read("dport", ports, Choice::always(80), port)?,
            walk: p.read("walk", "src or dst", Walk::Source, |text| match text {
                "src" => Some(Walk::Source),
                "dst" => Some(Walk::Target),
                _ => None,
            })?,
            dscp: p.read("dscp", "0 to 63", Choice::always(0), |text| choice(text, 63))?,
            ttl: p.read("ttl", "0 to 255", Choice::always(64), |text| choice(text, 255))?,
            tcp_flags: p
                .read("tcp_flags", "0 to 0xff", Choice::always(0x10), |text| choice(text, 255))?,
            source_mac: p.read("smac", "a MAC address", [2, 0, 0, 0, 0, 1], read_mac)?,
            target_mac: p.read("dmac", "a MAC address", [2, 0, 0, 0, 0, 2], read_mac)?,
            vlan: p.read("vlan", "0 to 4094", Choice::always(0), |text| choice(text, 4094))?,
            gtpu: GtpuSpec::read(&p)?,
        };
        stream.check()?;
        Ok(stream)
    }

    fn check(&self) -> Result<(), WireSpecError> {
        let is_v4 = |address: Address| matches!(address, Address::V4(_));
        let mut families = self.source.ends().chain(self.target.ends()).map(is_v4);
        let first = families.next().expect("a choice has parts");
        if families.any(|family| family != first) {
            let reason = "src and dst must be all IPv4 or all IPv6";
            return Err(WireSpecError::Conflict { kind: KIND, reason });
        }
        Ok(())
    }

    /// The side that numbers the flows, and its ports.
    pub(super) const fn walked(&self) -> (&Choice<Address>, &Choice<u16>) {
        match self.walk {
            Walk::Source => (&self.source, &self.source_port),
            Walk::Target => (&self.target, &self.target_port),
        }
    }
}

impl GtpuSpec {
    fn read(p: &Parameters<'_>) -> Result<Option<Self>, WireSpecError> {
        let encap = p.read("encap", "gtpu", None, |text| (text == "gtpu").then_some(Some(())))?;
        let mine = ["teid", "qfi", "outer_src", "outer_dst"];
        if encap.is_none() {
            let reason = "teid, qfi, outer_src and outer_dst need encap=gtpu";
            let stray = mine.iter().any(|name| p.find(name).is_some());
            return if stray {
                Err(WireSpecError::Conflict { kind: KIND, reason })
            } else {
                Ok(None)
            };
        }
        let v4 = |text: &str| match Address::read(text)? {
            Address::V4(address) => Some(address),
            Address::V6(_) => None,
        };
        let qfi = |text: &str| match text {
            "none" => Some(None),
            _ => choice(text, 63).map(Some),
        };
        Ok(Some(Self {
            teid: p.read("teid", "a number of 32 bits", 1, |text| {
                read_number(text).and_then(|number| u32::try_from(number).ok())
            })?,
            qfi: p.read("qfi", "0 to 63, or none", Some(Choice::always(9)), qfi)?,
            outer_source: p.read("outer_src", "an IPv4 address", 0xc000_0201, v4)?,
            outer_target: p.read("outer_dst", "an IPv4 address", 0xc000_0202, v4)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        text.parse::<GeneratorSpec>().unwrap_err().to_string()
    }

    #[test]
    fn streams_are_read_and_printed_as_written() {
        let text = "flows=20000,zipf=1.2,size=imix,rate=250kpps,count=10;proto=udp*3+tcp,seed=0x7";
        let spec: GeneratorSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), format!("gen:{text}"));
        assert_eq!((spec.streams[0].flows, spec.streams[0].rate), (20_000, 250_000));
        assert_eq!((spec.streams[0].count, spec.streams[1].count), (10, u64::MAX));
        assert_eq!(spec.streams[1].seed, 7);
    }

    #[test]
    fn the_document_names_every_parameter_and_its_examples_are_read() {
        let text = include_str!("../../../../docs/wires.md");
        let unnamed = KNOWN.iter().find(|name| !text.contains(&format!("`{name}=")));
        assert_eq!(unnamed, None);
        let examples = text.lines().filter_map(|line| line.strip_prefix("    gen:"));
        let read: Vec<GeneratorSpec> = examples.map(|line| line.parse().unwrap()).collect();
        assert_eq!(read.len(), 2);
        assert!(read.iter().all(|spec| spec.streams[0].walked().0.len() == 20_000));
    }

    #[test]
    fn a_duration_is_a_count_at_the_rate() {
        let spec: GeneratorSpec = "rate=1000,duration=2s".parse().unwrap();
        assert_eq!(spec.streams[0].count, 2_000);
        let spec: GeneratorSpec = "rate=1000,duration=2s,count=7".parse().unwrap();
        assert_eq!(spec.streams[0].count, 7);
    }

    #[test]
    fn values_out_of_range_say_what_is_expected() {
        assert!(message("flows=0").contains("expected a number from 1 to 16777216"));
        assert!(message("zipf=-1").contains("exponent from 0 to 10"));
        assert!(message("size=20").contains("60 to 9216"));
        assert!(message("proto=sctp").contains("udp, tcp or icmp"));
        assert!(message("src=10.0.0.1,dst=::1").contains("all IPv4 or all IPv6"));
        assert!(message("teid=4").contains("need encap=gtpu"));
        assert!(message("rate=0").contains("packets a second"));
        assert!(message("duration=5").contains("a time such as"));
        assert!(message("flows=1;zpif=1").contains("did you mean \"zipf\"?"));
    }
}
