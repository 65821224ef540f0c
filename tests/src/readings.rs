//! Three readings side by side: the specification, the software path and the simulated card, in one
//! random world. Software's flows are put into the card, so that a frame's later copies meet it.

use crate::bench_card::BenchCard;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use twinpath_fallback::software_path::SoftwarePath;
use twinpath_fallback::{Kernel, Outbox, Packet, PacketPool, Settings};
use twinpath_flow::card::{EntryId, Generation, Reason, TableId};
use twinpath_flow::counters::Counts;
use twinpath_flow::edit::Edit;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{PortKind, PortNo, PortTable};
use twinpath_flow::reference;
use twinpath_flow::rule::RuleId;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;
use twinpath_hw_sim::Profile;

/// Frames by port, in order of departure.
type ByPort = BTreeMap<PortNo, Vec<Vec<u8>>>;

fn by_port(outputs: impl IntoIterator<Item = (PortNo, Vec<u8>)>) -> ByPort {
    let mut sorted = ByPort::new();
    for (port, frame) in outputs {
        sorted.entry(port).or_default().push(frame);
    }
    sorted
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

/// What each rule counted.
pub type RuleCounts = HashMap<RuleId, Counts>;

fn count(counts: &mut RuleCounts, rules: &[RuleId], more: Counts) {
    for rule in rules.iter().filter(|_| more != Counts::default()) {
        *counts.entry(*rule).or_default() += more;
    }
}

/// One world: a pipeline, the software path and a card that gets what software makes.
pub struct World {
    /// The rules.
    pub pipeline: Arc<Pipeline>,
    software: SoftwarePath,
    pool: PacketPool,
    /// The card.
    pub card: BenchCard,
    /// Entries by what they count for.
    entries: HashMap<EntryId, Arc<Flow>>,
    /// Source of everything random.
    pub random: Random,
    /// What the specification counted.
    pub expected: RuleCounts,
    /// Packets the card decided.
    pub decided_by_card: usize,
    /// Packets that the card handed to software, whose rules count there.
    counted: RuleCounts,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("card", &self.card).finish_non_exhaustive()
    }
}

impl World {
    /// The world of that seed, nothing installed yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let tunnels = if random.chance(40) { Tunnels::Some } else { Tunnels::None };
        let ports = sample::port_table(&mut random, tunnels);
        let pipeline = Arc::new(sample::pipeline(&mut random, &ports));
        // Each reading is on another kernel of those that are here.
        let kernel = Kernel::ALL.into_iter().cycle().nth(usize::try_from(seed % 3).expect("small"));
        let settings = Settings { seed, kernel, ..Settings::default() };
        let software = SoftwarePath::new(settings, Generation(0), Arc::clone(&pipeline));
        let mut profile = Profile::named("small").expect("a known profile");
        profile.ternary = 1024;
        let mut card = BenchCard::new(profile, &ports);
        let all = MaskedKey {
            mask: Key { head: Line([0xff; 64]), tail: Line::ZERO },
            ..MaskedKey::default()
        };
        card.set_mask(TableId(0), &all).expect("an empty bank takes a mask");
        Self {
            pipeline,
            software,
            pool: PacketPool::new(256),
            card,
            entries: HashMap::new(),
            random,
            expected: RuleCounts::new(),
            counted: RuleCounts::new(),
            decided_by_card: 0,
        }
    }

    /// Random frames, some malformed, each with its port.
    pub fn frames(&mut self, count: usize) -> Vec<(PortNo, Vec<u8>)> {
        let ports = Arc::clone(&self.pipeline.ports);
        let one = |_| {
            let (port, mut frame) = sample::frame(&mut self.random, &ports);
            if self.random.chance(10) {
                sample::mutate(&mut self.random, &mut frame);
            }
            (port, frame)
        };
        (0..count).map(one).collect()
    }

    /// Gives the frame to software and returns what it sends.
    fn through_software(&mut self, port: PortNo, frame: &[u8]) -> (ByPort, Vec<(FlowId, Key)>) {
        let mut packet: Packet = self.pool.take().expect("the pool is not empty");
        assert!(packet.fill(frame), "the frame fits a buffer");
        packet.port = port;
        let mut out = Outbox::default();
        self.software.process(Time(1), &mut vec![packet], &mut self.pool, &mut out);
        let sent = out.transmissions.iter();
        let sent = by_port(sent.map(|sent| (sent.leaves_by, sent.frame().to_vec())));
        for (rule, counts) in &out.rule_counts {
            count(&mut self.counted, &[*rule], *counts);
        }
        let made = out.made.iter().map(|made| (made.id, made.key)).collect();
        out.clear(&mut self.pool);
        (sent, made)
    }

    /// Puts a flow into the card if it can be there: as it is, or for one key only.
    fn install(&mut self, id: FlowId, key: &Key) {
        let flow = self.software.flow(id).expect("it was just made").flow;
        let Some(edit) = self.card_edit(&flow) else { return };
        let exact = MaskedKey::new(
            &Key { tail: Line::ZERO, ..*key },
            Key { head: Line([0xff; 64]), tail: Line::ZERO },
        );
        let threshold = flow.ttl_threshold;
        let added = if self.random.chance(30) {
            self.card.add(TableId(0), exact, edit, threshold)
        } else {
            self.card.add(self.card.ternary(), flow.matching, edit, threshold)
        };
        if let Ok(entry) = added {
            self.entries.insert(entry, flow);
        }
    }

    /// The edit, if the card can do it: one tunnel output at most, not over a port also sent to.
    fn card_edit(&self, flow: &Flow) -> Option<Edit> {
        if flow.matching.uses_tail() {
            return None;
        }
        let edit = Edit::fold(flow).ok()?;
        let ports: &PortTable = &self.pipeline.ports;
        let mut over = Vec::new();
        for output in &edit.outputs {
            over.push(match &ports.find(*output)?.kind {
                PortKind::Tunnel(tunnel) => tunnel.over,
                PortKind::Physical => *output,
            });
        }
        over.sort();
        over.windows(2).all(|pair| pair[0] != pair[1]).then_some(edit)
    }

    /// Gives a frame to the card, and to software if the card hands it over; both must do what the
    /// specification does.
    pub fn check(&mut self, seed: u64, port: PortNo, frame: &[u8]) {
        let wanted = reference::process(&self.pipeline, frame, port);
        count(&mut self.expected, &wanted.rules, Counts::one(frame.len()));
        let wanted = by_port(wanted.outputs);
        let context = || format!("SEED={seed}, port {}, frame {}", port.0, hex(frame));
        let reaction = self.card.receive(port, frame);
        let misses = |reason: &Reason| matches!(reason, Reason::NoEntry | Reason::Exception);
        let missed = reaction.host.iter().find(|(reason, _)| misses(reason));
        if let Some((_, handed)) = missed {
            assert_eq!(hex(handed), hex(frame), "handed to the host whole; {}", context());
            assert_eq!(reaction.outputs, [], "a miss leaves no port; {}", context());
            let (sent, made) = self.through_software(port, frame);
            assert_equal(&sent, &wanted, "software", &context());
            for (id, key) in made {
                self.install(id, &key);
            }
        } else {
            self.decided_by_card += 1;
            assert_equal(&by_port(reaction.outputs), &wanted, "card", &context());
        }
    }

    /// What software and card counted together.
    pub fn total(&mut self) -> RuleCounts {
        for view in self.software.flows() {
            count(&mut self.counted, &view.flow.rules, view.usage.counts);
        }
        for (entry, flow) in std::mem::take(&mut self.entries) {
            let counts = self.card.delete(entry).expect("an added entry can be deleted");
            count(&mut self.counted, &flow.rules, counts);
        }
        std::mem::take(&mut self.counted)
    }
}

fn assert_equal(got: &ByPort, wanted: &ByPort, who: &str, context: &str) {
    let shown = |frames: &ByPort| -> Vec<String> {
        let line = |(port, frames): (&PortNo, &Vec<Vec<u8>>)| {
            let frames: Vec<String> = frames.iter().map(|frame| hex(frame)).collect();
            format!("{}: {}", port.0, frames.join(" "))
        };
        frames.iter().map(line).collect()
    };
    assert_eq!(shown(got), shown(wanted), "{who} and reference differ; {context}");
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
