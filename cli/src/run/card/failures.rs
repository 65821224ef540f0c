//! A card that fails: found out in time, software takes over, and what follows.

use super::tests::Bench;
use super::*;
use crate::run::recovery::Standing;
use twinpath_hw_sim::fault::{Class, Incident, Plan};

const MS: u64 = 1_000_000;

/// Frames arrive this often.
const GAP: Duration = Duration::from_micros(10);

const RULE: &str = "in_port=1,actions=output:2\n";

impl Bench {
    /// A frame arrives, and card and host have a time to work; packets decided since.
    fn frame(&mut self) -> u64 {
        let before = self.decided();
        self.now = self.now.after(GAP);
        self.brain.tick(self.now);
        self.card.take(self.now, PortNo(1), &[2; 60]);
        let mut wires = Ports::new(Vec::new());
        for step in 0..5 {
            let at = self.now.after(STEP * step);
            self.card.advance(at, &mut self.brain, &mut wires);
        }
        self.now = self.now.after(STEP * 5);
        self.decided() - before
    }

    fn decided(&self) -> u64 {
        let fates = self.card.fates(0);
        fates.card.unwrap() + fates.software
    }

    fn by_card(&self) -> u64 {
        self.card.fates(0).card.unwrap()
    }

    /// Frames for so long; how many were decided, by anybody, and by the card.
    fn frames(&mut self, milliseconds: u64) -> (u64, u64, u64) {
        let (end, before, card) = (self.now.0 + milliseconds * MS, self.decided(), self.by_card());
        let mut sent = 0;
        while self.now.0 < end {
            self.frame();
            sent += 1;
        }
        (sent, self.decided() - before, self.by_card() - card)
    }

    fn suffer(&mut self, class: Class, milliseconds: Option<u64>) {
        let lasts = milliseconds.map(|milliseconds| milliseconds * MS);
        let incident = Incident { class, at: self.now.0, lasts, amount: None };
        self.card.device().inject(incident).unwrap();
    }

    fn said(&self, text: &str) -> bool {
        self.brain
            .events
            .happenings(Time(0))
            .iter()
            .any(|happening| serde_json::to_string(happening).unwrap().contains(text))
    }
}

/// Nanoseconds from a fault to its detection, from there to the first frame that is decided, and
/// frames lost.
fn fails(class: Class) -> (u64, u64, u64) {
    let mut bench = Bench::new(RULE);
    bench.frames(5);
    let (began, decided) = (bench.now, bench.decided());
    bench.suffer(class, None);
    let mut sent = 0;
    while bench.card.recovery().failures() == 0 {
        bench.frame();
        sent += 1;
        assert!(bench.now.since(began) < Duration::from_secs(1), "{class} was not found out");
    }
    let found = bench.now;
    while bench.frame() == 0 {
        sent += 1;
        assert!(bench.now.since(found) < Duration::from_secs(1), "{class}: no takeover");
    }
    let taken_over = bench.now;
    let (more, _, by_card) = bench.frames(20);
    assert!(by_card > 0, "{class}: the card has its flow again");
    let lost = sent + 1 + more - (bench.decided() - decided);
    let span = |from: Time, to: Time| u64::try_from(to.since(from).as_nanos()).unwrap();
    (span(began, found), span(found, taken_over), lost)
}

#[test]
fn a_dead_card_is_found_out_in_10_ms_and_software_takes_over_in_1_ms() {
    for class in
        [Class::HeartbeatStopped, Class::EngineDead, Class::ResetWanted, Class::DmaUnmapped]
    {
        let (found, taken_over, lost) = fails(class);
        let seen = format!("{class}: found out after {found} ns, taken over after {taken_over} ns");
        assert!(found <= 10 * MS, "{seen}");
        assert!(taken_over <= MS, "{seen}");
        assert!(lost <= MS / 10_000, "{seen}, {lost} lost");
    }
}

#[test]
fn a_card_that_keeps_failing_is_left_out_and_software_goes_on() {
    let mut bench = Bench::new(RULE);
    let limits = Limits { failures: 4, ..Limits::default() };
    bench.card.set_recovery(limits);
    bench.frames(5);
    bench.suffer(Class::EngineDead, Some(100_000));
    let (sent, decided, _) = bench.frames(2_000);
    assert_eq!(bench.card.recovery().standing(), Standing::LeftOut);
    assert!(bench.said("left out after 5 failures"));
    assert!(sent - decided < sent / 1_000, "{} of {sent} lost", sent - decided);
    bench.card.device().clear_faults();
    let (sent, decided, by_card) = bench.frames(100);
    assert_eq!((decided, by_card), (sent, 0), "left out: nothing is lost, all is software's");
    assert_eq!(bench.card.describe(bench.now).1, "bypass");
    bench.card.resume(bench.now, &mut bench.brain);
    bench.frames(5);
    let (sent, decided, by_card) = bench.frames(10);
    assert_eq!((decided, by_card), (sent, sent), "trusted again");
}

#[test]
fn a_drained_card_loses_neither_packets_nor_counts() {
    let mut bench = Bench::new(RULE);
    let (sent, decided, by_card) = bench.frames(20);
    assert!(decided == sent && by_card > sent / 2);
    bench.card.obey(bench.now, Order::Drain, &mut bench.brain);
    let (more, decided, _) = bench.frames(20);
    assert_eq!(decided, more, "nothing is lost while it is drained");
    let (rest, decided, by_card) = bench.frames(10);
    assert_eq!((decided, by_card), (rest, 0), "software forwards");
    assert!(bench.said("out of use"));
    let totals = bench.brain.engine.totals();
    assert_eq!(totals.counter_gap, None, "every packet of the card is counted");
    assert_eq!(totals.flows.card.unwrap().counts.packets, bench.by_card());
    assert_eq!(totals.entries, 0);
    bench.card.obey(bench.now, Order::Resume, &mut bench.brain);
    bench.frames(5);
    let (sent, _, by_card) = bench.frames(10);
    assert_eq!(by_card, sent);
}

#[test]
fn a_card_with_every_fault_forwards_again_when_it_is_mended() {
    let mut bench = Bench::new(RULE);
    bench.frames(2);
    bench.card.device().set_faults(Plan::all(5, 300));
    bench.frames(3_000);
    let fired: u64 = bench.card.device().fired().iter().map(|(_, count)| count).sum();
    assert!(fired > 50, "{fired}");
    bench.card.device().clear_faults();
    bench.card.resume(bench.now, &mut bench.brain);
    bench.frames(2_000);
    let (sent, decided, by_card) = bench.frames(10);
    assert_eq!((decided, by_card), (sent, sent));
}
