//! TCP connections that end: their flows need not wait for the idle time.
//!
//! Only software sees flags: a FIN or RST of a connection whose flow is wholly in the card passes there,
//! and that flow ends by its idle time.

use crate::engine::Engine;
use crate::flows::{FlowIndex, FlowRecord};
use std::time::Duration;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::time::Time;

/// How long a flow stays after its connection's last packet: for the other side's FIN, and what is
/// sent again.
const CLOSING_IDLE: Duration = Duration::from_secs(1);

/// Protocol number of TCP (RFC 9293 section 3.1 has the flags).
const TCP: u128 = 6;
const FIN: u128 = 1;
const SYN: u128 = 2;
const RST: u128 = 4;

impl Engine {
    /// Looks at the flags of a packet in software: a connection that ends, or begins anew.
    pub(crate) fn look_at_flags(&mut self, index: FlowIndex, key: &Key) {
        let flags = key.get(Field::TcpFlags);
        if flags & (FIN | SYN | RST) == 0 || key.get(Field::IpProto) != TCP {
            return;
        }
        let due = self.now.after(CLOSING_IDLE);
        let Some(record) = self.flows.get_mut(index) else { return };
        let ends = flags & (FIN | RST) != 0 && is_connection(record);
        if ends && !record.closing {
            self.idle.insert(due, (index, record.id.generation));
        }
        record.closing = ends;
    }

    /// When a flow is idle long enough if no packet comes.
    pub(crate) fn idle_end(&self, record: &FlowRecord) -> Time {
        let idle = self.settings.flow_idle;
        let idle = if record.closing { idle.min(CLOSING_IDLE) } else { idle };
        self.last_used(record).after(idle)
    }
}

/// Whether the packets of a flow are those of one connection in one direction.
fn is_connection(record: &FlowRecord) -> bool {
    let mask = &record.flow.matching.mask;
    [Field::L4Src, Field::L4Dst].iter().all(|field| mask.get(*field) == field.full_mask())
        && [Field::IpSrc, Field::IpDst].iter().all(|field| mask.get(*field) != 0)
}
