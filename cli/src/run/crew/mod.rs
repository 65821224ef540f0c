//! Several workers that forward in software, each in a thread of its own, seen from the control
//! thread.
//!
//! A worker owns what it needs: wires, software path with its caches and counters, buffers. A frame
//! for another worker's port goes there through a ring ([`mesh`]). The control thread asks
//! ([`order`]) and each worker answers between two bursts, once; nothing is ever sent unasked, so
//! no queue can overflow and no worker waits. With its answer a worker tells what it learned since
//! its last one. A change of rules is two such rounds, prepare and commit; in between packets of
//! either generation are decided, each by its own.
//!
//! Flows of all workers have different identities: the slot times the number of workers plus the
//! worker's number.

mod bell;
mod cpus;
mod mesh;
mod order;
mod worker;

use super::brain::Brain;
use super::forwarder::Fates;
use super::keeper::FlowKeeper;
use super::ports::{PortTotals, Ports};
use super::software::{NO_CONTROLLER_BUFFER, Software};
use crate::clock::Clock;
use crate::config::Config;
use crate::statistics::WorkerView;
use anyhow::{Context as _, anyhow};
use bell::Bell;
use order::{Answer, News, Order, Reply, Standing};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use twinpath_fallback::software_path::{PrepareError, Removed};
use twinpath_flow::card::Generation;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;
use twinpath_offload::io::Input;
use worker::{Intake, Worker};

/// How often workers are asked for news.
const NEWS_EVERY: Duration = Duration::from_millis(50);

/// How long a worker may take to answer: revalidating its flows is the longest.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Flows removed in one round: a few microseconds of a worker.
const REMOVALS_MAX: usize = 64;

/// The control thread's end of a worker.
#[derive(Debug)]
struct Hand {
    orders: SyncSender<Order>,
    replies: Receiver<Reply>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// All workers.
#[derive(Debug)]
pub(crate) struct Crew {
    hands: Vec<Hand>,
    /// CPU and ports of each worker.
    places: Vec<(Option<u16>, Vec<u16>)>,
    standings: Vec<Standing>,
    /// Flows to be removed, by worker, as it names them.
    removals: Vec<Vec<FlowId>>,
    news_due: Time,
    /// The worker that does not answer.
    lost: Cell<Option<usize>>,
}

/// The flow that worker `index` of `count` calls `id`.
fn global(id: FlowId, index: usize, count: usize) -> FlowId {
    let (slot, index) = (usize::try_from(id.index).unwrap_or(usize::MAX), index);
    let slot = u32::try_from(slot * count + index).expect("far fewer flows than 2^32 / 16");
    FlowId { index: slot, generation: id.generation }
}

/// The worker, of `count`, that has the flow, and what it calls it.
fn local(id: FlowId, count: usize) -> (usize, FlowId) {
    let count = u32::try_from(count).expect("few workers");
    let index = usize::try_from(id.index % count).expect("few workers");
    (index, FlowId { index: id.index / count, generation: id.generation })
}

impl Crew {
    /// How many workers a configuration gets: not more than ports, each has at least one.
    pub(crate) fn size(config: &Config) -> usize {
        usize::from(config.workers).min(config.wires.len())
    }

    /// Starts workers that share the wires of `ports`, the first port for the first worker and so
    /// on round and round, and returns with the crew what stands for those ports here.
    ///
    /// # Errors
    /// The CPUs wanted cannot be had, or the system has no more threads or descriptors.
    pub(crate) fn start(
        config: &Config,
        clock: Clock,
        ports: Ports,
        brain: &Brain,
    ) -> anyhow::Result<(Self, Ports)> {
        let count = Self::size(config);
        let cpus = cpus::assign(&config.cpus, count)?;
        let numbers: Vec<PortNo> = ports.lines().iter().map(|line| line.number).collect();
        let owners: Vec<_> = (0..).zip(&numbers).map(|(at, port)| (*port, at % count)).collect();
        let (shares, shown) = ports.deal(count);
        let numbers = |share: &Ports| share.lines().iter().map(|line| line.number.0).collect();
        let places = cpus.iter().copied().zip(shares.iter().map(numbers)).collect();
        let bells: Result<Vec<_>, _> = (0..count).map(|_| Bell::new().map(Arc::new)).collect();
        let bells = bells.context("workers")?;
        let seats = mesh::seats(&bells, &owners.into());
        let mut hands = Vec::with_capacity(count);
        for (index, ((share, seat), bell)) in shares.into_iter().zip(seats).zip(bells).enumerate() {
            let (orders, orders_end) = sync_channel(1);
            let (replies_end, replies) = sync_channel(1);
            let worker = Worker {
                clock,
                poll: config.poll,
                ports: share,
                table: Arc::clone(brain.ports()),
                software: Software::new(brain.generation(), Arc::clone(brain.pipeline())),
                generation: brain.generation(),
                seat,
                bell: Arc::clone(&bell),
                orders: orders_end,
                pending: None,
                replies: replies_end,
                intake: Intake::Open,
                news: News::default(),
                dropped: HashMap::new(),
            };
            let cpu = cpus[index];
            let thread = std::thread::Builder::new().name(format!("twinpath-{index}"));
            let thread = thread.spawn(move || {
                if let Some(cpu) = cpu {
                    cpus::pin(cpu);
                }
                worker.run();
            });
            hands.push(Hand { orders, replies, bell, thread: Some(thread.context("workers")?) });
        }
        let standings = vec![Standing::default(); count];
        let removals = vec![Vec::new(); count];
        let (lost, news_due) = (Cell::new(None), Time::default());
        Ok((Self { hands, places, standings, removals, news_due, lost }, shown))
    }

    /// Asks all workers and tells the brain their news; their answers, in order.
    fn ask(
        &mut self,
        now: Time,
        brain: &mut Brain,
        mut order: impl FnMut(usize) -> Order,
    ) -> Vec<Answer> {
        self.send(&mut order);
        let mut answers = Vec::with_capacity(self.hands.len());
        for index in 0..self.hands.len() {
            let Some(reply) = self.reply(index) else {
                brain.events.error(now, format!("worker {index} does not answer"));
                break;
            };
            if let Some(news) = reply.news {
                self.absorb(now, brain, index, *news);
            }
            answers.push(reply.answer);
        }
        answers
    }

    /// Gives an order to all workers; one that is gone does not answer.
    fn send(&self, order: &mut dyn FnMut(usize) -> Order) {
        if self.lost.get().is_none() {
            for (index, hand) in self.hands.iter().enumerate() {
                let _ = hand.orders.try_send(order(index));
                hand.bell.ring();
            }
        }
    }

    /// The reply of a worker; once one does not come in time, that worker is lost.
    fn reply(&self, index: usize) -> Option<Reply> {
        if self.lost.get().is_some() {
            return None;
        }
        let reply = self.hands[index].replies.recv_timeout(ANSWER_MAX).ok();
        if reply.is_none() {
            self.lost.set(Some(index));
        }
        reply
    }

    /// As [`Self::ask`], for orders that change nothing and whose answers bring no news.
    fn question(&self, order: &Order) -> Vec<Answer> {
        self.send(&mut |_| order.clone());
        let replies = (0..self.hands.len()).map_while(|index| self.reply(index));
        replies.map(|reply| reply.answer).collect()
    }

    fn absorb(&mut self, now: Time, brain: &mut Brain, index: usize, news: News) {
        let count = self.hands.len();
        for made in news.made {
            let id = global(made.id, index, count);
            let (flow, key, from, until) = (made.flow, made.key, made.from, made.until);
            brain.tell(now, Input::FlowMade { id, flow, key, from, until });
        }
        for (rule, counts) in news.rule_counts {
            brain.tell(now, Input::ExceptionCounts { rule, counts });
        }
        brain.events.forget_copies(news.copies_forgotten);
        for copy in news.copies {
            brain.events.copy(copy.time, copy.in_port, copy.length, &copy.frame);
        }
        for _ in 0..news.copies_lost.min(1) {
            brain.events.repeated(now, "times", NO_CONTROLLER_BUFFER.to_owned());
        }
        self.standings[index] = news.standing;
    }

    /// Asks for news if it is time, and does what the brain wants.
    pub(crate) fn advance(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        if now >= self.news_due {
            self.refresh(now, brain, ports);
        } else {
            self.settle(now, brain);
        }
    }

    /// Asks for news, does what the brain wants, and brings the ports' counters up to date.
    pub(crate) fn refresh(&mut self, now: Time, brain: &mut Brain, ports: &mut Ports) {
        self.news_due = now.after(NEWS_EVERY);
        self.ask(now, brain, |_| Order::Report);
        self.settle(now, brain);
        self.show(ports);
    }

    /// Lets the brain settle, and removes the flows it does not want any more.
    fn settle(&mut self, now: Time, brain: &mut Brain) {
        brain.settle(now, Some(self));
        // Ends: each round removes some, and the brain wants each removed once.
        while self.lost.get().is_none() && self.removals.iter().any(|ids| !ids.is_empty()) {
            let mut removals = std::mem::take(&mut self.removals);
            let part =
                |ids: &mut Vec<FlowId>| ids.split_off(ids.len().saturating_sub(REMOVALS_MAX));
            let mut parts: Vec<_> = removals.iter_mut().map(part).collect();
            self.removals = removals;
            let answers =
                self.ask(now, brain, |index| Order::Remove(std::mem::take(&mut parts[index])));
            for removed in self.gone(answers) {
                brain.flow_gone(now, &removed);
            }
            brain.settle(now, Some(self));
        }
    }

    /// Flows that are gone, by their names here.
    fn gone(&self, answers: Vec<Answer>) -> Vec<Removed> {
        let count = self.hands.len();
        let rename = |(index, answer)| {
            let Answer::Gone(removed) = answer else { return Vec::new() };
            let rename =
                |removed: Removed| Removed { id: global(removed.id, index, count), ..removed };
            removed.into_iter().map(rename).collect()
        };
        answers.into_iter().enumerate().flat_map(rename).collect()
    }

    /// Stale flows, by their names here.
    fn stale(&self, answers: Vec<Answer>) -> Result<Vec<FlowId>, PrepareError> {
        let mut stale = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Answer::Stale(ids) => {
                    stale.extend(ids.into_iter().map(|id| global(id, index, self.hands.len())));
                }
                Answer::Refused(error) => return Err(error),
                _ => {}
            }
        }
        Ok(stale)
    }

    /// Brings the ports' counters up to date with what workers last said.
    fn show(&self, ports: &mut Ports) {
        let mut totals: HashMap<PortNo, PortTotals> = HashMap::new();
        for standing in self.standings.iter().flat_map(|standing| &standing.ports) {
            let total = totals.entry(standing.number).or_default();
            total.received += standing.received;
            total.sent += standing.sent;
            total.dropped += standing.dropped;
            total.missed += standing.missed;
        }
        for (port, total) in totals {
            ports.set_totals(port, total);
        }
    }

    /// What became of the packets so far.
    pub(crate) fn fates(&self) -> Fates {
        let mut fates = Fates { card: Some(0), ..Fates::default() };
        let sum = |of: fn(&Standing) -> u64| self.standings.iter().map(of).sum();
        fates.software = sum(|standing| standing.decided);
        fates.dropped = sum(|standing| standing.tally.dropped);
        fates.lose("mtu_in", sum(|standing| standing.tally.mtu_in));
        fates.lose("malformed", sum(|standing| standing.tally.malformed));
        fates.lose("no_buffer", sum(|standing| standing.tally.no_buffer));
        fates
    }

    /// The workers, for people.
    pub(crate) fn views(&self) -> Vec<WorkerView> {
        let both = self.places.iter().zip(&self.standings);
        both.map(|((cpu, ports), standing)| WorkerView {
            cpu: *cpu,
            ports: ports.clone(),
            packets: standing.decided,
            flows: standing.flows,
            handed_over: standing.handed,
            ring_full: standing.full,
        })
        .collect()
    }

    /// When workers are asked for news again.
    pub(crate) const fn next_event(&self) -> Time {
        self.news_due
    }

    /// Whether nothing will come any more, or nothing more can be done: an output cannot be
    /// written, or a worker is lost.
    pub(crate) fn is_over(&self) -> bool {
        let finished = self.standings.iter().all(|standing| standing.is_finished);
        let blocked = self.standings.iter().any(|standing| standing.is_blocked);
        finished || blocked || self.lost.get().is_some()
    }

    /// Lets workers take no more frames.
    pub(crate) fn halt(&mut self, now: Time, brain: &mut Brain) {
        self.ask(now, brain, |_| Order::Halt);
    }

    /// Ends all workers, which send what is left.
    ///
    /// # Errors
    /// A wire failed, or a worker did not answer: what it counted since its last answer is unknown.
    pub(crate) fn end(
        &mut self,
        now: Time,
        brain: &mut Brain,
        ports: &mut Ports,
    ) -> anyhow::Result<()> {
        let answers = self.ask(now, brain, |_| Order::End);
        self.show(ports);
        if let Some(index) = self.lost.get() {
            return Err(anyhow!("worker {index} does not answer"));
        }
        for thread in self.hands.drain(..).filter_map(|hand| hand.thread) {
            // It has given its last answer; a panic behind that has nothing left to spoil.
            let _ = thread.join();
        }
        let failure = |answer| match answer {
            Answer::Ended(failure) => failure,
            _ => None,
        };
        answers.into_iter().find_map(failure).map_or(Ok(()), |failure| Err(failure.into()))
    }
}

impl FlowKeeper for Crew {
    fn prepare(
        &mut self,
        now: Time,
        brain: &mut Brain,
        generation: Generation,
        pipeline: &Arc<Pipeline>,
    ) -> Result<Vec<FlowId>, PrepareError> {
        let order = |_| Order::Prepare(generation, Arc::clone(pipeline));
        let answers = self.ask(now, brain, order);
        self.stale(answers)
    }

    fn commit(&mut self, now: Time, brain: &mut Brain, generation: Generation) -> Vec<Removed> {
        let answers = self.ask(now, brain, |_| Order::Commit(generation));
        self.gone(answers)
    }

    fn remove(&mut self, id: FlowId) -> Option<Removed> {
        let (index, id) = local(id, self.hands.len());
        self.removals[index].push(id);
        None
    }

    fn report(&mut self, now: Time, since: Option<Time>, brain: &mut Brain) {
        let answers = self.ask(now, brain, |_| Order::Count(since));
        for (index, answer) in answers.into_iter().enumerate() {
            let Answer::Counts(flows) = answer else { continue };
            for (id, counts, last_used) in flows {
                let id = global(id, index, self.hands.len());
                let last_used = Some(last_used);
                brain.tell(now, Input::SoftwareCounts { id, counts, last_used });
            }
        }
        brain.tell(now, Input::SoftwareReported);
    }

    fn find(&self, key: &Key) -> Option<(FlowId, Arc<Flow>)> {
        let answers = self.question(&Order::Find(Box::new(*key)));
        answers.into_iter().enumerate().find_map(|(index, answer)| match answer {
            Answer::Found(Some((id, flow))) => Some((global(id, index, self.hands.len()), flow)),
            _ => None,
        })
    }

    fn flow_for(&self, key: &Key) -> Option<Flow> {
        let answers = self.question(&Order::Translate(Box::new(*key)));
        answers.into_iter().find_map(|answer| match answer {
            Answer::Translated(flow) => flow.map(|flow| *flow),
            _ => None,
        })
    }

    fn stale_under(&self, pipeline: &Arc<Pipeline>) -> Vec<FlowId> {
        let answers = self.question(&Order::StaleUnder(Arc::clone(pipeline)));
        self.stale(answers).unwrap_or_default()
    }

    fn flow_counts(&self) -> (usize, u64) {
        let flows = self.standings.iter().map(|standing| standing.flows).sum();
        (flows, self.standings.iter().map(|standing| standing.made).sum())
    }
}

impl Drop for Crew {
    /// Ends workers that were not told to: their orders end with this.
    fn drop(&mut self) {
        for hand in self.hands.drain(..) {
            drop(hand.orders);
            hand.bell.ring();
            if let Some(thread) = hand.thread.filter(|_| self.lost.get().is_none()) {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_all_workers_have_different_names_that_lead_back() {
        let mut names = std::collections::HashSet::new();
        for index in 0..3 {
            for slot in 0..100 {
                let id = FlowId { index: slot, generation: 7 };
                let name = global(id, index, 3);
                assert!(names.insert(name));
                assert_eq!(local(name, 3), (index, id));
            }
        }
    }
}
