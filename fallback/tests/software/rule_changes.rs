//! When rules change, each packet is decided by its own generation, flows that still hold go on
//! counting, and no rule loses a count.

use super::bench::{
    Arrival, Bench, RuleCounts, arrivals, demanded, pipeline, ports, settings, sorted,
};
use std::sync::Arc;
use twinpath_fallback::Settings;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_fallback::software_path::{PrepareError, Removed};
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

/// Pipelines, one a generation from 1 on, what is sent, and what their rules must have counted.
struct Change {
    seed: u64,
    pipelines: Vec<Arc<Pipeline>>,
    bench: Bench,
    wanted: RuleCounts,
}

impl Change {
    fn send(&mut self, burst: &[Arrival]) {
        let (fates, drops) = self.bench.send(burst);
        let mut wanted_drops = Vec::new();
        for (arrival, fate) in burst.iter().zip(fates) {
            let place = usize::try_from(arrival.generation.0 - 1).expect("few");
            let pipeline = &self.pipelines[place];
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

    fn newest(&self) -> (Generation, Arc<Pipeline>) {
        let pipeline = self.pipelines.last().expect("there is always one");
        (Generation(u32::try_from(self.pipelines.len()).expect("few")), Arc::clone(pipeline))
    }

    /// More frames of `generation` than there were, and sends the last of all.
    fn send_more(
        &mut self,
        random: &mut Random,
        frames: &mut Vec<Arrival>,
        generation: Generation,
    ) {
        let ports = Arc::clone(&self.pipelines[0].ports);
        frames.extend(arrivals(random, &ports, 2));
        let last = frames.len().saturating_sub(8);
        frames[last..].iter_mut().for_each(|arrival| arrival.generation = generation);
        self.send(&frames[last..]);
    }
}

/// Prepares the newest pipeline three flows at a time, while packets of the old generation go on to
/// come and flows to be made; the stale ones.
fn prepare_under_traffic(
    change: &mut Change,
    random: &mut Random,
    frames: &mut Vec<Arrival>,
) -> Vec<FlowId> {
    let (generation, pipeline) = change.newest();
    let slow_path = Arc::new(SlowPath::new(pipeline, 5));
    change.bench.path.begin(generation, Arc::clone(&slow_path)).expect("nothing is pending");
    let again = change.bench.path.begin(generation, slow_path);
    assert_eq!(again, Err(PrepareError::Pending(generation)));
    for _ in 0..1_000 {
        if let Some(stale) = change.bench.path.revalidate(3) {
            assert_eq!(change.bench.path.revalidate(3), None, "that was all");
            return stale;
        }
        change.send_more(random, frames, Generation(generation.0 - 1));
    }
    panic!("seed {}: no end of flows", change.seed);
}

/// Puts the newest generation in force and removes what is left of the old one three flows at a
/// time, while packets come.
fn switch_under_traffic(
    change: &mut Change,
    random: &mut Random,
    frames: &mut Vec<Arrival>,
) -> Vec<Removed> {
    let (generation, pipeline) = change.newest();
    assert!(!change.bench.path.switch(Generation(generation.0 + 1)), "nobody prepared that");
    assert!(change.bench.path.switch(generation));
    let mut removed = Vec::new();
    for _ in 0..1_000 {
        let mut gone = Vec::new();
        let goes_on = change.bench.path.sweep(3, &mut gone);
        change.bench.settle(&gone);
        removed.append(&mut gone);
        if !goes_on {
            assert!(!change.bench.path.sweep(3, &mut gone) && gone.is_empty());
            return removed;
        }
        let early = change.bench.path.prepare(Generation(generation.0 + 1), Arc::clone(&pipeline));
        assert_eq!(early, Err(PrepareError::Unswept));
        change.send_more(random, frames, generation);
    }
    panic!("seed {}: no end of flows", change.seed);
}

/// Sends before, during and after a change; how many flows were kept, and how many not.
fn check_change(
    change: &mut Change,
    random: &mut Random,
    frames: &mut Vec<Arrival>,
) -> (usize, usize) {
    let seed = change.seed;
    let new = changed(random, change.pipelines.last().expect("there is always one"));
    change.pipelines.push(new);
    let (generation, pipeline) = change.newest();
    let old = Generation(generation.0 - 1);
    let stale = if random.chance(50) {
        change.bench.path.prepare(generation, pipeline).expect("nothing is pending")
    } else {
        prepare_under_traffic(change, random, frames)
    };
    let before = change.bench.path.flow_count();
    for round in 0..3 {
        for arrival in frames.iter_mut() {
            arrival.generation = if random.chance(50) { old } else { generation };
        }
        if round == 1 {
            let mut more = arrivals(random, &change.pipelines[0].ports, 20);
            more.iter_mut().for_each(|arrival| arrival.generation = old);
            frames.append(&mut more);
        }
        change.send(frames);
    }
    let removed = if random.chance(50) {
        let removed = change.bench.path.commit(generation);
        change.bench.settle(&removed);
        removed
    } else {
        switch_under_traffic(change, random, frames)
    };
    assert!(stale.iter().all(|id| removed.iter().any(|gone| gone.id == *id)), "seed {seed}");
    frames.iter_mut().for_each(|arrival| arrival.generation = generation);
    change.send(frames);
    (before - stale.len(), stale.len())
}

/// Two changes one after the other: generations take turns with their marks.
fn check_seed(seed: u64) -> (usize, usize) {
    let mut random = Random::new(seed);
    let ports = ports(&mut random);
    let old = pipeline(&mut random, &ports);
    let bench = Bench::new(&old, settings(seed));
    let mut change = Change { seed, pipelines: vec![old], bench, wanted: RuleCounts::new() };
    let mut frames = arrivals(&mut random, &ports, 60);
    change.send(&frames);
    change.send(&frames);
    let first = check_change(&mut change, &mut random, &mut frames);
    let second = check_change(&mut change, &mut random, &mut frames);
    (first.0 + second.0, first.1 + second.1)
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
