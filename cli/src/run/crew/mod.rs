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
//! Flows of all workers have different identities ([`flows`]).

mod bell;
mod cpus;
mod flows;
mod mesh;
mod order;
mod worker;

use super::brain::Brain;
use super::forwarder::Fates;
use super::ports::{PortTotals, Ports};
use super::software::{NO_CONTROLLER_BUFFER, Software, fresh_seed, fresh_settings};
use crate::clock::Clock;
use crate::config::Config;
use crate::statistics::WorkerView;
use anyhow::{Context as _, anyhow};
use bell::Bell;
use flows::global;
use order::{Answer, News, Order, Reply, Standing};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use twinpath_fallback::Settings;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_flow::port::PortNo;
use twinpath_flow::steps::FlowId;
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
    /// Seed of the hashes of indexed rules.
    seed: u64,
    /// The rules in force, indexed.
    slow_path: Arc<SlowPath>,
    /// Those that are prepared.
    prepared: Option<Arc<SlowPath>>,
    /// The worker that does not answer.
    lost: Cell<Option<usize>>,
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
        if count < usize::from(config.workers) {
            tracing::warn!("workers = {}: {count} run, one for each port", config.workers);
        }
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
                software: Software::new(
                    // No card, so nobody asks how hot a flow is.
                    Settings { hit_samples: 0, ..fresh_settings(config.kernel) },
                    brain.generation(),
                    Arc::clone(brain.pipeline()),
                ),
                generation: brain.generation(),
                seat,
                bell: Arc::clone(&bell),
                orders: orders_end,
                pending: None,
                replies: replies_end,
                intake: Intake::Open,
                news: News::default(),
                task: None,
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
        let seed = fresh_seed();
        let crew = Self {
            hands,
            places,
            standings,
            removals,
            news_due: Time::default(),
            seed,
            slow_path: Arc::new(SlowPath::new(Arc::clone(brain.pipeline()), seed)),
            prepared: None,
            lost: Cell::new(None),
        };
        Ok((crew, shown))
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
            let was_lost = self.lost.get().is_some();
            let Some(reply) = self.reply(index) else {
                if !was_lost {
                    brain.events.error(now, format!("worker {index} does not answer"));
                }
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
    use twinpath_flow::port::PortTable;

    /// A worker that answers nothing and is gone.
    fn dead() -> Hand {
        let (orders, _) = sync_channel(1);
        let (_, replies) = sync_channel(1);
        let bell = Arc::new(Bell::new().unwrap());
        Hand { orders, replies, bell, thread: None }
    }

    #[test]
    fn a_worker_that_is_gone_ends_the_run_with_an_error() {
        let table = Arc::new(PortTable::new(Vec::new()).unwrap());
        let settings = twinpath_offload::Settings::default();
        let mut brain = Brain::new(table, Vec::new(), settings, Time(0));
        let mut crew = Crew {
            hands: vec![dead(), dead()],
            places: vec![(None, vec![1]), (None, vec![2])],
            standings: vec![Standing::default(); 2],
            removals: vec![Vec::new(); 2],
            news_due: Time(0),
            seed: 1,
            slow_path: Arc::new(SlowPath::new(Arc::clone(brain.pipeline()), 1)),
            prepared: None,
            lost: Cell::new(None),
        };
        let mut ports = Ports::new(Vec::new());
        assert!(!crew.is_over());
        crew.advance(Time(1), &mut brain, &mut ports);
        assert!(crew.is_over());
        let error = crew.end(Time(2), &mut brain, &mut ports).unwrap_err();
        assert_eq!(error.to_string(), "worker 0 does not answer");
        let told = brain.events.happenings(Time(0));
        assert_eq!(told.iter().filter(|event| event.text.contains("does not answer")).count(), 1);
    }
}
