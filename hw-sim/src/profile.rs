//! Geometry and timing of a simulated card, by name (`docs/nic-abi.md` §4, §13).

use crate::bugs::Bugs;
use twinpath_abi::capability::{BANK_PLACES_MAX, BANKS_MAX, Bank, Capability, TERNARY_MAX, action};
use twinpath_abi::hash::WAYS;

/// What a simulated card is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Physical ports, 2 to 64.
    pub ports: u32,
    /// Queue pairs, 1 to 16.
    pub queues: u32,
    /// Exact banks in the order of precedence.
    pub banks: Vec<Bank>,
    /// Places of the ternary table.
    pub ternary: u32,
    /// Frames of a hold queue.
    pub hold_frames: u32,
    /// Hold queues.
    pub hold_entries: u32,
    /// Tunnels.
    pub tunnels: u32,
    /// Frames waiting to leave a port at most.
    pub port_frames: u32,
    /// From a frame's arrival to its departure.
    pub packet_latency_ns: u32,
    /// From a doorbell to the completion.
    pub command_latency_ns: u32,
    /// Between the completions of two commands.
    pub command_interval_ns: u32,
    /// Bugs planted on purpose.
    pub bugs: Bugs,
}

/// Why there is no such profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Unknown name.
    #[error("unknown profile {0:?}: expected tiny, small, medium or large")]
    Unknown(String),
    /// A value is out of its limits.
    #[error("{name} = {value} is out of range {low}..={high}")]
    Range {
        /// Name of the value.
        name: &'static str,
        /// Value.
        value: u64,
        /// Lowest.
        low: u64,
        /// Highest.
        high: u64,
    },
}

/// Names of the profiles.
pub const NAMES: [&str; 4] = ["tiny", "small", "medium", "large"];

impl Profile {
    /// The profile of that name: tiny (64 entries), small (4,096), medium (65,536), large
    /// (1,048,576). Packets take no time, a command 2 µs, one every 200 ns.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`].
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        // Of each capacity a sixteenth is ternary, a few thousand at most.
        match name {
            "tiny" => Ok(Self::of(64)),
            "small" => Ok(Self::of(4096)),
            "medium" => Ok(Self::of(65_536)),
            "large" => Ok(Self::of(1 << 20)),
            other => Err(ProfileError::Unknown(other.to_owned())),
        }
    }

    fn of(capacity: u32) -> Self {
        let mut profile = Self {
            ports: 8,
            queues: 4,
            banks: Vec::new(),
            ternary: 0,
            hold_frames: 64,
            hold_entries: 1024.min(capacity),
            tunnels: 64,
            port_frames: 4096,
            packet_latency_ns: 0,
            command_latency_ns: 2_000,
            command_interval_ns: 200,
            bugs: Bugs::default(),
        };
        profile.set_capacity(capacity);
        profile
    }

    /// Lays out tables of `capacity` places together: a sixteenth ternary (at most 256), two wide
    /// banks and four narrow ones (none below 170), each with a small stash.
    pub fn set_capacity(&mut self, capacity: u32) {
        self.ternary = (capacity / 16).min(256);
        let exact = capacity - self.ternary;
        let bank = |places: u32| {
            let stash = (places / 64).min(32) + places % 4;
            let slots = (places - stash.min(places)) / 4;
            Bank { slots, stash: places - slots * 4 }
        };
        // Banks of less than 8 places are not worth their hash.
        let narrow = if exact < 160 { 0 } else { exact / 20 };
        let wide = (exact - 4 * narrow) / 2;
        self.banks = vec![bank(exact - 4 * narrow - wide), bank(wide)];
        self.banks.extend([bank(narrow); 4]);
        self.banks.retain(|bank| bank.slots > 0);
    }

    /// Sets a value by name: capacity, ports, queues, ternary, hold_frames, hold_entries, tunnels,
    /// port_frames, packet_latency_ns, command_latency_ns, command_interval_ns, bug_wrong_port,
    /// bug_miscount, bug_wide_match.
    ///
    /// # Errors
    /// [`ProfileError::Range`]; [`ProfileError::Unknown`] for another name.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), ProfileError> {
        let in_range = |name: &'static str, low: u32, high: u32| {
            let range = u64::from(low)..=u64::from(high);
            u32::try_from(value).ok().filter(|_| range.contains(&value)).ok_or_else(|| {
                ProfileError::Range { name, value, low: low.into(), high: high.into() }
            })
        };
        match name {
            "capacity" => self.set_capacity(in_range("capacity", 16, 1 << 22)?),
            "ports" => self.ports = in_range("ports", 2, 64)?,
            "queues" => self.queues = in_range("queues", 1, 16)?,
            "ternary" => self.ternary = in_range("ternary", 0, TERNARY_MAX)?,
            "hold_frames" => self.hold_frames = in_range("hold_frames", 0, 4096)?,
            "hold_entries" => self.hold_entries = in_range("hold_entries", 0, 1 << 20)?,
            "tunnels" => self.tunnels = in_range("tunnels", 0, 4096)?,
            "port_frames" => self.port_frames = in_range("port_frames", 1, 1 << 20)?,
            "packet_latency_ns" => {
                self.packet_latency_ns = in_range("packet_latency_ns", 0, 1_000_000_000)?;
            }
            "command_latency_ns" => {
                self.command_latency_ns = in_range("command_latency_ns", 0, 1_000_000_000)?;
            }
            "command_interval_ns" => {
                self.command_interval_ns = in_range("command_interval_ns", 0, 1_000_000_000)?;
            }
            "bug_wrong_port" => self.bugs.wrong_port = in_range("bug_wrong_port", 0, u32::MAX)?,
            "bug_miscount" => self.bugs.miscount = in_range("bug_miscount", 0, u32::MAX)?,
            "bug_wide_match" => self.bugs.wide_match = in_range("bug_wide_match", 0, 1)?,
            other => return Err(ProfileError::Unknown(other.to_owned())),
        }
        Ok(())
    }

    /// Places of all tables together.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.banks.iter().map(Bank::places).sum::<u32>() + self.ternary
    }

    /// The card's capability block.
    #[must_use]
    pub fn capability(&self) -> Capability {
        Capability {
            ports: self.ports,
            queues: self.queues,
            ternary: self.ternary,
            counters: self.capacity(),
            hold_frames: self.hold_frames,
            hold_entries: self.hold_entries,
            tunnels: self.tunnels,
            ring_log2_max: [12, 12, 14, 14],
            vectors: 1 + self.queues,
            actions: action::ALL,
            ttl_decrements: 255,
            counter_staleness_ns: 0,
            reset_ms_max: 100,
            command_ms_max: 1_000,
            port_frames: self.port_frames,
            clock_ns: 1,
            packet_latency_ns: self.packet_latency_ns,
            command_latency_ns: self.command_latency_ns,
            command_interval_ns: self.command_interval_ns,
            banks: self.banks.clone(),
        }
    }

    pub(crate) fn check(&self) {
        assert!((2..=64).contains(&self.ports), "{} ports", self.ports);
        assert!((1..=16).contains(&self.queues), "{} queues", self.queues);
        assert!(self.banks.len() <= BANKS_MAX, "{} banks", self.banks.len());
        for bank in &self.banks {
            assert!(bank.slots > 0 && bank.places() <= BANK_PLACES_MAX, "{bank:?}");
            assert!(bank.places() as usize >= WAYS, "{bank:?}");
        }
    }
}
