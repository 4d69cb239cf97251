//! The agent's half of the protocol, without a clock, a socket or chance of its own.
//!
//! Inputs are `handle_*`, outputs are `poll_*`; time comes in as the first argument, counted from
//! any fixed instant. The shell calls `poll_transmit` whenever `poll_timeout` has passed or an
//! input came in, carries out at most one [`Transmit`] at a time, and reports what became of it.
//!
//! Invariants
//! - The next heartbeat is due one directed interval after *sending* the first attempt of the one
//!   that was answered; where that instant has passed, at once plus jitter. So an agent that does
//!   what it is told is never late by the time an answer takes.
//! - Never two attempts at once. A retry carries the same sequence and body, starts only before
//!   the next heartbeat is due, and any answer ends it.
//! - Nothing that arrives can make the engine beat more often than [`MIN_INTERVAL`] or less often
//!   than [`MAX_INTERVAL`].

mod early;
mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_wire::{
    AckOutcome, Code, Command, CommandAck, CommandKind, Directive, Heartbeat, Reason, Registration,
    SCHEMA, Status, limits,
};

use crate::random::Random;
use early::EarlyRules;
pub(crate) use report::Report;

/// Time since any fixed instant, on a clock that only rises.
pub(crate) type Time = Duration;

/// Shortest interval that is obeyed. Source: chosen; a twentieth of the gateway's own bound, so
/// that a faulty answer cannot turn a fleet into a flood.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Longest interval or delay that is obeyed. Source: chosen; twelve times the gateway's bound.
const MAX_INTERVAL: Duration = Duration::from_secs(3_600);
/// Retry delays until a directive names others. Source: DESIGN of the protocol.
const RETRY: [u64; 4] = [1_000, 2_000, 4_000, 8_000];
/// Interval until a directive names one: just past the last of those retries. Source: chosen.
const FIRST_INTERVAL: Duration = Duration::from_secs(16);
/// Share by which retries differ between agents.
const RETRY_SPREAD: f64 = 0.2;
/// Most commands that wait for the agent's program. Source: four directives full of them.
const COMMANDS: usize = 4 * limits::COMMANDS;

/// How the engine works.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) agent_id: String,
    pub(crate) incarnation: u64,
    pub(crate) registration: Registration,
    /// Longest time that one attempt may take.
    pub(crate) attempt_timeout: Duration,
    /// Seed of the jitter.
    pub(crate) seed: u64,
}

/// An attempt to send.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transmit {
    pub(crate) heartbeat: Heartbeat,
    /// Give the attempt up after this.
    pub(crate) give_up_after: Duration,
}

/// What the gateway said instead of a directive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: Option<Code>,
    /// When to come back.
    pub(crate) retry_after: Option<Duration>,
    /// The incarnation known, where an older one was refused.
    pub(crate) limit: Option<u64>,
}

/// Why an agent beats no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It left gracefully, as it was asked to.
    Stopped,
    /// A newer incarnation of the same name beats: this process was replaced.
    Superseded,
    /// An operator let the agent leave.
    Removed,
}

/// What an agent has sent and received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Heartbeats, each counted once however often it was tried.
    pub heartbeats: u64,
    /// Those of them that a rule of `beat_early` caused.
    pub early: u64,
    /// Attempts that repeated a heartbeat.
    pub retries: u64,
    /// Heartbeats answered with a directive.
    pub answered: u64,
    /// Heartbeats answered with a problem.
    pub refused: u64,
    /// Attempts that nobody answered.
    pub unanswered: u64,
}

/// A heartbeat that is not answered yet.
#[derive(Debug)]
struct Pending {
    heartbeat: Heartbeat,
    first_sent: Time,
    last_sent: Time,
    /// Retries made.
    retries: usize,
    /// When the next retry starts, if one may.
    retry_at: Option<Time>,
    /// Whether an attempt is with the network now.
    in_flight: bool,
}

/// The protocol engine of one agent.
#[derive(Debug)]
pub(crate) struct Engine {
    settings: Settings,
    random: Random,
    report: Report,
    sequence: u64,
    directive: Option<Arc<Directive>>,
    early: EarlyRules,
    /// When the next heartbeat is due.
    due: Time,
    /// When an early one is.
    early_due: Option<Time>,
    last_early: Option<Time>,
    pending: Option<Pending>,
    /// Whether the gateway may not know the registration fields.
    unregistered: bool,
    /// Commands that the agent's program has not taken yet.
    commands: VecDeque<Command>,
    /// Ids of commands handed over, so that a repeated one is not done twice.
    seen: VecDeque<String>,
    stopping: bool,
    ended: Option<Ended>,
    counts: Counts,
}

impl Engine {
    /// An engine whose first heartbeat is due now.
    pub(crate) fn new(now: Time, settings: Settings) -> Self {
        Self {
            random: Random::new(settings.seed),
            settings,
            report: Report::default(),
            sequence: 0,
            directive: None,
            early: EarlyRules::default(),
            due: now,
            early_due: None,
            last_early: None,
            pending: None,
            unregistered: true,
            commands: VecDeque::new(),
            seen: VecDeque::new(),
            stopping: false,
            ended: None,
            counts: Counts::default(),
        }
    }

    /// The next attempt to send, if one is due; `wall_ms` is the wall clock in Unix milliseconds.
    pub(crate) fn poll_transmit(&mut self, now: Time, wall_ms: u64) -> Option<Transmit> {
        if self.ended.is_some() || self.pending.as_ref().is_some_and(|p| p.in_flight) {
            return None;
        }
        if now >= self.next_due() {
            self.begin(now, wall_ms);
        } else if !self.repeat(now) {
            return None;
        }
        let give_up_after = self.plan_retry(now);
        self.pending.as_ref().map(|p| Transmit { heartbeat: p.heartbeat.clone(), give_up_after })
    }

    /// When to call `poll_transmit` again, if no input comes before.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        if self.ended.is_some() {
            return None;
        }
        match &self.pending {
            Some(pending) if pending.in_flight => None,
            Some(Pending { retry_at: Some(at), .. }) => Some(self.next_due().min(*at)),
            _ => Some(self.next_due()),
        }
    }

    /// The oldest command that the agent's program has not taken yet.
    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Takes a directive: the answer to the attempt in flight.
    pub(crate) fn handle_directive(&mut self, now: Time, mut directive: Directive) {
        let Some(pending) = self.settle() else { return };
        self.counts.answered += 1;
        self.unregistered = false;
        self.report.forget_acks(&pending.heartbeat.command_acks);
        let commands = std::mem::take(&mut directive.commands);
        self.take_commands(commands);
        let rules = directive.beat_early.as_ref().map_or(&[][..], |early| &early.rules);
        self.early.replace(rules, pending.heartbeat.metrics.as_ref());
        // Never back to an older directive: the gateway has seen the newer one echoed.
        let newest = self.directive.as_ref().map_or(0, |known| known.number);
        if directive.number >= newest {
            self.directive = Some(Arc::new(directive));
        }
        self.due = self.not_before(now, pending.first_sent + self.interval());
        self.watch_metrics(now);
        self.after_answer(now, &pending);
    }

    /// Takes a refusal: also an answer to the attempt in flight, so it ends the retries.
    pub(crate) fn handle_refusal(&mut self, now: Time, refusal: Refusal) {
        let Some(pending) = self.settle() else { return };
        self.counts.refused += 1;
        match refusal.code {
            Some(Code::IncarnationStale) if self.directive.is_none() => {
                // Our clock went back across a restart: we are the newer one, and say so.
                let known = refusal.limit.unwrap_or(self.settings.incarnation);
                let next = known.max(self.settings.incarnation).saturating_add(1);
                self.settings.incarnation = next.min(limits::INTEGER);
                self.sequence = 0;
                self.due = now + self.random.up_to(Duration::from_secs(1));
            }
            Some(Code::IncarnationStale) => self.ended = Some(Ended::Superseded),
            Some(Code::AgentStopped) => self.ended = Some(Ended::Removed),
            _ => {
                let wait = refusal.retry_after.map(|wait| wait.clamp(MIN_INTERVAL, MAX_INTERVAL));
                let due = wait.map_or(pending.first_sent + self.interval(), |wait| now + wait);
                self.due = self.not_before(now, due);
            }
        }
        self.after_answer(now, &pending);
    }

    /// The attempt in flight came to nothing: no connection, or no answer in time.
    pub(crate) fn handle_failure(&mut self, now: Time) {
        let Some(pending) = &mut self.pending else { return };
        pending.in_flight = false;
        self.counts.unanswered += 1;
        // Who does not answer may have been replaced by somebody who knows nothing of us.
        self.unregistered = true;
        if pending.retry_at.is_some() {
            return;
        }
        let said_goodbye = self.stopping && pending.heartbeat.status == Status::Stopping as i32;
        self.pending = None;
        self.due = self.not_before(now, self.due);
        if said_goodbye {
            self.ended = Some(Ended::Stopped);
        }
    }

    /// The connection was lost while idle: whoever answers next may not know us.
    pub(crate) fn handle_disconnect(&mut self) {
        self.unregistered = true;
    }

    /// Changes what the agent reports; metrics may cross a threshold for an early heartbeat.
    pub(crate) fn handle_report(&mut self, now: Time, change: impl FnOnce(&mut Report)) {
        // A change that panics leaves no half-written report behind.
        let mut report = self.report.clone();
        change(&mut report);
        self.report = report;
        self.watch_metrics(now);
    }

    /// Notes what became of a command; the next heartbeat carries it.
    pub(crate) fn handle_ack(&mut self, ack: CommandAck) {
        self.report.acknowledge(ack);
    }

    /// Leaves gracefully: one last heartbeat says so, as soon as the network is free.
    pub(crate) fn handle_stop(&mut self, now: Time) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.report.status = Status::Stopping;
        self.due = now;
    }

    /// Why there are no more heartbeats, once there are none.
    pub(crate) const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// The newest directive.
    pub(crate) const fn directive(&self) -> Option<&Arc<Directive>> {
        self.directive.as_ref()
    }

    /// What was sent and received so far.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    fn next_due(&self) -> Time {
        self.early_due.map_or(self.due, |early| early.min(self.due))
    }

    fn interval(&self) -> Duration {
        match &self.directive {
            Some(directive) => {
                Duration::from_millis(directive.next_interval_ms).clamp(MIN_INTERVAL, MAX_INTERVAL)
            }
            None => FIRST_INTERVAL,
        }
    }

    /// An instant that may have passed: then now, plus jitter so that a fleet spreads out.
    fn not_before(&mut self, now: Time, at: Time) -> Time {
        if at > now {
            return at;
        }
        let jitter = (self.interval() / 10).min(Duration::from_secs(1));
        now + self.random.up_to(jitter)
    }

    /// Begins a new heartbeat; an unanswered one before it is given up.
    fn begin(&mut self, now: Time, wall_ms: u64) {
        let early = self.early_due.is_some_and(|early| early < self.due);
        let reason = match (&self.directive, early) {
            (None, _) => Reason::Start,
            (Some(_), true) => Reason::Early,
            (Some(_), false) => Reason::Scheduled,
        };
        if early {
            self.last_early = Some(now);
            self.counts.early += 1;
        }
        self.early_due = None;
        self.sequence += 1;
        self.counts.heartbeats += 1;
        let heartbeat = self.compose(reason, wall_ms);
        if let Some(metrics) = &heartbeat.metrics {
            self.early.note_sent(metrics);
        }
        self.pending = Some(Pending {
            heartbeat,
            first_sent: now,
            last_sent: now,
            retries: 0,
            retry_at: None,
            in_flight: true,
        });
        // Provisional: an answer sets the true one.
        let interval = self.interval();
        let spread = if self.directive.is_some() { 0.0 } else { RETRY_SPREAD };
        self.due = now + self.random.around(interval, spread);
    }

    fn compose(&self, reason: Reason, wall_ms: u64) -> Heartbeat {
        let mut heartbeat = Heartbeat {
            schema: SCHEMA,
            agent_id: self.settings.agent_id.clone(),
            incarnation: self.settings.incarnation,
            sequence: self.sequence,
            reason: reason as i32,
            sent_at_ms: wall_ms.min(limits::INTEGER),
            directive_seen: self.directive.as_ref().map_or(0, |directive| directive.number),
            ..Heartbeat::default()
        };
        if self.unregistered {
            let registration = self.settings.registration.clone();
            heartbeat.class = registration.class;
            heartbeat.labels = registration.labels;
            heartbeat.endpoint = registration.endpoint;
            heartbeat.capabilities = registration.capabilities;
            heartbeat.probe = registration.probe;
        }
        self.report.fill(&mut heartbeat);
        heartbeat
    }

    /// Starts the next attempt of an unanswered heartbeat, if it is time.
    fn repeat(&mut self, now: Time) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        if pending.retry_at.is_none_or(|at| at > now) {
            return false;
        }
        pending.retries += 1;
        pending.last_sent = now;
        pending.in_flight = true;
        pending.heartbeat.reason = Reason::Retry as i32;
        self.counts.retries += 1;
        true
    }

    /// Sets when the attempt that starts now is repeated; returns when to give it up.
    fn plan_retry(&mut self, now: Time) -> Duration {
        let Some(pending) = &mut self.pending else { return self.settings.attempt_timeout };
        let delays = self.directive.as_ref().map_or(&RETRY[..], |directive| &directive.retry);
        let delay = delays.get(pending.retries).map(|&delay| {
            let delay = Duration::from_millis(delay).clamp(MIN_INTERVAL, MAX_INTERVAL);
            self.random.around(delay, RETRY_SPREAD)
        });
        pending.retry_at = delay.map(|delay| pending.last_sent + delay).filter(|&at| at < self.due);
        let until_retry = pending.retry_at.map(|at| at.saturating_sub(now));
        until_retry.map_or(self.settings.attempt_timeout, |d| d.min(self.settings.attempt_timeout))
    }

    /// Takes the heartbeat that was answered out.
    fn settle(&mut self) -> Option<Pending> {
        self.pending.take_if(|pending| pending.in_flight)
    }

    fn after_answer(&mut self, now: Time, answered: &Pending) {
        if !self.stopping || self.ended.is_some() {
            return;
        }
        if answered.heartbeat.status == Status::Stopping as i32 {
            self.ended = Some(Ended::Stopped);
        } else {
            self.due = now;
        }
    }

    fn watch_metrics(&mut self, now: Time) {
        if !self.early.check(&self.report.metrics) || self.early_due.is_some() {
            return;
        }
        let early = self.directive.as_ref().and_then(|directive| directive.beat_early.as_ref());
        let Some((gap, spread)) = early.map(|early| (early.min_gap_ms, early.spread_ms)) else {
            return;
        };
        let gap = Duration::from_millis(gap).clamp(MIN_INTERVAL, MAX_INTERVAL);
        let spread = Duration::from_millis(spread).min(MAX_INTERVAL);
        let earliest = self.last_early.map_or(now, |last| now.max(last + gap));
        self.early_due = Some(earliest + self.random.up_to(spread));
    }

    fn take_commands(&mut self, commands: Vec<Command>) {
        for command in commands.into_iter().take(limits::COMMANDS) {
            if self.seen.contains(&command.id) {
                continue;
            }
            if self.seen.len() == COMMANDS {
                self.seen.pop_front();
            }
            self.seen.push_back(command.id.clone());
            if command.kind == CommandKind::ReportFullState as i32 {
                self.unregistered = true;
                self.report.acknowledge(CommandAck {
                    id: command.id,
                    outcome: AckOutcome::Done as i32,
                    detail: String::new(),
                });
                continue;
            }
            if self.commands.len() == COMMANDS {
                self.commands.pop_front();
            }
            self.commands.push_back(command);
        }
    }
}
