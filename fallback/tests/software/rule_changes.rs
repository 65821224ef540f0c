//! When rules change, each packet is decided by its own generation, flows that still hold go on
//! counting, and no rule loses a count.

use super::bench::{
    Arrival, Bench, RuleCounts, arrivals, demanded, pipeline, ports, settings, sorted,
};
use std::sync::Arc;
use twinpath_fallback::Settings;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_fallback::software_path::PrepareError;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::reference;
use twinpath_flow::rule::RuleId;
use twinpath_flow::sample::{self, Random};
use twinpath_flow::steps::FlowId;

const OLD: Generation = Generation(1);
const NEW: Generation = Generation(2);

/// The rules of `pipeline` with some taken out and others put in; the rest keep their identities.
fn changed(random: &mut Random, pipeline: &Pipeline) -> Arc<Pipeline> {
    let mut rules: Vec<PlacedRule> = pipeline.iter().cloned().collect();
    rules.retain(|_| !random.chance(10));
    for id in 0..random.below(4) {
        let table = u8::try_from(random.below(4)).expect("below 4");
        let rule = Arc::new(sample::rule(random, &pipeline.ports, table));
        let id = RuleId(1000 + u32::try_from(id).expect("few"));
        let place = random.below(rules.len() + 1);
        rules.insert(place, PlacedRule { id, rule });
    }
    Arc::new(Pipeline::new(Arc::clone(&pipeline.ports), rules))
}

/// Two pipelines, what is sent, and what their rules must have counted.
struct Change {
    seed: u64,
    old: Arc<Pipeline>,
    new: Arc<Pipeline>,
    bench: Bench,
    wanted: RuleCounts,
}

impl Change {
    fn send(&mut self, burst: &[Arrival]) {
        let (fates, drops) = self.bench.send(burst);
        let mut wanted_drops = Vec::new();
        for (arrival, fate) in burst.iter().zip(fates) {
            let pipeline = if arrival.generation == OLD { &self.old } else { &self.new };
            let outcome = reference::process(pipeline, &arrival.frame, arrival.port);
            for rule in &outcome.rules {
                *self.wanted.entry(*rule).or_default() += Counts::one(arrival.frame.len());
            }
            let (right, mut more) = demanded(outcome, arrival.port);
            wanted_drops.append(&mut more);
            assert_eq!(fate, right, "seed {}, {arrival:02x?}", self.seed);
        }
        assert_eq!(sorted(drops), sorted(wanted_drops), "seed {}", self.seed);
        assert_eq!(self.bench.rule_counts(), self.wanted, "seed {}", self.seed);
    }
}

/// Prepares the change three flows at a time, while packets of the old generation go on to come and
/// flows to be made; the stale ones.
fn prepare_under_traffic(
    change: &mut Change,
    random: &mut Random,
    frames: &mut Vec<Arrival>,
) -> Vec<FlowId> {
    let slow_path = Arc::new(SlowPath::new(Arc::clone(&change.new), 5));
    change.bench.path.begin(NEW, Arc::clone(&slow_path)).expect("nothing is pending");
    let again = change.bench.path.begin(NEW, slow_path);
    assert_eq!(again, Err(PrepareError::Pending(NEW)));
    for _ in 0..1_000 {
        if let Some(stale) = change.bench.path.revalidate(3) {
            assert_eq!(change.bench.path.revalidate(3), None, "that was all");
            return stale;
        }
        let ports = Arc::clone(&change.old.ports);
        frames.extend(arrivals(random, &ports, 2));
        change.send(&frames[frames.len() - 8..]);
    }
    panic!("seed {}: no end of flows", change.seed);
}

/// Sends before, during and after a change; how many flows were kept, and how many not.
fn check_seed(seed: u64) -> (usize, usize) {
    let mut random = Random::new(seed);
    let ports = ports(&mut random);
    let old = pipeline(&mut random, &ports);
    let new = changed(&mut random, &old);
    let bench = Bench::new(&old, settings(seed));
    let mut change = Change { seed, old, new, bench, wanted: RuleCounts::new() };
    let mut frames = arrivals(&mut random, &ports, 60);
    change.send(&frames);
    change.send(&frames);

    let stale = if random.chance(50) {
        let new = Arc::clone(&change.new);
        change.bench.path.prepare(NEW, new).expect("nothing is pending")
    } else {
        prepare_under_traffic(&mut change, &mut random, &mut frames)
    };
    let before = change.bench.path.flow_count();
    for round in 0..3 {
        for arrival in &mut frames {
            arrival.generation = if random.chance(50) { OLD } else { NEW };
        }
        if round == 1 {
            frames.extend(arrivals(&mut random, &ports, 20));
        }
        change.send(&frames);
    }

    let removed = change.bench.path.commit(NEW);
    change.bench.settle(&removed);
    assert!(stale.iter().all(|id| removed.iter().any(|gone| gone.id == *id)), "seed {seed}");
    frames.iter_mut().for_each(|arrival| arrival.generation = NEW);
    change.send(&frames);
    (before - stale.len(), stale.len())
}

#[test]
fn each_packet_is_decided_by_its_generation_and_no_count_is_lost() {
    let (mut kept, mut stale) = (0, 0);
    for seed in 0..200 {
        let (more_kept, more_stale) = check_seed(seed);
        kept += more_kept;
        stale += more_stale;
    }
    assert!(kept > 1_000 && stale > 1_000, "{kept} flows kept, {stale} stale");
}

#[test]
fn an_unchanged_pipeline_makes_no_flow_stale() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let ports = ports(&mut random);
        let pipeline = pipeline(&mut random, &ports);
        let mut bench = Bench::new(&pipeline, Settings::default());
        let _ = bench.send(&arrivals(&mut random, &ports, 100));
        let count = bench.path.flow_count();
        assert_eq!(bench.path.prepare(NEW, Arc::clone(&pipeline)), Ok(Vec::new()), "seed {seed}");
        assert_eq!(
            bench.path.prepare(Generation(3), Arc::clone(&pipeline)),
            Err(PrepareError::Pending(NEW))
        );
        assert!(bench.path.commit(NEW).is_empty());
        assert_eq!(bench.path.prepare(OLD, pipeline), Err(PrepareError::NotNewer(OLD)));
        assert_eq!(bench.path.flow_count(), count);
    }
}

#[test]
fn a_removed_flow_gives_its_final_counts_and_is_made_anew() {
    let mut random = Random::new(3);
    let ports = ports(&mut random);
    let pipeline = pipeline(&mut random, &ports);
    let mut bench = Bench::new(&pipeline, Settings::default());
    let frames = arrivals(&mut random, &ports, 200);
    let _ = bench.send(&frames);
    let counts = bench.rule_counts();
    let ids: Vec<_> = bench.path.flows().map(|view| view.id).collect();
    let removed: Vec<_> = ids.iter().filter_map(|id| bench.path.remove(*id)).collect();
    assert_eq!((removed.len(), bench.path.flow_count()), (ids.len(), 0));
    assert_eq!(bench.path.mask_count(), 0);
    bench.settle(&removed);
    assert_eq!(bench.rule_counts(), counts);
    assert!(bench.path.remove(ids[0]).is_none());
    let _ = bench.send(&frames);
    let again: Vec<_> = bench.path.flows().map(|view| view.id).collect();
    assert_eq!(again.len(), ids.len());
    assert!(ids.iter().all(|id| !again.contains(id)), "identities are not reused");
}
