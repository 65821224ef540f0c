//! What must hold in the world, after every step and when nothing is under way.

use super::card::Held;
use super::world::World;
use std::collections::BTreeMap;
use twinpath_flow::field::Field;
use twinpath_flow::steps::FlowId;
use twinpath_offload::view::EntryState;

impl World {
    /// What holds after every step.
    pub(crate) fn check_step(&mut self) {
        for view in self.engine.rules() {
            let (Some(total), seen) = (view.counts.total(), self.seen.entry(view.id).or_default())
            else {
                continue;
            };
            assert!(total.packets >= *seen, "rule {:?} went backwards", view.id);
            *seen = total.packets;
            let truth = self.by_rule.get(&view.id).copied().unwrap_or_default();
            assert!(total.packets <= truth.packets, "rule {:?} counts too much", view.id);
        }
        for view in self.engine.flows() {
            let Some(total) = view.counts.total() else { continue };
            let seen = self.seen_flows.entry(view.id).or_default();
            assert!(total.packets >= *seen, "flow {:?} went backwards", view.id);
            *seen = total.packets;
        }
        let Some(card) = self.card.as_ref() else { return };
        let rules = self.rules_at(card.generation).1;
        for held in card.entries.values() {
            let serves = held.entry.from <= card.generation
                && held.until.is_none_or(|(until, _)| card.generation < until);
            let rule = self.rule_of_output(held.entry.edit.outputs[0]);
            let port = held.entry.matching.value.get(Field::InPort) as usize - 1;
            assert!(
                !serves || rules[port] == rule || (!self.shape.generations && self.next.is_some()),
                "a stale entry serves"
            );
        }
    }

    /// What holds when nothing is under way.
    pub(crate) fn check_quiet(&self) {
        assert!(!self.engine.change_pending(), "a change is stuck");
        let mut ledger = BTreeMap::new();
        for flow in self.engine.flows() {
            assert!(self.soft.contains_key(&flow.id), "a departed flow is kept");
            for entry in flow.entries {
                assert_eq!(entry.state, EntryState::InCard, "an operation did not end");
                ledger.insert(entry.id, (entry.table, entry.matching));
            }
        }
        let card = self.card.as_ref().map_or_else(BTreeMap::new, |card| {
            let content = |h: &Held| (h.entry.table, h.entry.matching);
            card.entries.iter().map(|(id, h)| (*id, content(h))).collect()
        });
        assert_eq!(ledger, card, "ledger and card differ");
        let totals = self.engine.totals();
        if !self.shape.counters {
            return;
        }
        let live = |id: &FlowId| self.soft.contains_key(id);
        let by_flow: u64 =
            self.engine.flows().map(|v| v.counts.total().expect("known").packets).sum();
        let ended = self.seen_flows.iter().filter(|(id, _)| !live(id)).map(|(_, seen)| seen);
        // What an entry counted last may come after its flow was looked at last.
        let known = totals.flows.total().expect("the card counts").packets;
        assert!(by_flow + ended.sum::<u64>() <= known, "flows have more than all packets");
        let sum = totals.flows.total().expect("the card counts");
        assert_eq!(sum.packets + self.lost, self.all.packets, "packets of all flows");
        let by_reason: u64 = self.engine.reasons().iter().map(|view| view.packets).sum();
        assert_eq!(by_reason, totals.flows.software.counts.packets, "packets by reason");
        for id in self.current.1 {
            let view = self.engine.rule(id).expect("in place");
            let lost = self.lost_by_rule.get(&id).copied().unwrap_or(0);
            let truth = self.by_rule.get(&id).copied().unwrap_or_default();
            assert_eq!(view.counts.total().expect("known").packets + lost, truth.packets, "{id:?}");
            if lost == 0 {
                assert_eq!(view.counts.total().expect("known").bytes, truth.bytes, "{id:?}");
            }
        }
        assert!(self.lost == 0 || totals.counter_gap.is_some(), "the gap is not told");
    }
}
