//! A card that went on by itself while no daemon was there.

use super::Host;
use crate::run::adopt;
use crate::run::brain::Brain;
use crate::run::software::Software;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_flow::card::{EntryId, Epoch};
use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic;
use twinpath_offload::adopt::Adoption;
use twinpath_offload::io::{Input, ResetCause};

impl<N: SmartNic + ?Sized> Host<N> {
    /// Says what is counted already of the entries of a card that is to be taken over.
    pub(crate) fn expect(&mut self, counted: BTreeMap<EntryId, Counts>) {
        self.counted = counted;
    }

    /// Takes over what a card that is up holds; `false` for one that was reset and is empty.
    pub(super) fn take_over(
        &mut self,
        epoch: Epoch,
        now: Time,
        (software, brain): (&mut Software, &mut Brain),
    ) -> bool {
        let counted = std::mem::take(&mut self.counted);
        brain.begin_changes();
        let Some(inheritance) = self.nic.take_inheritance() else { return false };
        let has_generations = self.nic.capabilities().generations;
        if has_generations && inheritance.generation != brain.generation() {
            brain.events.error(now, "the card is in another generation than the state".into());
            brain.wants.reset = Some(ResetCause::Requested);
            return true;
        }
        let entries = adopt::claim(&mut *self.nic, &inheritance, (software, brain), now);
        let capabilities = Arc::new(self.nic.capabilities().clone());
        let masks = inheritance.masks;
        let adoption = Adoption { capabilities, epoch, masks, entries, counted };
        brain.tell(now, Input::CardAdopted(Box::new(adoption)));
        if inheritance.leaving > 0 {
            // They leave with the next commit, whatever it changes.
            brain.change(|_| ());
        }
        true
    }
}
