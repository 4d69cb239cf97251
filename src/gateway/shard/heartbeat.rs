//! The way of one heartbeat through its shard:
//!
//! ```text
//! hash → lock → find → limiter → handle_heartbeat → registration, acks → unlock
//!      → policy (this thread's own instances) → lock → decide → unlock → reply
//! ```
//! [`Shard::begin`] and [`Shard::finish`] are what happens under the two locks; a batch runs the
//! same two over many heartbeats at once.

use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;

use pulsegate_core::{
    AgentKey, Beat, Classes, Decision, Effects, Handled, Refusal, Slot, TenantId, Ticket,
};
use pulsegate_policy::{Assignment, Evaluation, Memory, PolicySet, Worker};
use pulsegate_wire::{
    AckOutcome, Command, CommandAck, Heartbeat, LeaseGrant, Reason, Registration, Status,
};

use super::cold::Cold;
use super::recording::Judged;
use super::shadow::Subject;
use super::{Charged, Explained, Renewal, Reply, Shard, Shards};
use crate::clock::Reading;
use crate::durable::Mark;

/// Why a heartbeat got no directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The quota of the agent, or of the address that an unknown one came from, is used up. A
    /// known agent's deadline was renewed; nothing else has changed.
    Limited {
        /// When to try again, in milliseconds; at most the time until the agent is due.
        retry_after_ms: u64,
        /// When the agent is due, in milliseconds.
        due_ms: u64,
        /// The heartbeat came from an agent that is not known yet.
        unknown: bool,
    },
    /// The machine refused it; state has not changed.
    Machine(Refusal),
    /// It came before the handshake of its connection was complete, and is more than the renewal
    /// of an agent that beats; state has not changed.
    TooEarly,
}

/// Whether an unknown agent may register now; the error is the time to wait, in milliseconds.
pub type Gate<'a> = &'a dyn Fn() -> Result<(), u64>;

/// Where heartbeats come from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// Whose agents they are of.
    pub tenant: TenantId,
    /// The address that they were observed to come from.
    pub peer: IpAddr,
    /// What an agent that nobody knows yet has to pass.
    pub gate: Gate<'a>,
    /// They came before the handshake of their connection was complete, and somebody may have
    /// recorded and repeated them: they may renew agents that beat, and nothing else.
    pub early: bool,
}

/// What one thread needs to handle heartbeats, kept warm between them.
pub(super) struct Bench {
    pub(super) worker: Worker,
    pub(super) effects: Effects,
    /// Agents of one shard in a batch.
    pub(super) slots: Vec<Option<Slot>>,
}

thread_local! {
    static BENCH: Cell<Option<Box<Bench>>> = const { Cell::new(None) };
}

/// Works on this thread's bench. Whoever is called back meanwhile (an action that ends at once,
/// say) gets one of its own, and a panic costs the bench and nothing else.
pub(super) fn with_bench<R>(work: impl FnOnce(&mut Bench) -> R) -> R {
    let mut bench = BENCH.take().unwrap_or_else(|| Box::new(Bench::new()));
    let result = work(&mut bench);
    BENCH.set(Some(bench));
    result
}

/// A heartbeat taken apart into what the machine takes, what is remembered and what is answered.
pub(super) struct Incoming {
    pub(super) beat: Beat,
    pub(super) registration: Option<Registration>,
    pub(super) acks: Vec<CommandAck>,
    pub(super) sent_at_ms: u64,
}

/// What the first lock gave.
pub(super) enum Begun {
    /// Policies are to judge it.
    Pending(Pending),
    /// It changed nothing: the current directive answers it.
    Answered(Decided),
}

/// A heartbeat between its two locks.
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) assignment: Assignment,
    pub(super) memory: Memory,
    /// Nobody knew the agent before.
    is_new: bool,
    sent_at_ms: u64,
}

/// A directive but for its texts.
pub(super) struct Decided {
    pub(super) decision: Decision,
    pub(super) commands: Vec<Command>,
    pub(super) assignment: Assignment,
    /// What has to be durable before it is sent.
    pub(super) until: Option<Mark>,
    /// What the heartbeat does for the leases of its agent; `None` where it holds none.
    pub(super) renewal: Option<Renewal>,
    /// What the agent may count on.
    pub(super) leases: Vec<LeaseGrant>,
}

impl Shards {
    /// Handles one validated heartbeat, and has `answer` put its directive into bytes, which are
    /// to be sent once [`Reply::until`] is durable.
    ///
    /// # Errors
    /// [`Refused`]; it says what has changed.
    pub fn handle_heartbeat<R>(
        &self,
        origin: Origin<'_>,
        mut heartbeat: Heartbeat,
        answer: impl FnOnce(&Reply<'_>) -> R,
    ) -> Result<R, Refused> {
        let config = self.config.load();
        let policies = self.policies.load();
        let incoming = Incoming::take(&mut heartbeat, &config.classes);
        let key = self.key(origin.tenant, &heartbeat.agent_id);
        let index = self.index(&key);
        let at = self.clock.read();
        with_bench(|bench| {
            let begun = self.under_lock(index, &mut bench.effects, |shard, effects| {
                let known = shard.find(key);
                let admit = || self.admit(origin.gate);
                shard.check_early(at, origin, known, &incoming)?;
                shard.begin(at, &policies, (key, known), incoming, &admit, effects)
            });
            let decided = match begun {
                Err(refused) => Err(refused),
                Ok(Begun::Answered(decided)) => Ok(decided),
                Ok(Begun::Pending(mut pending)) => {
                    if pending.is_new {
                        // Its first directive obeys the leases that it holds already.
                        self.deliver(index, bench);
                    }
                    let evaluation = bench.evaluate(&policies, &mut pending, &heartbeat);
                    self.telemetry.policy_calls(&evaluation);
                    let context = self.context(at, &policies, origin);
                    let ticket = pending.ticket;
                    let assignment = pending.assignment;
                    let decided = self.under_lock(index, &mut bench.effects, |shard, effects| {
                        shard.finish(context, pending, &evaluation, effects)
                    });
                    if assignment.has_shadow() {
                        let (shard, stamp, class) = (index, ticket.stamp, ticket.class);
                        let policies = &policies;
                        let subject = Subject { policies, shard, stamp, assignment, class };
                        let seen = &ticket.observation;
                        self.watch_beat(subject, seen, custom(&heartbeat), &evaluation);
                    }
                    if self.is_recorded(key.hash) {
                        let (tenant, decision) = (origin.tenant, &decided.decision);
                        let heartbeat = &heartbeat;
                        let evaluation = &evaluation;
                        let judged = Judged { tenant, heartbeat, ticket, evaluation, decision };
                        self.record(context, &judged);
                    }
                    Ok(decided)
                }
            };
            self.deliver(index, bench);
            let mut decided = decided.inspect_err(|refused| self.count_refusal(refused))?;
            self.renew(origin.tenant, &heartbeat.agent_id, &mut decided);
            self.count(&heartbeat.agent_id, &decided.decision);
            Ok(answer(&Reply::new(&decided, &policies, &config.directives, self.load())))
        })
    }

    /// Whether there is room for an agent that is not known yet.
    pub(super) fn admit(&self, gate: Gate<'_>) -> Result<(), Refused> {
        if self.is_full() {
            return Err(Refused::Machine(Refusal::Full));
        }
        gate().map_err(|wait_ms| Refused::Limited {
            retry_after_ms: wait_ms,
            due_ms: u64::MAX,
            unknown: true,
        })
    }

    pub(super) fn context<'a>(
        &self,
        at: Reading,
        policies: &'a PolicySet,
        origin: Origin<'_>,
    ) -> Context<'a> {
        let Origin { peer, early, .. } = origin;
        Context { at, policies, peer, early, wall_ms: self.clock.wall_ms(at.raw_ms) }
    }
}

/// What a decision needs beside the shard.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) at: Reading,
    pub(super) policies: &'a PolicySet,
    pub(super) peer: IpAddr,
    pub(super) early: bool,
    pub(super) wall_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self { worker: Worker::new(), effects: Effects::default(), slots: Vec::new() }
    }

    fn evaluate(
        &mut self,
        policies: &PolicySet,
        pending: &mut Pending,
        heartbeat: &Heartbeat,
    ) -> Evaluation {
        let ticket = &pending.ticket;
        self.worker.evaluate(
            policies,
            pending.assignment,
            ticket.class,
            &ticket.observation,
            custom(heartbeat),
            &mut pending.memory,
        )
    }
}

impl Shard {
    /// The slot of an agent, good until the lock ends. What the shell keeps beside the machine is
    /// loaded together with the record.
    pub(super) fn find(&self, key: AgentKey<'_>) -> Option<Slot> {
        let slot = self.machine.find(key)?;
        self.touch(slot);
        Some(slot)
    }

    fn touch(&self, slot: Slot) {
        let cold = self.cold.get(slot.0 as usize);
        black_box(cold.map(Cold::touched));
    }

    /// The slots of many agents: their waits for memory overlap.
    pub(super) fn find_all(&self, keys: &[AgentKey<'_>], slots: &mut Vec<Option<Slot>>) {
        self.machine.find_all(keys, slots);
        slots.iter().flatten().for_each(|slot| self.touch(*slot));
    }

    /// Holds a heartbeat that came early to what such a one may do. Nothing is charged for one
    /// that may not: it comes again.
    ///
    /// # Errors
    /// [`Refused::TooEarly`]; state has not changed.
    pub(super) fn check_early(
        &self,
        at: Reading,
        origin: Origin<'_>,
        known: Option<Slot>,
        incoming: &Incoming,
    ) -> Result<(), Refused> {
        if !origin.early {
            return Ok(());
        }
        let info = known.and_then(|slot| self.machine.info(at.now, slot));
        if incoming.is_renewal(info.as_ref()) { Ok(()) } else { Err(Refused::TooEarly) }
    }

    /// The first lock: the heartbeat renews the deadline, and what policies may see comes out.
    /// `known` is what [`Shard::find`] said under this lock.
    pub(super) fn begin(
        &mut self,
        at: Reading,
        policies: &PolicySet,
        (key, known): (AgentKey<'_>, Option<Slot>),
        incoming: Incoming,
        admit: &dyn Fn() -> Result<(), Refused>,
        effects: &mut Effects,
    ) -> Result<Begun, Refused> {
        let Incoming { beat, registration, acks, sent_at_ms } = incoming;
        match known {
            Some(slot) => {
                self.charge(at, slot, key.hash, &beat, effects)?;
                self.check_frozen(at, slot, &beat, registration.as_ref(), effects)?;
            }
            None => admit()?,
        }
        let handled = self.machine.handle_heartbeat(at.now, key, known, &beat, effects);
        self.settle(effects);
        let ticket = match handled.map_err(Refused::Machine)? {
            Handled::Repeat(decision) => {
                let assignment = self.assignment(decision.slot, policies, key.tenant, at.now);
                // One that came early is never a repeat: that was checked before.
                let renewal = self.repeated(at.now, &decision);
                return Ok(Begun::Answered(self.decided(decision, assignment, renewal)));
            }
            Handled::Observe(ticket) => ticket,
        };
        let slot = ticket.stamp.slot;
        if known.is_none() {
            // A full quota has room for one.
            let mut charged = Charged::default();
            let _ = self.limiter.charge(at.raw_ms, &mut charged);
            self.cold(slot).charged = charged;
        }
        let moved = registration.is_some_and(|registration| {
            // A frozen machine was asked before.
            let handled = self.machine.handle_registration(at.now, slot, registration, effects);
            handled.unwrap_or(false)
        });
        if moved {
            self.cold(slot).assigned = None;
        }
        for ack in &acks {
            let outcome = AckOutcome::from_number(ack.outcome);
            self.machine.handle_ack(at.now, slot, &ack.id, outcome, effects);
        }
        let assignment = self.assignment(slot, policies, key.tenant, at.now);
        let memory = self.cold(slot).beside.as_deref().map(|beside| beside.memory.clone());
        let memory = memory.unwrap_or_default();
        let is_new = known.is_none();
        Ok(Begun::Pending(Pending { ticket, assignment, memory, is_new, sent_at_ms }))
    }

    /// The second lock: the verdict moves the interval, and its story is kept for `explain`.
    pub(super) fn finish(
        &mut self,
        context: Context<'_>,
        pending: Pending,
        evaluation: &Evaluation,
        effects: &mut Effects,
    ) -> Decided {
        let Pending { ticket, assignment, memory, sent_at_ms, .. } = pending;
        let verdict = &evaluation.verdict;
        let decision = self.machine.decide(context.at.now, &ticket, verdict, effects);
        self.settle(effects);
        // Another heartbeat of the agent may have overtaken this one between the locks.
        let is_newest = self.machine.stamp(decision.slot) == Some(ticket.stamp);
        if is_newest {
            let cold = self.cold(decision.slot);
            if memory.revision != [0, 0] {
                cold.beside.get_or_insert_default().memory = memory;
            }
            // An address that was not proven to be the sender's must not become one to probe.
            let seen = cold.last.as_ref().map(|last| last.peer).filter(|_| context.early);
            let explained = Explained {
                observation: ticket.observation,
                judged: (verdict.health, verdict.score),
                health_source: evaluation.health_source,
                hint_ms: verdict.interval_ms,
                decision,
                policies: context.policies.generation(),
                peer: seen.unwrap_or(context.peer),
                sent_at_unix_ms: sent_at_ms,
                decided_at_unix_ms: context.wall_ms,
            };
            cold.last = Some(keep(cold.last.take(), explained));
        }
        let status = ticket.observation.status;
        let renewal = Renewal::of_accepted(&decision, status, context.early);
        self.decided(decision, assignment, renewal)
    }

    /// Charges the agent's quota. Over it, the heartbeat is still a sign of life.
    fn charge(
        &mut self,
        at: Reading,
        slot: Slot,
        hash: u64,
        beat: &Beat,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let mut charged = self.cold(slot).charged;
        let outcome = self.limiter.charge(at.raw_ms, &mut charged);
        self.cold(slot).charged = charged;
        outcome.map_err(|wait_ms| {
            let due_ms = u64::from(self.machine.handle_limited(at.now, slot, beat, effects));
            let retry_after_ms = spread(wait_ms, due_ms, hash);
            Refused::Limited { retry_after_ms, due_ms, unknown: false }
        })
    }

    /// While nothing can be recorded, a heartbeat that tells something new of its agent is a sign
    /// of life and no more: it comes again.
    fn check_frozen(
        &mut self,
        at: Reading,
        slot: Slot,
        beat: &Beat,
        registration: Option<&Registration>,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        let Some(told) = registration.filter(|_| self.machine.is_frozen()) else { return Ok(()) };
        let known = self.machine.info(at.now, slot).and_then(|info| info.registration.cloned());
        if !known.unwrap_or_default().merge(told.clone()) {
            return Ok(());
        }
        self.machine.handle_limited(at.now, slot, beat, effects);
        Err(Refused::Machine(Refusal::ReadOnly))
    }

    fn decided(
        &self,
        decision: Decision,
        assignment: Assignment,
        renewal: Option<Renewal>,
    ) -> Decided {
        let commands = if decision.has_commands {
            self.machine.commands(decision.slot).to_vec()
        } else {
            Vec::new()
        };
        let until = self.awaited(decision.slot);
        Decided { decision, commands, assignment, until, renewal, leases: Vec::new() }
    }
}

impl Incoming {
    /// Takes a validated heartbeat apart; its name and custom metrics stay in it.
    pub(super) fn take(heartbeat: &mut Heartbeat, classes: &Classes) -> Self {
        let class = heartbeat.class.as_deref();
        let metrics = heartbeat.metrics.as_ref();
        let progress = heartbeat.progress.as_ref();
        let beat = Beat {
            incarnation: heartbeat.incarnation,
            sequence: heartbeat.sequence,
            reason: Reason::from_number(heartbeat.reason),
            status: Status::from_number(heartbeat.status),
            class: class.map(|name| classes.find(name).unwrap_or_else(|| classes.normal())),
            directive_seen: heartbeat.directive_seen,
            queue_depth: metrics.and_then(|metrics| metrics.queue_depth),
            active_tasks: metrics.and_then(|metrics| metrics.active_tasks),
            cpu_percent: metrics.and_then(|metrics| metrics.cpu_percent),
            memory_bytes: metrics.and_then(|metrics| metrics.memory_bytes),
            error_count: metrics.and_then(|metrics| metrics.error_count),
            latency_ms: metrics.and_then(|metrics| metrics.latency_ms),
            watermark: progress.map(|progress| progress.watermark),
            stall_after_ms: progress.and_then(|progress| progress.stall_after_ms),
        };
        Self {
            beat,
            sent_at_ms: heartbeat.sent_at_ms,
            registration: heartbeat.take_registration(),
            acks: std::mem::take(&mut heartbeat.command_acks),
        }
    }
}

/// The custom metrics of a heartbeat.
pub(super) fn custom(heartbeat: &Heartbeat) -> &std::collections::BTreeMap<String, f64> {
    static NONE: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    heartbeat.metrics.as_ref().map_or(&NONE, |metrics| &metrics.custom)
}

/// Puts a value into a box that is there already, or into a new one.
fn keep<T>(old: Option<Box<T>>, value: T) -> Box<T> {
    match old {
        Some(mut kept) => {
            *kept = value;
            kept
        }
        None => Box::new(value),
    }
}

/// When a limited agent shall try again: not before its quota allows, spread over half as long
/// again by its hash, and never after it is due.
fn spread(wait_ms: u64, due_ms: u64, hash: u64) -> u64 {
    let late_ms = hash % (wait_ms / 2 + 1);
    wait_ms.saturating_add(late_ms).min(due_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_agent_is_never_told_to_come_after_it_is_due() {
        for hash in 0..10_000 {
            let after = spread(6_000, 8_000, hash);
            assert!((6_000..=8_000).contains(&after));
        }
        assert_eq!(spread(6_000, 2_000, 7), 2_000);
    }

    #[test]
    fn retries_of_limited_agents_are_spread() {
        assert_ne!(spread(1_000, 30_000, 1), spread(1_000, 30_000, 2));
    }
}
