//! Traces: which flow each packet belongs to. Made from a seed, or read from a capture.

use std::time::Duration;
use twinpath_flow::sample::Random;
use twinpath_flow::time::Time;

/// Not a flow: no packet at that time.
pub const SILENCE: u32 = u32::MAX;

/// Packets a second of all generated traces. With 10,000 flows that is 50 packets per flow and
/// second, as 200,000 flows at 10 Mpps have.
pub const RATE: u32 = 500_000;

/// Flows of the generated traces.
pub const FLOWS: u32 = 10_000;

/// Names of the generated traces.
pub const NAMES: [&str; 8] =
    ["zipf_0.8", "zipf_1.0", "zipf_1.2", "zipf_1.4", "onoff", "churn", "scan", "scan_attack"];

/// The elephants of the onoff trace; a quarter of them is on.
const ONOFF_ELEPHANTS: u32 = 400;

/// Times for which they are on and off, on average.
const ON: Duration = Duration::from_secs(2);
const OFF: Duration = Duration::from_secs(6);

/// How often it is decided who is on.
const ONOFF_STEP: Duration = Duration::from_millis(10);

/// Elephants of the scan_attack trace: the first hundredth of Zipf's law.
const ATTACKED_ELEPHANTS: u32 = FLOWS / 100;

/// Packets of each flow of the attacker.
const ATTACK_PACKETS: usize = 4;

/// One packet in so many is the attacker's.
const ATTACK_SHARE: usize = 5;

/// A sequence of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its name.
    pub name: String,
    /// Flow of each packet, or [`SILENCE`].
    pub packets: Vec<u32>,
    /// Arrival of each packet in nanoseconds; empty: one every 1 / [`RATE`].
    pub times: Vec<u64>,
    /// Flows are numbered below this.
    pub ids: u32,
    /// Flows of which room is a fraction: all, or those alive at one time.
    pub flows: u32,
    /// Flows below this are elephants.
    pub elephants: u32,
}

impl Trace {
    /// The generated trace of that name; `None` for an unknown one.
    #[must_use]
    pub fn named(name: &str, packets: usize, seed: u64) -> Option<Self> {
        let mut random = Random::new(seed);
        let random = &mut random;
        Some(match name {
            "onoff" => onoff(packets, random),
            "churn" => churn(packets, random),
            "scan" => scan(packets),
            "scan_attack" => scan_attack(packets, random),
            other => {
                let exponent = other.strip_prefix("zipf_")?.parse().ok()?;
                let law = Law::zipf(FLOWS, exponent);
                Self::plain(name, (0..packets).map(|_| law.draw(random)).collect())
            }
        })
    }

    /// Arrival of a packet.
    #[must_use]
    pub fn time(&self, packet: usize) -> Time {
        let regular = || packet as u64 * (1_000_000_000 / u64::from(RATE));
        Time(self.times.get(packet).copied().unwrap_or_else(regular))
    }

    /// This trace without the flows that are not elephants' company: the attacker is silent.
    #[must_use]
    pub fn without_attack(&self) -> Self {
        let quiet = |flow: &u32| if *flow < FLOWS { *flow } else { SILENCE };
        Self { packets: self.packets.iter().map(quiet).collect(), ..self.clone() }
    }

    fn plain(name: &str, packets: Vec<u32>) -> Self {
        let name = name.to_owned();
        Self { name, packets, times: Vec::new(), ids: FLOWS, flows: FLOWS, elephants: 0 }
    }
}

/// A discrete distribution, as sums of weights.
#[derive(Debug)]
struct Law(Vec<f64>);

impl Law {
    fn new(weights: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        Self(
            weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        )
    }

    fn zipf(flows: u32, exponent: f64) -> Self {
        Self::new((1..=flows).map(|rank| f64::from(rank).powf(-exponent)))
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let point = unit(random) * self.0.last().expect("laws have elements");
        let index = self.0.partition_point(|sum| *sum <= point).min(self.0.len() - 1);
        u32::try_from(index).expect("few flows")
    }
}

/// A number in 0..1.
fn unit(random: &mut Random) -> f64 {
    f64::from(u32::try_from(random.next() >> 32).expect("32 bits")) / 4_294_967_296.0
}

/// An exponentially distributed time.
fn spell(mean: Duration, random: &mut Random) -> u64 {
    let nanos = mean.as_nanos() as f64 * -(1.0 - unit(random)).ln();
    Duration::from_secs_f64(nanos / 1e9).as_nanos().try_into().expect("a short time")
}

/// Elephants that come and go carry four fifths; the rest are mice by Zipf's law.
fn onoff(count: usize, random: &mut Random) -> Trace {
    let mice = Law::zipf(FLOWS - ONOFF_ELEPHANTS, 0.8);
    // Who is on, its weight, and until when it stays so.
    let mut elephants: Vec<(bool, f64, u64)> = (0..ONOFF_ELEPHANTS)
        .map(|_| {
            let on = random.chance(25);
            (on, 0.5 + unit(random), spell(if on { ON } else { OFF }, random))
        })
        .collect();
    let per_step = usize::try_from(ONOFF_STEP.as_nanos() * u128::from(RATE) / 1_000_000_000);
    let per_step = per_step.expect("few packets");
    let mut packets = Vec::with_capacity(count);
    while packets.len() < count {
        let now = packets.len() as u64 * (1_000_000_000 / u64::from(RATE));
        for (on, _, until) in &mut elephants {
            if *until <= now {
                *on = !*on;
                *until = now + spell(if *on { ON } else { OFF }, random);
            }
        }
        let law = Law::new(elephants.iter().map(|(on, w, _)| if *on { *w } else { 0.0 }));
        packets.extend((0..per_step.min(count - packets.len())).map(|_| {
            if random.chance(80) { law.draw(random) } else { ONOFF_ELEPHANTS + mice.draw(random) }
        }));
    }
    Trace { elephants: ONOFF_ELEPHANTS, ..Trace::plain("onoff", packets) }
}

/// Connections that begin and end: as many are alive at any time, of four paces; their lengths have
/// a heavy tail.
fn churn(count: usize, random: &mut Random) -> Trace {
    let paces = Law::new([0.5, 1.0, 2.0, 8.0].into_iter());
    let classes = 4;
    let mut next = 0;
    let mut fresh = |random: &mut Random| {
        next += 1;
        (next - 1, length(random))
    };
    let mut alive: Vec<(u32, u32)> = (0..FLOWS).map(|_| fresh(random)).collect();
    let mut packets = Vec::with_capacity(count);
    for _ in 0..count {
        let class = paces.draw(random) as usize;
        let place = random.below(FLOWS as usize / classes) * classes + class;
        let (flow, left) = alive[place];
        packets.push(flow);
        alive[place] = if left == 0 { fresh(random) } else { (flow, left - 1) };
    }
    Trace { ids: next, ..Trace::plain("churn", packets) }
}

/// Packets of a connection after its first: Pareto's law with exponent 1.05 from 4, cut at 20,000.
fn length(random: &mut Random) -> u32 {
    let packets = 4.0 * (1.0 - unit(random)).powf(-1.0 / 1.05);
    Duration::from_secs_f64(packets.min(20_000.0)).as_secs().try_into().expect("cut")
}

/// All flows in turn.
fn scan(count: usize) -> Trace {
    Trace::plain("scan", (0..FLOWS).cycle().take(count).collect())
}

/// Traffic by Zipf's law, and from the end of the first third a scanner beside it: every fifth
/// packet, four to each address and never again.
fn scan_attack(count: usize, random: &mut Random) -> Trace {
    let law = Law::zipf(FLOWS, 1.2);
    let mut scanned = 0;
    let packets = (0..count)
        .map(|packet| {
            if !packet.is_multiple_of(ATTACK_SHARE) {
                return law.draw(random);
            }
            if packet < count / 3 {
                return SILENCE;
            }
            scanned += 1;
            FLOWS + u32::try_from(scanned / ATTACK_PACKETS).expect("few packets")
        })
        .collect();
    let ids = FLOWS + u32::try_from(scanned / ATTACK_PACKETS + 1).expect("few packets");
    Trace { ids, elephants: ATTACKED_ELEPHANTS, ..Trace::plain("scan_attack", packets) }
}
