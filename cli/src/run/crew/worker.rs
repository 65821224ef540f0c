//! A worker: its wires, its software path, run to completion in a thread of its own.

use super::bell::Bell;
use super::mesh::{Owner, Seat};
use super::order::{Answer, Copied, News, Order, PortStanding, Reply, Standing};
use crate::clock::Clock;
use crate::config::Poll;
use crate::run::event_ring::KEPT_MAX;
use crate::run::poll::wait_for;
use crate::run::ports::Ports;
use crate::run::software::{Sent, Software};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::Duration;
use twinpath_fallback::PacketPool;
use twinpath_fallback::outbox::DropCause;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_fallback::software_path::Removed;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;

/// How long a worker without work looks again before it sleeps.
const SPIN: Duration = Duration::from_micros(20);

/// Slots of flows looked at between two bursts when counts are asked for: about 50 µs.
const COUNTED_MAX: u32 = 4096;

/// The same when rules change: a translation each.
const TRANSLATED_MAX: u32 = 32;

/// The same when rules have changed: at worst all of them go.
const REMOVED_MAX: u32 = 128;

/// How long it sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Whether frames are taken from wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// Yes.
    Open,
    /// No more.
    Closed,
}

/// What takes longer than a worker may stop, done part by part between bursts.
#[derive(Debug)]
pub(super) enum Task {
    /// Counts of flows used since then; next slot, found so far.
    Count(Option<Time>, u32, Vec<(FlowId, Counts, Time)>),
    /// The generation that is begun.
    Prepare(Generation),
    /// The old generation's flows that went so far.
    Commit(Vec<Removed>),
    /// Flows that would be stale; next slot, found so far.
    Judge(Arc<SlowPath>, u32, Vec<FlowId>),
}

/// A worker. Everything in it is its own but the ends of rings and channels.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) clock: Clock,
    pub(super) poll: Poll,
    /// Its wires.
    pub(super) ports: Ports,
    /// All ports.
    pub(super) table: Arc<PortTable>,
    pub(super) software: Software,
    /// Newest generation: what frames are decided by.
    pub(super) generation: Generation,
    pub(super) seat: Seat,
    pub(super) bell: Arc<Bell>,
    pub(super) orders: Receiver<Order>,
    /// An order that came while it lay down.
    pub(super) pending: Option<Order>,
    pub(super) replies: SyncSender<Reply>,
    pub(super) intake: Intake,
    pub(super) news: News,
    /// What is under way.
    pub(super) task: Option<Task>,
    /// Frames for others' ports that did not leave.
    pub(super) dropped: HashMap<PortNo, u64>,
}

impl Worker {
    /// Works until it is told to end, or there is nobody left to tell it.
    pub(super) fn run(mut self) {
        self.ports.start_at(self.clock.now());
        let mut idle_since = None;
        // Ends: by an order, or when the control thread is gone.
        loop {
            let now = self.clock.now();
            match self.pending.take().map_or_else(|| self.orders.try_recv(), Ok) {
                Ok(Order::End) => return self.end(now),
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            self.go_on();
            if self.round(now) > 0 || self.task.is_some() {
                idle_since = None;
                continue;
            }
            let since = *idle_since.get_or_insert(now);
            if self.poll == Poll::Adaptive && now.since(since) >= SPIN {
                self.sleep(now);
                idle_since = None;
            }
        }
    }

    /// Takes a burst from each wire, decides it, sends; and sends what others hand over. How many
    /// packets moved.
    fn round(&mut self, now: Time) -> usize {
        let mut moved = 0;
        if self.intake == Intake::Open {
            for at in 0..self.ports.lines().len() {
                moved += self.receive(at, now);
            }
        }
        moved += self.send_for_others(now);
        self.ports.flush();
        moved
    }

    fn receive(&mut self, at: usize, now: Time) -> usize {
        let ports = &mut self.ports;
        let taken = self
            .software
            .take_burst(self.generation, |pool, burst| ports.receive_packets(at, now, pool, burst));
        if self.software.is_waiting() {
            self.software.decide(now);
            self.gather();
            self.send(now);
        }
        taken
    }

    /// Sends what was decided, out of its own ports or through others.
    fn send(&mut self, now: Time) {
        let (ports, seat, dropped) = (&mut self.ports, &mut self.seat, &mut self.dropped);
        self.software.emit(&self.table, &mut |pool, sent| match sent {
            Sent::Frame(port, mut packet) => match seat.owner(port) {
                Owner::Own => ports.enqueue(port, packet, pool),
                Owner::Peer(peer) => {
                    packet.port = port;
                    if let Err(packet) = seat.hand(peer, packet, pool) {
                        pool.give(packet);
                        *dropped.entry(port).or_default() += 1;
                    }
                }
            },
            Sent::Dropped(port) => match seat.owner(port) {
                Owner::Own => ports.drop_at(port),
                Owner::Peer(_) => *dropped.entry(port).or_default() += 1,
            },
        });
        self.ports.send_waiting(now, &mut self.software.pool);
        self.seat.publish();
    }

    /// Sends what others have decided and handed over.
    fn send_for_others(&mut self, now: Time) -> usize {
        let (ports, pool) = (&mut self.ports, &mut self.software.pool);
        let send = &mut |pool: &mut PacketPool, packet: twinpath_fallback::Packet| {
            ports.enqueue(packet.port, packet, pool);
        };
        let taken = self.seat.take(pool, send);
        self.ports.send_waiting(now, pool);
        self.seat.settle(pool);
        taken
    }

    /// Keeps what was learned until it is asked for.
    fn gather(&mut self) {
        let outbox = &mut self.software.outbox;
        let news = &mut self.news;
        outbox.hits.clear();
        for (rule, counts) in outbox.rule_counts.drain(..) {
            *news.rule_counts.entry(rule).or_default() += counts;
        }
        for copy in outbox.controller.drain(..) {
            let mut frame = Vec::new();
            if news.copies.len() == KEPT_MAX {
                news.copies_forgotten += 1;
                frame = news.copies.pop_front().map_or(frame, |oldest| oldest.frame);
            }
            frame.clear();
            frame.extend_from_slice(copy.packet.frame());
            let (time, in_port, length) = (copy.packet.time, copy.in_port, copy.len);
            news.copies.push_back(Copied { time, in_port, length, frame });
            self.software.pool.give(copy.packet);
        }
        let lost = |cause| cause == DropCause::NoControllerBuffer;
        let lost = outbox.drops.iter().filter(|dropped| lost(dropped.cause)).count();
        news.copies_lost += u64::try_from(lost).unwrap_or(u64::MAX);
    }

    fn obey(&mut self, order: Order) {
        let path = &mut self.software.path;
        let answer = match order {
            Order::Report => Answer::Done,
            Order::Count(since) => {
                self.task = Some(Task::Count(since, 0, Vec::new()));
                return;
            }
            Order::Prepare(generation, slow_path) => match path.begin(generation, slow_path) {
                Ok(()) => {
                    self.task = Some(Task::Prepare(generation));
                    return;
                }
                Err(error) => Answer::Refused(error),
            },
            Order::Judge(slow_path) => {
                self.task = Some(Task::Judge(slow_path, 0, Vec::new()));
                return;
            }
            Order::Commit(generation) => {
                path.switch(generation);
                self.task = Some(Task::Commit(Vec::new()));
                return;
            }
            Order::Remove(ids) => {
                Answer::Gone(ids.into_iter().filter_map(|id| path.remove(id)).collect())
            }
            Order::Find(key) => {
                let found = path.find(&key).map(|view| (view.id, view.flow));
                return self.reply(None, Answer::Found(found));
            }
            Order::Halt => {
                self.intake = Intake::Closed;
                Answer::Done
            }
            Order::End => Answer::Ended(None),
        };
        let news = Some(self.take_news());
        self.reply(news, answer);
    }

    /// Does the next part of what is under way; answers when that was the last.
    fn go_on(&mut self) {
        let Some(task) = self.task.take() else { return };
        let path = &mut self.software.path;
        let slots = path.slot_count();
        match task {
            Task::Count(since, next, mut found) => {
                let end = next.saturating_add(COUNTED_MAX);
                let used = path.usages_in(next..end).filter(|(_, usage)| {
                    let is_recent = since.is_none_or(|since| usage.last_used >= since);
                    is_recent && usage.counts != Counts::default()
                });
                found.extend(used.map(|(id, usage)| (id, usage.counts, usage.last_used)));
                if end < slots {
                    self.task = Some(Task::Count(since, end, found));
                } else {
                    let news = Some(self.take_news());
                    self.reply(news, Answer::Counts(found));
                }
            }
            Task::Prepare(generation) => match path.revalidate(TRANSLATED_MAX) {
                Some(stale) => {
                    self.generation = generation;
                    let news = Some(self.take_news());
                    self.reply(news, Answer::Stale(stale));
                }
                None => self.task = Some(Task::Prepare(generation)),
            },
            Task::Commit(mut gone) => {
                if path.sweep(REMOVED_MAX, &mut gone) {
                    self.task = Some(Task::Commit(gone));
                } else {
                    let news = Some(self.take_news());
                    self.reply(news, Answer::Gone(gone));
                }
            }
            Task::Judge(slow_path, next, mut found) => {
                let end = next.saturating_add(TRANSLATED_MAX);
                found.extend(path.stale_in(next..end, &slow_path));
                if end < slots {
                    self.task = Some(Task::Judge(slow_path, end, found));
                } else {
                    self.reply(None, Answer::Stale(found));
                }
            }
        }
    }

    fn take_news(&mut self) -> Box<News> {
        let mut news = std::mem::take(&mut self.news);
        news.made = std::mem::take(&mut self.software.outbox.made);
        news.standing = self.standing();
        Box::new(news)
    }

    fn reply(&self, news: Option<Box<News>>, answer: Answer) {
        // Full or gone: the control thread has given this worker up and says so itself.
        let _ = self.replies.try_send(Reply { news, answer });
    }

    fn standing(&self) -> Standing {
        let totals = self.software.path.totals();
        let own = self.ports.lines().iter().map(|line| PortStanding {
            number: line.number,
            received: line.received,
            sent: line.sent(),
            dropped: line.send_dropped(),
            missed: line.missed(),
        });
        let none = Counts::default();
        let others = self.dropped.iter().map(|(number, dropped)| PortStanding {
            number: *number,
            received: none,
            sent: none,
            dropped: *dropped,
            missed: 0,
        });
        Standing {
            ports: own.chain(others).collect(),
            decided: self.software.decided(),
            tally: self.software.tally,
            flows: self.software.path.flow_count(),
            made: totals.flows_made,
            handed: self.seat.handed,
            full: self.seat.full,
            is_finished: self.ports.are_finished(),
            is_blocked: self.ports.are_blocked(),
        }
    }

    /// Waits until a wire, another worker or the control thread has something.
    fn sleep(&mut self, now: Time) {
        self.bell.lie_down();
        // What came before the flag was up did not ring.
        self.pending = self.orders.try_recv().ok();
        if self.pending.is_none() && !self.seat.is_waiting() {
            let arrival = self.ports.next_arrival().filter(|_| self.intake == Intake::Open);
            let arrival = arrival.map_or(SLEEP_MAX, |(time, _)| time.since(now));
            let bell = [(self.bell.descriptor(), false)];
            wait_for(arrival.min(SLEEP_MAX), &self.ports, bell.into_iter());
        }
        self.bell.get_up();
    }

    /// Sends what is left and ends the wires. All others take no more frames.
    fn end(mut self, now: Time) {
        // Ends: rings are bounded, and nobody fills them any more.
        while self.send_for_others(now) > 0 {}
        self.ports.flush();
        let failure = self.ports.finish();
        let news = Some(self.take_news());
        self.reply(news, Answer::Ended(failure));
    }
}
