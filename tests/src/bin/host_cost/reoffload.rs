//! A card that was reset gets its flows back.

use super::{Figure, Rig, tell};
use twinpath_flow::card::Event;
use twinpath_host_driver::nic::SmartNic as _;
use twinpath_offload::Input;

/// Flows in the card.
const FLOWS: u32 = 100_000;

/// Places of the card.
const PLACES: u32 = 1 << 18;

/// Entries in the card.
fn used(rig: &Rig) -> u32 {
    rig.engine.tables().iter().map(|table| table.used).sum()
}

/// Time passes until all flows are in the card.
fn wait(rig: &mut Rig) {
    let mut turns = 0;
    // Totals pass over all flows; the tables know how many entries they have.
    while used(rig) < FLOWS {
        rig.now.0 += 10_000;
        let due = rig.engine.next_timeout().is_some_and(|due| due <= rig.now);
        if due {
            rig.host(|rig| rig.tell(Input::Timeout));
        }
        if std::mem::take(&mut rig.wants_counts) {
            rig.host(|rig| rig.tell(Input::SoftwareReported));
        }
        if std::mem::take(&mut rig.wants_sweep) {
            rig.sweep();
        }
        rig.turn();
        turns += 1;
        assert!(turns < 100_000, "{} of {FLOWS} flows are in the card", used(rig));
    }
}

/// Host time from the card's wish for a reset until all flows are back.
pub(super) fn measure(figures: &mut Vec<Figure>) {
    let mut rig = Rig::new(PLACES, 0, super::unlimited());
    rig.install(0..FLOWS, 0);
    // The first of them came before the bank had a mask: they are offered when there is time.
    wait(&mut rig);
    let mut times = Vec::new();
    for _ in 0..3 {
        let spent = rig.spent;
        rig.host(|rig| {
            rig.tell(Input::Card(Event::ResetRequest));
            rig.driver.reset(rig.now).expect("a living card");
        });
        wait(&mut rig);
        times.push(rig.spent - spent);
    }
    let name = format!("{FLOWS} flows back in a card of {PLACES} after a reset");
    tell(figures, name, (super::median(times), "ms"), "100");
}
