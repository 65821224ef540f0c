//! What a card driver offers: flow operations, counters, health, packet queues.
//!
//! Asynchronous, batched, bounded: `submit` never waits, every operation ends in exactly one
//! `Event::Done` or, when the card dies or is reset, in `Refusal::Reset`.

use twinpath_flow::card::{
    Capabilities, CounterSink, DeathCause, Entry, EntryId, Epoch, Event, FlowOp, Health,
    Inheritance, RxMeta, Sweep,
};
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// Why a reset did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// The card is gone.
    #[error("card is dead: {0}")]
    Dead(DeathCause),
    /// The card did not come back in time.
    #[error("card did not become ready within {0} ms")]
    Deadline(u64),
    /// The card is not one this driver knows.
    #[error("card identity {identity:#x} version {version} is not supported")]
    Identity {
        /// Identity read.
        identity: u32,
        /// Version read.
        version: u32,
    },
}

/// What a card that is up does with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its entries decide.
    #[default]
    Forward,
    /// Every packet goes to the host.
    Bypass,
}

/// A card under the control of its driver.
pub trait SmartNic {
    /// What the card can do; constant within an epoch, empty until the first `Event::Up`.
    fn capabilities(&self) -> &Capabilities;

    /// Takes a prefix of `ops`, in order, and returns its length; the rest is back-pressure.
    fn submit(&mut self, now: Time, ops: &[FlowOp]) -> usize;

    /// Moves work on (bring-up and reset too) and appends what ended. Never waits: call it again
    /// after the card had time to work.
    fn poll(&mut self, now: Time, out: &mut Vec<Event>);

    /// Reports every entry's counters to `sink` and asks the card for the next sweep.
    ///
    /// Never waits: what is reported is the newest sweep that has arrived, `None` if none has
    /// since the last call.
    fn sweep_counters(&mut self, now: Time, sink: &mut dyn CounterSink) -> Option<Sweep>;

    /// State of the card.
    fn health(&mut self, now: Time) -> Health;

    /// Starts a reset and returns the epoch that begins with it; never waits.
    ///
    /// Outstanding operations end in `Refusal::Reset` at the next `poll`. The card comes up anew,
    /// empty: until `poll` reports `Event::Up` with this epoch, `submit` takes nothing and queues
    /// taken before are inert (they neither receive nor send; drop them).
    /// `Event::Dead` ends a reset that did not succeed; another may be tried.
    ///
    /// # Errors
    /// [`ResetError`] when the reset cannot even be started.
    fn reset(&mut self, now: Time) -> Result<Epoch, ResetError>;

    /// What the card is to do with packets, now if it is up, and after each reset. A card without a
    /// bypass has no entries while the host adds none, which is the same.
    fn set_mode(&mut self, mode: Mode) {
        let _no_bypass = mode;
    }

    /// What a former driver left in the card, once, after the `Event::Up` of a card that was adopted;
    /// `None` for one that was reset, and for drivers that cannot adopt.
    fn take_inheritance(&mut self) -> Option<Inheritance> {
        None
    }

    /// Keeps an inherited entry if the card holds just this; else it is taken out. Whether it stays.
    fn claim(&mut self, _entry: &Entry) -> bool {
        false
    }

    /// Takes an inherited entry out. No operation is taken by `submit` before that is done.
    fn disown(&mut self, _id: EntryId) {}

    /// Why a card that was to be adopted was reset.
    fn why_reset(&self) -> Option<String> {
        None
    }

    /// Leaves the card, if it is up, as it is from a drop on, for a driver to come.
    fn leave(&mut self) {}

    /// The packet queues, one per worker, once; empty on later calls until a reset.
    fn take_queues(&mut self) -> Vec<Box<dyn CardQueue>>;
}

/// Takes received frames out of a queue without a reference into memory the card can write.
pub trait RxSink {
    /// One frame of `length` bytes; `fill` must be called once with a buffer of that length.
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8]));
}

/// A frame to send.
#[derive(Clone, Copy, Debug)]
pub struct TxFrame<'a> {
    /// Physical port.
    pub port: PortNo,
    /// Bytes without FCS.
    pub data: &'a [u8],
}

/// One receive and transmit queue pair, owned by one worker.
pub trait CardQueue: Send {
    /// Index of the queue, as in `Fence::delivered`.
    fn index(&self) -> usize;

    /// Hands at most `max` received frames to `sink`, returns how many.
    ///
    /// # Errors
    /// [`DeathCause`] when the ring holds what no card would write.
    fn rx_burst(&mut self, max: usize, sink: &mut dyn RxSink) -> Result<usize, DeathCause>;

    /// Frames taken out of the queue since bring-up.
    fn delivered(&self) -> u64;

    /// Sends a prefix of `frames` and returns its length; the rest is back-pressure.
    fn tx_burst(&mut self, frames: &[TxFrame<'_>]) -> usize;
}
