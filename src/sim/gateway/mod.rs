//! This gateway on virtual time: the core's machine and leases, the policies, and a journal, put
//! together as the shell puts them together.
//!
//! ```text
//! request → find → handle_heartbeat → policy → decide → settle → answer, once durable
//! time    → commits · deadlines · leases · executors · the fleet's floor, once a second
//! kill    → journal.open → restore, apply → resume
//! ```
//! Everything that the shell decides and the core does not is here once more, small enough to be
//! read beside it: what waits for the disk, when core time passes, what a read-only journal means.
//! What it is held to stands in `checks`.

mod checks;
mod clock;
mod disk;
mod judge;
mod leases;
mod names;
mod record;
mod recovery;
mod restart;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use pulsegate_core::cadence::Floor;
use pulsegate_core::lease::Grant;
use pulsegate_core::{
    Beat, ClassId, Config, Decision, Effects, Event, EventKind, Handled, Machine, Millis, Refusal,
    Slot, Ticket, Verdict,
};
use pulsegate_wire::{Reason, Status};

pub use checks::Violation;
pub use disk::Disk;
pub use judge::Policies;
pub use record::{Recorder, Taken};
pub use recovery::Executors;

use checks::Checks;
use clock::Clock;
use disk::{Journal, Turn};
use judge::Judge;
use leases::Holdings;
use names::{Names, TENANT_NAME};
use recovery::Crew;

use crate::random::Random;
use crate::server::{
    AgentIndex, Answer, Change, LeaseTold, MINUTE, MS, Micros, Outbox, Protocol, Reply, Request,
    SECOND, Server, Standing, Why,
};

/// How a simulated gateway works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of everything that is drawn.
    pub seed: u64,
    /// Agents of the world.
    pub agents: u32,
    /// Leases of the world.
    pub leases: u32,
    /// The core.
    pub core: Config,
    /// Classes of the agents, in turn; `normal` for all if there are none.
    pub classes: Vec<ClassId>,
    /// The policies.
    pub policies: Policies,
    /// The disk; without one nothing is recorded, nothing waits, and a kill leaves nothing.
    pub disk: Option<Disk>,
    /// Who carries recovery out; without them incidents have no plan.
    pub executors: Option<Executors>,
    /// Share of heartbeats that come over the agent's quota.
    pub limited: f64,
    /// Share of verdicts that come late, after other heartbeats.
    pub late_verdicts: f64,
    /// Mean time between two acts of an operator on some agent; `None` for none.
    pub operator: Option<Micros>,
    /// Whether everything is checked after every step.
    pub checked: bool,
    /// A deliberate mistake, to see that the checks find it.
    pub mistake: Option<Mistake>,
}

/// A mistake that the shell could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Answers are sent before what they stand on is durable.
    AnswersBeforeDurable,
    /// Core time goes on while the process stands still.
    TimePassesWhileStalled,
    /// Deadlines are looked at once a minute.
    LateDeadlines,
    /// An event in a hundred is not recorded.
    LosesEvents,
    /// Leases are not restored.
    ForgetsLeases,
    /// Grants are told before they are durable.
    TellsGrantsEarly,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            agents: 100,
            leases: 0,
            core: Config::default(),
            classes: Vec::new(),
            policies: Policies::Builtin,
            disk: None,
            executors: None,
            limited: 0.0,
            late_verdicts: 0.0,
            operator: None,
            checked: false,
            mistake: None,
        }
    }
}

/// Delays of repeated attempts. Source: DESIGN §3.
const RETRY_MS: [u32; 4] = [1_000, 2_000, 4_000, 8_000];
/// Interval of an agent that was told nothing yet. Source: the client library.
const FIRST_INTERVAL_MS: u32 = 16_000;
/// Defaults of the configuration: `directives.early_min_gap_ms`, `early_spread_ms`.
const EARLY_GAP_MS: u32 = 5_000;
const EARLY_SPREAD_MS: u32 = 1_000;
/// How long an answer waits for the disk. Source: the gateway's `durable::WAIT`.
const WAIT: Micros = SECOND;
/// When whoever was refused for the disk comes again. Source: the gateway's `journal_unavailable`.
const UNAVAILABLE_MS: u32 = 2_000;
/// Events, beside one an agent, after which a snapshot is taken. Source: chosen; few, so that runs
/// of hours see many.
const SNAPSHOT_EVENTS: usize = 200;

/// This gateway.
pub struct Gateway {
    options: Options,
    names: Names,
    machine: Machine,
    effects: Effects,
    judge: Judge,
    clock: Clock,
    floor: Floor,
    floor_at: Micros,
    journal: Option<Journal>,
    holdings: Holdings,
    crew: Crew,
    /// Mark that answers to an agent wait for.
    awaits: Vec<u64>,
    waiting: Waiting,
    late: VecDeque<Late>,
    chance: Random,
    operator: Random,
    operator_at: Micros,
    checks: Option<Box<Checks>>,
    recorder: Option<Box<dyn Recorder>>,
    standings: Vec<Standing>,
    looked_at: Micros,
}

/// Answers that wait for the disk.
#[derive(Debug, Default)]
struct Waiting {
    by_mark: BTreeMap<(u64, u64), Waiter>,
    /// When each gives up, in the order in which they began to wait.
    ends: VecDeque<(Micros, (u64, u64))>,
    count: u64,
}

#[derive(Clone, Debug)]
struct Waiter {
    reply: Reply,
    /// What the agent's interval in force is once it is answered, in milliseconds.
    in_force_ms: u32,
    grant: Option<Grant>,
}

/// A verdict that comes late.
#[derive(Clone, Debug)]
struct Late {
    at: Micros,
    request: Request,
    ticket: Ticket,
    verdict: Verdict,
}

impl Gateway {
    /// A gateway that serves from time zero.
    ///
    /// # Errors
    /// What is wrong with a policy.
    pub fn new(options: Options) -> Result<Self, pulsegate_policy::Error> {
        let executors = options.executors.as_ref().map_or_else(Vec::new, Executors::configured);
        let judge = Judge::new(&options.policies, &options.core.classes, &executors, options.seed)?;
        let agents = options.agents as usize;
        let checks = options.checked.then(|| Box::new(Checks::new(&options.core, options.agents)));
        let mut operator = Random::new(options.seed, "operator");
        let operator_at = next_act(options.operator, &mut operator, 0);
        Ok(Self {
            names: Names::new(options.agents, options.leases, options.seed),
            machine: Machine::new(options.core.clone()),
            effects: Effects::default(),
            judge,
            clock: Clock::default(),
            floor: Floor::default(),
            floor_at: 0,
            journal: options.disk.clone().map(|disk| Journal::new(disk, options.seed)),
            holdings: Holdings::new(1),
            crew: Crew::new(options.executors, options.seed),
            awaits: vec![0; agents],
            waiting: Waiting::default(),
            late: VecDeque::new(),
            chance: Random::new(options.seed, "gateway"),
            operator,
            operator_at,
            checks,
            recorder: None,
            standings: vec![Standing::Unknown; agents],
            looked_at: 0,
            options,
        })
    }

    /// What was found wrong.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.checks.as_ref().map_or(&[], |checks| checks.violations())
    }

    /// Notes something that was found wrong from outside.
    pub fn violate(&mut self, at: Micros, rule: &'static str, text: String) {
        if let Some(checks) = &mut self.checks {
            checks.violate(at, rule, text);
        }
    }

    /// How an agent stands.
    #[must_use]
    pub fn standing(&self, agent: AgentIndex) -> Standing {
        self.standings[agent as usize]
    }

    /// The machine, to look at.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The slot of an agent that is known.
    #[must_use]
    pub fn slot(&self, agent: AgentIndex) -> Option<Slot> {
        self.machine.find(self.names.key(agent))
    }

    /// Leases that are held.
    #[must_use]
    pub fn leases_held(&self) -> usize {
        self.holdings.table.counts().0
    }

    /// From now on the disk, the operator and the executors do what they should, and no verdict is
    /// late.
    pub fn heal(&mut self, now: Micros) {
        self.options.limited = 0.0;
        self.options.late_verdicts = 0.0;
        self.operator_at = Micros::MAX;
        self.crew.heal();
        if matches!(self.judge, Judge::Erratic { .. }) {
            let executors =
                self.options.executors.as_ref().map_or_else(Vec::new, Executors::configured);
            self.judge = Judge::Builtin { executors };
        }
        if let Some(journal) = &mut self.journal {
            journal.heal(now);
        }
        self.unpause(now);
    }

    #[inline]
    fn core(&self, now: Micros) -> Millis {
        self.clock.core(now)
    }

    fn class(&self, agent: AgentIndex) -> Option<ClassId> {
        let classes = &self.options.classes;
        (!classes.is_empty()).then(|| classes[agent as usize % classes.len()])
    }

    #[inline]
    fn beat(&self, request: &Request) -> Beat {
        let report = &request.report;
        let status = match (report.stopping, report.degraded) {
            (true, _) => Status::Stopping,
            (_, true) => Status::Degraded,
            _ => Status::Healthy,
        };
        let reason = match request.why {
            Why::Start => Reason::Start,
            Why::Scheduled => Reason::Scheduled,
            Why::Early => Reason::Early,
            Why::Retry => Reason::Retry,
        };
        Beat {
            incarnation: request.incarnation,
            sequence: request.sequence,
            reason,
            status,
            class: if request.directive_seen == 0 { self.class(request.agent) } else { None },
            directive_seen: request.directive_seen,
            queue_depth: report.queue_depth,
            active_tasks: report.active_tasks,
            error_count: Some(report.error_count),
            ..Beat::default()
        }
    }

    /// The way of a heartbeat through the machine and its policies; `None` where the verdict comes
    /// late.
    #[inline]
    fn take(&mut self, now: Micros, request: &Request) -> Result<Option<Decision>, Refusal> {
        let core = self.clock.core(now);
        let beat = self.beat(request);
        let key = self.names.key(request.agent);
        let slot = self.machine.find(key);
        let handled = self.machine.handle_heartbeat(core, key, slot, &beat, &mut self.effects)?;
        let ticket = match handled {
            Handled::Repeat(decision) => return Ok(Some(decision)),
            Handled::Observe(ticket) => ticket,
        };
        self.check_heard(now, request, ticket.stamp.slot);
        let classes = &self.options.core.classes;
        let verdict = self.judge.decide(&ticket.observation, classes, ticket.class);
        if self.chance.happens(self.options.late_verdicts) {
            // Half of them so late that other heartbeats come first.
            let most = if self.chance.happens(0.5) { 500 * MS } else { 20 * SECOND };
            let at = now + self.chance.below(most);
            self.late.push_back(Late { at, request: *request, ticket, verdict });
            return Ok(None);
        }
        let decision = self.machine.decide(core, &ticket, &verdict, &mut self.effects);
        self.keep_heartbeat(request, &ticket, &verdict, &decision);
        Ok(Some(decision))
    }

    /// Records what happened and hands it on.
    #[inline]
    fn settle(&mut self, now: Micros, out: &mut Outbox) {
        if self.effects.is_empty() {
            return;
        }
        self.settle_events(now, out);
    }

    fn settle_events(&mut self, now: Micros, out: &mut Outbox) {
        // A plan opens no further incident, so this ends.
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            self.keep_events(&effects.events);
            self.record(now, &effects.events);
            for event in effects.events.drain(..) {
                self.tell(now, &event, out);
            }
            for (stamp, incident) in effects.incidents.drain(..) {
                let plan = self.judge.propose(&incident);
                let core = self.core(now);
                self.machine.handle_plan(core, stamp, plan, &mut self.effects);
            }
            let intent = self.journal.as_ref().map_or(0, Journal::appended);
            for action in effects.actions.drain(..) {
                self.crew.take(now, action, intent);
            }
        }
    }

    fn record(&mut self, now: Micros, events: &[Event]) {
        let core_ms = self.core(now).0;
        let Some(journal) = &mut self.journal else { return };
        let forgets = self.options.mistake == Some(Mistake::LosesEvents);
        let chance = &mut self.chance;
        let classes = &self.options.core.classes;
        let lasting = events.iter().filter(|event| !event.undurable);
        let lasting = lasting.filter(|_| !(forgets && chance.happens(0.01)));
        let recorded = lasting.map(|event| event.to_wire(TENANT_NAME, &classes[event.class].name));
        let recorded: Vec<_> = recorded.collect();
        if recorded.is_empty() {
            return;
        }
        journal.append(now, core_ms, recorded.into_iter());
        let mark = journal.appended();
        for event in events.iter().filter(|event| event.must_be_durable()) {
            self.awaits[self.names.agent(&event.agent_id) as usize] = mark;
        }
    }

    /// What an event says of how its agent stands.
    fn tell(&mut self, now: Micros, event: &Event, out: &mut Outbox) {
        let agent = self.names.agent(&event.agent_id);
        if let Some(checks) = &mut self.checks {
            checks.follow(now, agent, event);
        }
        let to = match &event.kind {
            EventKind::CadenceMoved { turned, .. } => {
                out.turns += u64::from(*turned);
                return;
            }
            EventKind::Registered { .. }
            | EventKind::Heard
            | EventKind::Restarted { .. }
            | EventKind::Recovered { .. } => Standing::Alive,
            EventKind::Suspected { .. } => Standing::Suspect,
            EventKind::Failed { .. } => Standing::Failed,
            EventKind::Stopped => Standing::Stopped,
            EventKind::Forgotten { .. } => Standing::Unknown,
            _ => return,
        };
        if matches!(event.kind, EventKind::Registered { .. }) {
            self.holdings.meet(&mut self.machine, &self.names, &event.agent_id);
        }
        self.stand(agent, to, out);
    }

    fn stand(&mut self, agent: AgentIndex, to: Standing, out: &mut Outbox) {
        let known = &mut self.standings[agent as usize];
        if *known != to {
            *known = to;
            out.changes.push(Change { agent, to });
        }
    }

    /// Answers, once what the answer stands on is durable.
    fn answer(
        &mut self,
        now: Micros,
        request: &Request,
        decision: &Decision,
        lease: (Option<LeaseTold>, Option<Grant>),
        out: &mut Outbox,
    ) {
        let class = &self.options.core.classes[decision.class];
        let reply = Reply {
            agent: request.agent,
            incarnation: request.incarnation,
            sequence: request.sequence,
            answer: Answer::Directive {
                number: decision.number,
                interval_ms: decision.next_interval_ms,
                lease: lease.0,
            },
        };
        let in_force_ms = decision.suspect_after_ms.saturating_sub(class.suspect_grace_ms);
        let mut waiter = Waiter { reply, in_force_ms, grant: lease.1 };
        if self.options.mistake == Some(Mistake::TellsGrantsEarly) {
            self.confirm(now, &mut waiter);
        }
        let Some(journal) = &self.journal else {
            return self.send(now, waiter, out);
        };
        let granted = waiter.grant.is_some();
        let own = self.awaits[request.agent as usize];
        let mark = if granted { journal.appended().max(own) } else { own };
        let hurries = self.options.mistake == Some(Mistake::AnswersBeforeDurable);
        if journal.is_durable(mark) || (hurries && !granted) {
            self.send(now, waiter, out);
        } else if journal.is_read_only() {
            self.give_up(now, waiter, out);
        } else {
            self.waiting.push(now, mark, waiter);
        }
    }

    fn send(&mut self, now: Micros, mut waiter: Waiter, out: &mut Outbox) {
        self.confirm(now, &mut waiter);
        let agent = waiter.reply.agent;
        if let Some(checks) = &mut self.checks {
            checks.acknowledge(agent, waiter.reply.incarnation, waiter.in_force_ms);
        }
        out.replies.push(waiter.reply);
    }

    /// What an answer stands on could not be made durable in time.
    fn give_up(&mut self, now: Micros, waiter: Waiter, out: &mut Outbox) {
        if let Some(grant) = &waiter.grant {
            self.undo(now, grant);
        }
        let answer = Answer::Later { retry_after_ms: UNAVAILABLE_MS };
        out.replies.push(Reply { answer, ..waiter.reply });
    }

    fn refuse(&mut self, request: &Request, answer: Answer, out: &mut Outbox) {
        out.replies.push(Reply {
            agent: request.agent,
            incarnation: request.incarnation,
            sequence: request.sequence,
            answer,
        });
    }

    /// A heartbeat over the agent's quota: a sign of life, and nothing else.
    fn limit(&mut self, now: Micros, request: &Request, out: &mut Outbox) -> bool {
        let Some(slot) = self.slot(request.agent) else { return false };
        let (core, beat) = (self.core(now), self.beat(request));
        let due_ms = self.machine.handle_limited(core, slot, &beat, &mut self.effects);
        let retry_after_ms = due_ms.min(1_000);
        self.refuse(request, Answer::Later { retry_after_ms }, out);
        true
    }

    fn handle_late(&mut self, now: Micros, out: &mut Outbox) {
        while let Some(index) = self.late.iter().position(|late| late.at <= now) {
            let Some(Late { request, ticket, verdict, .. }) = self.late.remove(index) else {
                return;
            };
            let core = self.core(now);
            let decision = self.machine.decide(core, &ticket, &verdict, &mut self.effects);
            self.check_decision(now, &request, &decision);
            self.settle(now, out);
            self.answer(now, &request, &decision, (None, None), out);
        }
    }

    fn check_decision(&mut self, now: Micros, request: &Request, decision: &Decision) {
        let core = self.core(now);
        if let Some(checks) = &mut self.checks {
            checks.decided((now, core), request, decision, self.machine.is_frozen());
        }
    }

    /// What the journal has done meanwhile.
    fn handle_journal(&mut self, now: Micros, out: &mut Outbox) {
        let core = self.core(now);
        while let Some(turn) =
            self.journal.as_mut().and_then(|journal| journal.handle_time(now, core.0))
        {
            match turn {
                Turn::ReadOnly => {
                    self.machine.set_frozen(core, true, &mut self.effects);
                    self.holdings.table.set_frozen(true);
                    for waiter in self.waiting.take_all() {
                        self.give_up(now, waiter, out);
                    }
                }
                Turn::Committed => {}
                Turn::Writable => self.thaw(now, out),
            }
            self.release(now, out);
        }
        while let Some(waiter) = self.waiting.late(now) {
            self.give_up(now, waiter, out);
        }
    }

    /// Answers whose events are durable now.
    fn release(&mut self, now: Micros, out: &mut Outbox) {
        let Some(journal) = &self.journal else { return };
        for waiter in self.waiting.durable(|mark| journal.is_durable(mark)) {
            self.send(now, waiter, out);
        }
    }

    /// Writing works again: what the journal lacks, a snapshot brings.
    fn thaw(&mut self, now: Micros, out: &mut Outbox) {
        let core = self.core(now);
        self.machine.set_frozen(core, false, &mut self.effects);
        self.holdings.table.set_frozen(false);
        self.settle(now, out);
        self.handle_leases(now);
        self.snapshot(now);
    }

    fn snapshot(&mut self, now: Micros) {
        let core = self.core(now);
        let slots = self.machine.slots(Slot(0));
        let rows = slots.filter_map(|slot| self.machine.export(core, slot, TENANT_NAME)).collect();
        let leases = self.holdings.table.export().map(|(_, lease)| lease).collect();
        if let Some(journal) = &mut self.journal {
            journal.take_snapshot(now, core.0, (rows, leases));
        }
    }

    /// The fleet's floor follows the census, once a second, and other things done at leisure.
    fn handle_second(&mut self, now: Micros, out: &mut Outbox) {
        if now < self.floor_at {
            return;
        }
        self.floor_at = now + SECOND;
        let core = self.core(now);
        let config = &self.options.core;
        let census = self.machine.census();
        let beating: Vec<u32> =
            config.classes.iter().map(|(class, _)| census.beating(class)).collect();
        let budget = config.budget_per_second;
        let reading = self.floor.update(core, &beating, &config.classes, budget, &config.cadence);
        self.machine.set_floor(reading.base_ms, reading.load);
        if let Some(journal) = &mut self.journal {
            journal.floor_base_ms = reading.base_ms;
        }
        if now >= self.operator_at {
            self.operator_at = next_act(self.options.operator, &mut self.operator, now);
            self.operate(now, out);
        }
        let is_due = self.journal.as_ref().is_some_and(|journal| {
            journal.len() > SNAPSHOT_EVENTS + self.awaits.len() && journal.is_whole()
        });
        if is_due {
            self.compare(now);
            self.snapshot(now);
        }
    }

    /// When the machine, the leases, the disk or an executor wants time to pass.
    fn next_time(&self) -> Micros {
        let core = [self.machine.next_deadline(), self.holdings.table.next_deadline()];
        let core = core.into_iter().flatten().min();
        let late = self.late.iter().map(|late| late.at).min().unwrap_or(Micros::MAX);
        let disk = self.journal.as_ref().map_or(Micros::MAX, Journal::next_deadline);
        let waits = self.waiting.ends.front().map_or(Micros::MAX, |(at, _)| *at);
        let core = core.map_or(Micros::MAX, |at| self.clock.true_time(at));
        core.min(late).min(disk).min(waits).min(self.crew.next_at()).min(self.floor_at)
    }
}

impl Server for Gateway {
    fn protocol(&self) -> Protocol {
        Protocol {
            first_interval_ms: FIRST_INTERVAL_MS,
            retry_ms: RETRY_MS.to_vec(),
            retry_spread: 0.2,
            early: self.judge.early_rules(self.options.core.classes.normal()),
            early_gap_ms: EARLY_GAP_MS,
            early_spread_ms: EARLY_SPREAD_MS,
        }
    }

    #[inline]
    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        if self.options.limited > 0.0
            && self.chance.happens(self.options.limited)
            && self.limit(now, request, out)
        {
            return self.settle(now, out);
        }
        self.check_before(now, request);
        match self.take(now, request) {
            Ok(None) => self.settle(now, out),
            Ok(Some(decision)) => {
                self.check_after(now, request, &decision);
                self.settle(now, out);
                let lease = self.hold(now, request, &decision);
                self.answer(now, request, &decision, lease, out);
            }
            Err(Refusal::ReadOnly | Refusal::Full) => {
                self.settle(now, out);
                self.refuse(request, Answer::Later { retry_after_ms: UNAVAILABLE_MS }, out);
            }
            Err(Refusal::IncarnationStale { .. } | Refusal::Stopped) => {
                self.settle(now, out);
                self.refuse(request, Answer::Over, out);
            }
        }
    }

    #[inline]
    fn next_deadline(&self) -> Option<Micros> {
        let at = self.next_time();
        if self.options.mistake == Some(Mistake::LateDeadlines) {
            return Some(at.max(self.looked_at + MINUTE));
        }
        Some(at)
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        self.check_overdue(now);
        self.looked_at = now;
        let core = self.core(now);
        self.handle_journal(now, out);
        self.handle_late(now, out);
        self.machine.handle_deadlines(core, usize::MAX, &mut self.effects);
        self.settle(now, out);
        self.handle_leases(now);
        self.handle_actions(now, out);
        self.handle_second(now, out);
    }

    fn is_busy(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| !journal.is_durable(journal.appended()))
    }

    fn stalled(&mut self, _now: Micros, lasted: Micros) {
        if self.options.mistake != Some(Mistake::TimePassesWhileStalled) {
            self.clock.stalled(lasted);
        }
        if let Some(checks) = &mut self.checks {
            checks.stalled(lasted);
        }
    }

    fn crash(&mut self, now: Micros) {
        self.handle_crash(now);
    }

    fn restart(&mut self, now: Micros, out: &mut Outbox) {
        self.handle_restart(now, out);
    }
}

impl Waiting {
    fn push(&mut self, now: Micros, mark: u64, waiter: Waiter) {
        self.count += 1;
        let key = (mark, self.count);
        self.by_mark.insert(key, waiter);
        self.ends.push_back((now + WAIT, key));
    }

    fn durable(&mut self, is_durable: impl Fn(u64) -> bool) -> Vec<Waiter> {
        let mut ready = Vec::new();
        while let Some(first) = self.by_mark.first_entry() {
            if !is_durable(first.key().0) {
                break;
            }
            ready.push(first.remove());
        }
        if self.by_mark.is_empty() {
            self.ends.clear();
        }
        ready
    }

    /// One that has waited long enough.
    fn late(&mut self, now: Micros) -> Option<Waiter> {
        while let Some((at, key)) = self.ends.front().copied() {
            if at > now {
                return None;
            }
            self.ends.pop_front();
            if let Some(waiter) = self.by_mark.remove(&key) {
                return Some(waiter);
            }
        }
        None
    }

    fn take_all(&mut self) -> Vec<Waiter> {
        self.ends.clear();
        std::mem::take(&mut self.by_mark).into_values().collect()
    }
}

/// When an operator does something next.
fn next_act(every: Option<Micros>, random: &mut Random, now: Micros) -> Micros {
    every.map_or(Micros::MAX, |every| now + 1 + random.exponential(every as f64) as Micros)
}
