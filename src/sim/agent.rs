//! An agent of the fleet: the agent's half of the protocol as DESIGN has it, and its work.
//!
//! It counts its interval from *sending* the first attempt of the heartbeat that was answered,
//! repeats what nobody answered with the same sequence and only while the next is not due, never
//! has two heartbeats open, and beats early when a rule says so.

use crate::random::Random;
use crate::server::{Answer, LeaseTold, MS, Micros, Protocol, Reply, Report, Request, SECOND, Why};

/// An instant that never comes.
pub(crate) const NEVER: Micros = Micros::MAX;

/// Longest an agent waits beyond what was missed. Source: the client library; a fleet that comes
/// back spreads over it.
const CATCH_UP: Micros = SECOND;

/// Whether an agent runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// It does nothing, and is known to nobody as running.
    #[default]
    Down,
    /// It works.
    Up,
    /// It runs and does nothing for a while, as in a garbage collection.
    Paused,
    /// It left by its own word.
    Left,
}

/// Work that waits in an agent, as a model: usually so much, and in a surge so much more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) depth: u64,
    pub(crate) active: u64,
}

/// One agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) running: Running,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    /// Newest directive received in this run; 0 for none.
    pub(crate) seen: u64,
    pub(crate) interval_ms: u32,
    /// When the next heartbeat is due.
    pub(crate) due: Micros,
    /// When a rule wants one; [`NEVER`] for none.
    early_due: Micros,
    last_early: Micros,
    /// Rules that have fired and sleep, one bit each.
    asleep: u8,
    /// The heartbeat that is not answered yet.
    pending: Option<Request>,
    pub(crate) first_sent: Micros,
    last_sent: Micros,
    retries: u8,
    /// When the open heartbeat is sent again; [`NEVER`] if it is not.
    pub(crate) retry_at: Micros,
    /// The earliest timer that is queued for it.
    pub(crate) timer_at: Micros,
    pub(crate) report: Report,
    pub(crate) work: Work,
    /// A lease that it wants, and until when it counts on it, by the true clock.
    pub(crate) wants: Option<u32>,
    pub(crate) holds: Option<(LeaseTold, Micros)>,
}

/// How an agent's clock and chance work; the same for all agents of a world.
pub(crate) struct Ways<'a> {
    pub(crate) protocol: &'a Protocol,
    pub(crate) random: &'a mut Random,
    /// True time for a span that the agent counts, in microseconds.
    pub(crate) stretch: &'a dyn Fn(Micros) -> Micros,
}

impl Agent {
    pub(crate) const fn new() -> Self {
        Self {
            running: Running::Down,
            incarnation: 0,
            sequence: 0,
            seen: 0,
            interval_ms: 0,
            due: NEVER,
            early_due: NEVER,
            last_early: 0,
            asleep: 0,
            pending: None,
            first_sent: 0,
            last_sent: 0,
            retries: 0,
            retry_at: NEVER,
            timer_at: NEVER,
            report: Report {
                degraded: false,
                stopping: false,
                queue_depth: None,
                active_tasks: None,
                error_count: 0,
                watermark: 0,
            },
            work: Work { depth: 0, active: 0 },
            wants: None,
            holds: None,
        }
    }

    /// A new run begins: its first heartbeat is due now. What the process kept is gone.
    pub(crate) fn start(&mut self, now: Micros, incarnation: u64, ways: &Ways<'_>) {
        let (timer_at, work, wants) = (self.timer_at, self.work, self.wants);
        let queue = self.report.queue_depth.map(|_| work.depth);
        let report = Report {
            queue_depth: queue,
            active_tasks: self.report.active_tasks.map(|_| work.active),
            ..Report::default()
        };
        *self = Self { timer_at, work, wants, report, ..Self::new() };
        self.running = Running::Up;
        self.incarnation = incarnation;
        self.interval_ms = ways.protocol.first_interval_ms;
        self.due = now;
    }

    /// When it wants its timer.
    #[inline]
    pub(crate) fn wants_timer_at(&self) -> Micros {
        self.due.min(self.early_due).min(self.retry_at)
    }

    /// Its timer: what to send now, if anything.
    pub(crate) fn poll(&mut self, now: Micros, ways: &mut Ways<'_>) -> Option<Request> {
        if self.running != Running::Up {
            return None;
        }
        if now >= self.due.min(self.early_due) {
            return Some(self.begin(now, ways));
        }
        if now >= self.retry_at {
            return self.repeat(now, ways);
        }
        None
    }

    /// A new heartbeat; one that was never answered is given up.
    fn begin(&mut self, now: Micros, ways: &mut Ways<'_>) -> Request {
        let is_early = self.early_due < self.due;
        if is_early {
            self.last_early = now;
        }
        self.early_due = NEVER;
        self.sequence += 1;
        self.refresh();
        // What a heartbeat tells needs no rule.
        self.check_rules(ways.protocol);
        let why = match (self.seen, is_early) {
            (0, _) => Why::Start,
            (_, true) => Why::Early,
            _ => Why::Scheduled,
        };
        let request = Request {
            incarnation: self.incarnation,
            sequence: self.sequence,
            directive_seen: self.seen,
            why,
            wants: self.wants,
            report: self.report,
            ..Request::default()
        };
        self.pending = Some(request);
        (self.first_sent, self.last_sent, self.retries) = (now, now, 0);
        // Until an answer says otherwise; those that were told nothing yet must not beat in step.
        let interval = Micros::from(self.interval_ms) * MS;
        let spread = if self.seen == 0 { ways.protocol.retry_spread } else { 0.0 };
        let interval = around(interval, spread, ways.random);
        self.due = now + (ways.stretch)(interval).max(1);
        self.plan_retry(ways);
        request
    }

    fn repeat(&mut self, now: Micros, ways: &mut Ways<'_>) -> Option<Request> {
        let request = self.pending?;
        self.retries += 1;
        self.last_sent = now;
        self.plan_retry(ways);
        Some(Request { why: Why::Retry, ..request })
    }

    /// A retry starts only before the next heartbeat is due.
    fn plan_retry(&mut self, ways: &mut Ways<'_>) {
        let delays = &ways.protocol.retry_ms;
        self.retry_at = NEVER;
        if let Some(&delay_ms) = delays.get(usize::from(self.retries)) {
            let delay = Micros::from(delay_ms) * MS;
            let delay = around(delay, ways.protocol.retry_spread, ways.random);
            let at = self.last_sent + (ways.stretch)(delay);
            if at < self.due {
                self.retry_at = at;
            }
        }
    }

    /// Takes an answer. Whether it belonged to the open heartbeat of this run.
    pub(crate) fn receive(&mut self, now: Micros, reply: &Reply, ways: &mut Ways<'_>) -> bool {
        let is_open = self.pending.is_some_and(|open| open.sequence == reply.sequence);
        if reply.incarnation != self.incarnation || !is_open {
            return false;
        }
        self.pending = None;
        self.retry_at = NEVER;
        match reply.answer {
            Answer::Directive { number, interval_ms, lease } => {
                // Never back to an older one: the server has seen the newer one echoed.
                if number >= self.seen {
                    (self.seen, self.interval_ms) = (number, interval_ms);
                }
                let interval = Micros::from(self.interval_ms) * MS;
                let due = self.first_sent + (ways.stretch)(interval);
                self.due = self.not_before(now, due, ways);
                self.watch(now, ways);
                if let Some(told) = lease {
                    self.hold(told, ways);
                    if told.beat_now {
                        self.early_due = now;
                    }
                }
            }
            Answer::Later { retry_after_ms } => {
                let due = now + (ways.stretch)(Micros::from(retry_after_ms) * MS);
                self.due = self.not_before(now, due, ways);
            }
            Answer::Over => self.running = Running::Down,
        }
        true
    }

    /// Counts on a lease from when it sent the first attempt, on its own clock, shortened by what
    /// two clocks may differ by.
    fn hold(&mut self, told: LeaseTold, ways: &Ways<'_>) {
        let drift = f64::from(crate::clocks::Drift::MOST_PPM) * 1e-6;
        let counted = f64::from(told.ttl_ms) * MS as f64 * (1.0 - drift) / (1.0 + drift);
        let until = self.first_sent + (ways.stretch)(counted as Micros);
        let kept = self.holds.filter(|(held, _)| held.token == told.token);
        let until = kept.map_or(until, |(_, before)| until.max(before));
        self.holds = Some((told, until));
    }

    fn not_before(&self, now: Micros, at: Micros, ways: &mut Ways<'_>) -> Micros {
        if at > now {
            return at;
        }
        let tenth = Micros::from(self.interval_ms) * MS / 10;
        now + ways.random.below(tenth.clamp(1, CATCH_UP))
    }

    /// What the process says follows from its work.
    fn refresh(&mut self) {
        if self.report.queue_depth.is_some() {
            self.report.queue_depth = Some(self.work.depth);
        }
        if self.report.active_tasks.is_some() {
            self.report.active_tasks = Some(self.work.active);
        }
        self.report.watermark += 1;
    }

    /// Its work has changed: a rule may make it beat now.
    pub(crate) fn watch(&mut self, now: Micros, ways: &mut Ways<'_>) {
        let fires = self.check_rules(ways.protocol);
        if !fires || self.early_due != NEVER || self.seen == 0 {
            return;
        }
        let gap = (ways.stretch)(Micros::from(ways.protocol.early_gap_ms) * MS);
        let earliest = if self.last_early == 0 { now } else { now.max(self.last_early + gap) };
        let spread = Micros::from(ways.protocol.early_spread_ms) * MS;
        self.early_due = earliest + ways.random.below(spread + 1);
    }

    /// Whether a rule fires, which then sleeps until the queue is short again.
    fn check_rules(&mut self, protocol: &Protocol) -> bool {
        let depth = self.work.depth as f64;
        let mut fires = false;
        for (index, rule) in protocol.early.iter().enumerate().take(8) {
            let bit = 1 << index;
            if depth <= rule.rearm {
                self.asleep &= !bit;
            } else if depth > rule.above && self.asleep & bit == 0 {
                self.asleep |= bit;
                fires = true;
            }
        }
        fires
    }
}

/// A span within `spread`, a share, of its middle.
#[inline]
fn around(middle: Micros, spread: f64, random: &mut Random) -> Micros {
    if spread <= 0.0 {
        return middle;
    }
    (middle as f64 * (1.0 - spread + 2.0 * spread * random.share())) as Micros
}
