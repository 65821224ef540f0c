//! Claiming what a card holds that went on by itself: an entry stays if the rules in force make just it.
//!
//! The flow that its match leads to is made anew; the driver compares what the card has with what that
//! flow would have written. Whatever differs is taken out: its packets are misses, and their flows are
//! offered like any others.

use super::brain::Brain;
use super::software::Software;
use std::sync::Arc;
use twinpath_flow::card::{Entry, Inheritance, Inherited};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic;
use twinpath_offload::adopt::Adopted;
use twinpath_offload::io::Input;

/// Has flows claim the entries of a card; those that stay.
pub(super) fn claim<N: SmartNic + ?Sized>(
    nic: &mut N,
    inheritance: &Inheritance,
    (software, brain): (&mut Software, &mut Brain),
    now: Time,
) -> Vec<Adopted> {
    let mut kept = Vec::with_capacity(inheritance.entries.len());
    for found in &inheritance.entries {
        let flow = flow_of(found, (&mut *software, &mut *brain), now);
        let entry = flow.as_ref().and_then(|(_, flow)| entry_of(found, flow));
        match (flow, entry) {
            (Some((flow, _)), Some(entry)) => {
                if nic.claim(&entry) {
                    kept.push(Adopted { found: *found, flow });
                }
            }
            _ => nic.disown(found.id),
        }
    }
    let (count, strays) = (inheritance.entries.len() - kept.len(), inheritance.strays);
    brain.events.event(
        now,
        format!("card taken over: {} entries stay, {} are taken out", kept.len(), count + strays),
    );
    kept
}

/// The flow that decides the packets of an entry, made if need be.
fn flow_of(
    found: &Inherited,
    (software, brain): (&mut Software, &mut Brain),
    now: Time,
) -> Option<(FlowId, Arc<Flow>)> {
    let key = sample(found);
    let (view, is_new) = software.path.adopt(now, &key)?;
    let (id, flow) = (view.id, view.flow);
    if is_new {
        let (from, until) = (brain.generation(), None);
        let flow = Arc::clone(&flow);
        brain.tell(now, Input::FlowMade { id, flow, key, from, until });
    }
    Some((id, flow))
}

/// A packet that the entry takes: what it does not look at is 0, but a TTL that does not expire.
fn sample(found: &Inherited) -> Key {
    let mut key = found.matching.value;
    if found.matching.mask.get(Field::IpTtl) == 0 {
        key.set(Field::IpTtl, Field::IpTtl.full_mask());
    }
    key
}

/// The entry as the flow would have it; none when the flow looks at more than the entry does.
fn entry_of(found: &Inherited, flow: &Flow) -> Option<Entry> {
    if !flow.matching.mask.is_subset_of(&found.matching.mask) {
        return None;
    }
    Some(Entry {
        id: found.id,
        table: found.table,
        matching: found.matching,
        edit: Arc::new(Edit::fold(flow).ok()?),
        ttl_threshold: flow.ttl_threshold,
        from: found.from,
    })
}
