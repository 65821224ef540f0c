//! A card that is reset goes on with the rules in force.

use super::*;
use crate::run::software::fresh_settings;
use twinpath_flow::card::Event;
use twinpath_flow::port::Port;
use twinpath_flow::rule::Rule;
use twinpath_flow::text::parse_rules;
use twinpath_offload::Settings;
use twinpath_offload::io::Input;

/// A card between two ports without wires.
pub(super) struct Bench {
    ports: Arc<PortTable>,
    pub(super) brain: Brain,
    pub(super) card: CardPath,
    pub(super) now: Time,
}

fn rules(text: &str, ports: &PortTable) -> Vec<Rule> {
    parse_rules("r", text, ports).unwrap().into_iter().map(|parsed| parsed.rule).collect()
}

impl Bench {
    pub(super) fn new(text: &str) -> Self {
        let ports = Arc::new(PortTable::new(vec![Port::physical(1), Port::physical(2)]).unwrap());
        let now = Time::from_secs(1);
        let mut brain =
            Brain::new(Arc::clone(&ports), rules(text, &ports), Settings::default(), now);
        brain.settle(now, None);
        let software =
            Software::new(fresh_settings(None), brain.generation(), Arc::clone(brain.pipeline()));
        let mut profile = Profile::named("tiny").unwrap();
        profile.ports = 2;
        let mut card = CardPath::new(profile, &ports, (1, 100), software, now);
        let now = card.bring_up(now, &mut brain).unwrap();
        Self { ports, brain, card, now }
    }

    /// Lets the card and its host work for a millisecond.
    fn work(&mut self) {
        let mut wires = Ports::new(Vec::new());
        for _ in 0..1000 {
            self.now = self.now.after(STEP);
            self.brain.tick(self.now);
            self.card.advance(self.now, &mut self.brain, &mut wires);
        }
    }

    /// Sends frames of one flow, a millisecond apart; how many of them the card decided.
    fn decided_of(&mut self, count: u64) -> u64 {
        let before = self.card.fates(0).card.unwrap();
        for _ in 0..count {
            self.card.take(self.now, PortNo(1), &[2; 60]);
            self.work();
        }
        self.card.fates(0).card.unwrap() - before
    }
}

#[test]
fn a_reset_card_takes_the_flows_of_the_generation_in_force() {
    let mut bench = Bench::new("in_port=1,actions=output:2\n");
    assert_eq!(bench.decided_of(10), 9);
    let changed =
        rules("in_port=1,actions=set_field:02:00:00:00:00:09->eth_dst,output:2\n", &bench.ports);
    bench.brain.change(|store| store.replace(changed));
    assert_eq!(bench.decided_of(10), 9);
    bench.brain.tell(bench.now, Input::Card(Event::ResetRequest));
    bench.work();
    assert_eq!(bench.card.describe(bench.now).1, "good");
    assert_eq!(bench.decided_of(10), 10, "placed again by the reset itself");
}
