//! What a simulated gateway is held to, after every step.
//!
//! The checks know the rules of DESIGN and what was sent and received; of the machine they see its
//! events, its decisions and what it shows. Each has a name, under which a run that breaks it is
//! kept.

use std::collections::VecDeque;

use pulsegate_core::lease::history::{self, Fact};
use pulsegate_core::{
    ActionId, AgentInfo, Class, Config, Decision, Event, EventKind, Machine, Millis, Slot,
};
use pulsegate_wire::event::AgentRecord;
use pulsegate_wire::{Health, Outcome, State};

use super::leases;
use super::{Gateway, Names};
use crate::server::{AgentIndex, MS, Micros, Request, SECOND};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Micros,
    /// Which rule was broken.
    pub rule: &'static str,
    /// How, for people.
    pub text: String,
}

/// Most violations that are kept of one run. Source: chosen; the first one counts.
const KEPT: usize = 16;
/// Most facts about leases of one run. Source: chosen; some 100 MB.
const FACTS: usize = 1 << 20;
/// A deadline is noticed within the tick of the wheel and the rounding of two clocks.
/// Source: the wheel's tick of 10 ms, twice.
const NOTICED: u64 = 20;
/// Agents that are looked at before each call, in turn. Whoever is overdue stays so, and is found
/// by one of the next calls. Source: chosen; all of a small fleet within a heartbeat each.
const LOOKED_AT: u32 = 4;
/// Turns of an agent that are remembered; more than six hours of the largest number allowed.
const TURNS: usize = 64;

/// What is known of one agent.
#[derive(Clone, Debug, Default)]
struct Known {
    state: Option<State>,
    health: Health,
    /// Its open action.
    open: Option<ActionId>,
    /// Whether an incident is open.
    incident: bool,
    /// Receipt of its newest heartbeat, in observed time; `None` if the process did not see it.
    received: Option<Micros>,
    incarnation: u64,
    /// Number and interval of its newest directive, and the interval in force.
    number: u64,
    effective_ms: u32,
    in_force_ms: u32,
    /// A process before may have told it something else under that number.
    doubtful: bool,
    /// What was answered and must not be forgotten: the run and the interval in force.
    acknowledged: Option<(u64, u32)>,
    turns: VecDeque<u64>,
}

/// What the machine shows of an agent, to see that nothing changed.
type Picture = (State, Health, u64, u64, u32, u32, Option<Millis>, u32);

/// The checks.
#[derive(Debug)]
pub(super) struct Checks {
    config: Config,
    agents: Vec<Known>,
    violations: Vec<Violation>,
    facts: Vec<(u64, Fact)>,
    /// Observed time is true time since the start of the process, without stalls.
    since: Micros,
    /// Core time at which this process began.
    resumed: Millis,
    before: Option<Picture>,
    next_look: AgentIndex,
    /// The process stood still for a moment, and its deadlines with it.
    was_still: bool,
}

impl Checks {
    pub(super) fn new(config: &Config, agents: u32) -> Self {
        Self {
            config: config.clone(),
            agents: vec![Known::default(); agents as usize],
            violations: Vec::new(),
            facts: Vec::new(),
            since: 0,
            resumed: Millis(0),
            before: None,
            next_look: 0,
            was_still: false,
        }
    }

    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(super) fn violate(&mut self, at: Micros, rule: &'static str, text: String) {
        if self.violations.len() < KEPT {
            self.violations.push(Violation { at, rule, text });
        }
    }

    fn require(&mut self, holds: bool, at: Micros, rule: &'static str, text: impl Fn() -> String) {
        if !holds {
            self.violate(at, rule, text());
        }
    }

    pub(super) fn note(&mut self, now: Micros, fact: Fact) {
        if self.facts.len() < FACTS {
            self.facts.push((now, fact));
        }
    }

    pub(super) fn note_lease(&mut self, now: Micros, at: Millis, kind: &pulsegate_wire::EventKind) {
        if let Some(fact) = leases::fact(at, kind) {
            self.note(now, fact);
        }
    }

    // --- time

    /// Time in which this process could observe.
    fn observed(&self, now: Micros) -> Micros {
        now.saturating_sub(self.since)
    }

    pub(super) fn stalled(&mut self, lasted: Micros) {
        self.was_still = true;
        // A shorter one is within every grace.
        if lasted > SECOND {
            self.since += lasted;
        }
    }

    pub(super) fn restarted(&mut self, now: Micros, core: Millis, has_journal: bool) {
        (self.since, self.resumed) = (now, core);
        if !has_journal {
            self.agents.fill(Known::default());
        }
    }

    // --- heartbeats and decisions

    /// A heartbeat was taken in: what it echoes is in force. Of a run that nobody knew it is the
    /// class's default, or the longest of all where it keeps to something that it was told before.
    pub(super) fn heard(&mut self, now: Micros, request: &Request, class_ms: u32, longest_ms: u32) {
        let observed = self.observed(now);
        let known = &mut self.agents[request.agent as usize];
        known.received = Some(observed);
        if request.incarnation != known.incarnation || known.incarnation == 0 {
            known.incarnation = request.incarnation;
            let obeys = request.directive_seen != 0;
            let in_force_ms = if obeys { longest_ms } else { class_ms };
            (known.number, known.effective_ms, known.in_force_ms) = (0, class_ms, in_force_ms);
            known.doubtful = obeys;
        }
        if known.number != 0 && !known.doubtful && request.directive_seen == known.number {
            known.in_force_ms = known.effective_ms;
            // The agent says itself that it was told a shorter one.
            if let Some((_, in_force_ms)) = &mut known.acknowledged {
                *in_force_ms = known.in_force_ms.min(*in_force_ms);
            }
        }
    }

    /// A directive was decided upon.
    pub(super) fn decided(
        &mut self,
        (now, core): (Micros, Millis),
        request: &Request,
        decision: &Decision,
        frozen: bool,
    ) {
        let trace = decision.trace;
        if decision.outcome != Outcome::Accepted || trace.cap_ms == 0 {
            return;
        }
        let min_ms = self.config.cadence.min_ms;
        let class_cap_ms = self.config.classes[decision.class].cap_ms();
        let cap_ms = self.config.cadence.cap_ms(class_cap_ms, None);
        let is_capped = trace.cap_ms == cap_ms || (decision.holds_leases && trace.cap_ms < cap_ms);
        // The first directive of a run may be spread over all of its interval.
        let is_first = self.agents[request.agent as usize].number == 0;
        let tenth_less = (u64::from(trace.effective_ms) * 9 / 10) as u32;
        let least_ms = if is_first { min_ms } else { tenth_less.max(min_ms) };
        let in_order = is_capped
            && least_ms <= decision.next_interval_ms
            && decision.next_interval_ms <= trace.effective_ms
            && trace.effective_ms <= trace.cap_ms
            && (min_ms..=trace.cap_ms).contains(&trace.stored_ms);
        self.require(in_order, now, "interval_bounds", || format!("{trace:?}"));
        let is_late = core.since(self.resumed) >= self.config.late_copy_ms.into();
        let known = &mut self.agents[request.agent as usize];
        known.number = decision.number;
        known.doubtful &= !is_late;
        let before_ms = known.in_force_ms;
        known.effective_ms = trace.effective_ms;
        known.in_force_ms = before_ms.max(trace.effective_ms);
        let in_force_ms = known.in_force_ms;
        let grace_ms = self.config.classes[decision.class].suspect_grace_ms;
        let told_ms = decision.suspect_after_ms - grace_ms;
        self.require(told_ms == in_force_ms, now, "interval_in_force", || {
            format!("agent {}: {told_ms} ms, should be {in_force_ms}", request.agent)
        });
        self.require(!frozen || trace.effective_ms <= before_ms, now, "frozen_relaxes", || {
            format!("agent {}: {} from {before_ms} ms", request.agent, trace.effective_ms)
        });
    }

    /// An answer left.
    pub(super) fn acknowledge(&mut self, agent: AgentIndex, incarnation: u64, in_force_ms: u32) {
        self.agents[agent as usize].acknowledged = Some((incarnation, in_force_ms));
    }

    // --- events

    /// Follows an event along the allowed edges.
    pub(super) fn follow(&mut self, now: Micros, agent: AgentIndex, event: &Event) {
        let observed = self.observed(now);
        let index = agent as usize;
        let known = &mut self.agents[index];
        let before = known.state;
        let allowed = known.follow(event);
        self.require(allowed, now, "allowed_edges", || {
            format!("{:?} of agent {agent}, which was {before:?}", event.kind)
        });
        match event.kind {
            EventKind::Suspected { last_receipt, in_force_ms, grace_ms, .. }
            | EventKind::Failed { last_receipt, in_force_ms, grace_ms, .. } => {
                let silence_ms = u64::from(in_force_ms) + u64::from(grace_ms);
                let is_due = event.at >= last_receipt.plus(silence_ms);
                self.require(is_due, now, "not_before_its_deadline", || format!("{event:?}"));
                self.check_silence(now, agent, event, (in_force_ms, grace_ms));
                let received = self.agents[index].received;
                let observed_ms = received.map(|at| observed.saturating_sub(at) / MS);
                let was_silent = observed_ms.is_none_or(|ms| ms + 2 >= silence_ms);
                self.require(was_silent, now, "observed_silence", || {
                    format!("agent {agent}: {observed_ms:?} ms of {silence_ms}: {:?}", event.kind)
                });
            }
            EventKind::CadenceMoved { turned: true, .. } => self.turn(now, agent, event.at),
            EventKind::Forgotten { .. } => self.agents[index] = Known::default(),
            EventKind::Stopped => self.agents[index].acknowledged = None,
            _ => {}
        }
    }

    /// The silence that an event speaks of is the one that was told and promised.
    fn check_silence(&mut self, now: Micros, agent: AgentIndex, event: &Event, told: (u32, u32)) {
        let known = &self.agents[agent as usize];
        if known.incarnation == 0 {
            return;
        }
        let class = &self.config.classes[event.class];
        let is_suspected = matches!(event.kind, EventKind::Suspected { .. });
        let grace_ms = if is_suspected { class.suspect_grace_ms } else { class.fail_grace_ms };
        let promised = (known.in_force_ms, grace_ms);
        self.require(told == promised, now, "interval_in_force", || {
            format!("agent {agent}: {told:?} ms, should be {promised:?}: {:?}", event.kind)
        });
    }

    fn turn(&mut self, now: Micros, agent: AgentIndex, at: Millis) {
        let period_ms = u64::from(self.config.cadence.turn_period_ms);
        let turns = &mut self.agents[agent as usize].turns;
        turns.push_back(at.0);
        if turns.len() > TURNS {
            turns.pop_front();
        }
        let broken = turns.iter().enumerate().find_map(|(index, from)| {
            let within = (turns.len() - index) as u64;
            let allowed = 2 * (1 + (at.0 - from).div_ceil(period_ms)) + 1;
            (within > allowed).then(|| format!("{within} turns from {from} to {at:?}"))
        });
        if let Some(text) = broken {
            self.violate(now, "turn_bound", format!("agent {agent}: {text}"));
        }
    }

    // --- restarts

    /// What a new process knows of an agent, beside what was answered.
    pub(super) fn restored(
        &mut self,
        now: Micros,
        core: Millis,
        agent: AgentIndex,
        found: Option<(&AgentInfo<'_>, &AgentRecord)>,
    ) {
        let info = found.map(|(info, _)| info);
        let acknowledged = self.agents[agent as usize].acknowledged;
        if let Some((incarnation, in_force_ms)) = acknowledged {
            let is_kept = info.is_some_and(|info| {
                info.incarnation > incarnation
                    || (info.incarnation == incarnation && info.in_force_ms >= in_force_ms)
            });
            self.require(is_kept, now, "acknowledged_is_durable", || {
                let found = info.map(|info| (info.incarnation, info.in_force_ms));
                format!("agent {agent}: told {:?}, found {found:?}", (incarnation, in_force_ms))
            });
        }
        let known = &mut self.agents[agent as usize];
        // Turns that are not recorded have not been; the others count on.
        let mut turns = std::mem::take(&mut known.turns);
        turns.retain(|at| *at < core.0);
        *known = Known { acknowledged, ..Known::default() };
        if let Some((info, row)) = found {
            known.state = Some(info.state);
            known.health = info.health;
            known.incarnation = info.incarnation;
            known.doubtful = true;
            (known.effective_ms, known.in_force_ms) = (info.in_force_ms, info.in_force_ms);
            known.turns = turns;
            known.incident = row.incident.is_some();
            let open = row.action.as_ref().and_then(|open| ActionId::parse(&open.action));
            known.open = open;
            // Silence begins anew with the process.
            let is_watched = matches!(info.state, State::Alive | State::Suspect);
            known.received = is_watched.then_some(0);
        }
    }
}

impl Known {
    /// Whether an event may happen now; and what it makes of the agent.
    fn follow(&mut self, event: &Event) -> bool {
        use State::{Alive, Failed, New, Stopped, Suspect};
        let Some(state) = self.state else {
            let EventKind::Registered { state, .. } = event.kind else { return false };
            self.state = Some(state);
            return matches!(state, New | Alive);
        };
        let become_ = |to: State, known: &mut Self| known.state = Some(to);
        match event.kind {
            EventKind::Registered { .. } => false,
            EventKind::Heard => {
                become_(Alive, self);
                state == New
            }
            EventKind::Restarted { .. } => {
                become_(Alive, self);
                matches!(state, Alive | Stopped)
            }
            EventKind::Suspected { .. } => {
                become_(Suspect, self);
                state == Alive
            }
            EventKind::Failed { .. } => {
                become_(Failed, self);
                matches!(state, New | Suspect)
            }
            EventKind::Recovered { from, .. } => {
                become_(Alive, self);
                state == from && matches!(from, Suspect | Failed)
            }
            EventKind::Stopped => {
                become_(Stopped, self);
                state != Stopped
            }
            EventKind::Forgotten { from } => {
                from == state && matches!(from, Failed | Stopped) && !self.incident
            }
            EventKind::HealthChanged { from, to } => {
                from != to && std::mem::replace(&mut self.health, to) == from
            }
            EventKind::IncidentOpened { .. } => !std::mem::replace(&mut self.incident, true),
            EventKind::IncidentClosed { .. } => std::mem::replace(&mut self.incident, false),
            EventKind::ActionStarted { action, .. } => {
                self.open.replace(action).is_none() && self.incident && state != Stopped
            }
            EventKind::ActionEnded { action, .. } => self.open.take() == Some(action),
            _ => true,
        }
    }
}

impl Gateway {
    pub(super) fn check_before(&mut self, now: Micros, request: &Request) {
        if self.checks.is_none() {
            return;
        }
        self.check_overdue(now);
        let before = picture(&self.machine, self.core(now), &self.names, request.agent);
        if let Some(checks) = &mut self.checks {
            checks.before = before;
        }
    }

    /// A heartbeat that was no news has changed nothing.
    pub(super) fn check_after(&mut self, now: Micros, request: &Request, decision: &Decision) {
        if self.checks.is_none() {
            return;
        }
        if decision.outcome == Outcome::Accepted {
            self.check_decision(now, request, decision);
            return;
        }
        let after = picture(&self.machine, self.core(now), &self.names, request.agent);
        let is_quiet = self.effects.is_empty();
        if let Some(checks) = &mut self.checks {
            let before = checks.before;
            checks.require(is_quiet && before == after, now, "repeats_change_nothing", || {
                format!("agent {}: {before:?}, {after:?}", request.agent)
            });
        }
    }

    /// The interval of an agent of this class that was told nothing yet, and the longest of all.
    pub(super) fn check_heard(&mut self, now: Micros, request: &Request, slot: Slot) {
        let Some(checks) = &mut self.checks else { return };
        let Some(info) = self.machine.info(Millis(0), slot) else { return };
        let (classes, cadence) = (&self.options.core.classes, &self.options.core.cadence);
        let class = &classes[info.class];
        let cap_ms = |class: &Class| cadence.cap_ms(class.cap_ms(), None);
        let longest_ms = classes.iter().map(|(_, class)| cap_ms(class)).max().unwrap_or(0);
        let default_ms = class.interval_ms.clamp(cadence.min_ms, cap_ms(class));
        checks.heard(now, request, default_ms, longest_ms);
    }

    /// Nobody is silent for longer than its deadline without being noticed.
    pub(super) fn check_overdue(&mut self, now: Micros) {
        let Some(checks) = &mut self.checks else { return };
        if std::mem::take(&mut checks.was_still) {
            return;
        }
        let core = self.core(now);
        let agents = self.options.agents;
        for _ in 0..agents.min(LOOKED_AT) {
            let Some(checks) = &mut self.checks else { return };
            let agent = checks.next_look;
            checks.next_look = (agent + 1) % agents;
            let slot = self.machine.find(self.names.key(agent));
            let info = slot.and_then(|slot| self.machine.info(core, slot));
            let Some(overdue) = info.and_then(|info| overdue(core, &info, &self.options.core))
            else {
                continue;
            };
            checks.violate(now, "silence_is_noticed", format!("agent {agent}: {overdue}"));
        }
    }

    /// The end of a run: everything that is looked at once. `counted` is what holders of leases
    /// counted on.
    pub fn finish(&mut self, now: Micros, counted: Vec<(u64, Fact)>) {
        self.compare(now);
        let Some(checks) = &mut self.checks else { return };
        let mut facts = std::mem::take(&mut checks.facts);
        facts.extend(counted);
        facts.sort_by_key(|(at, _)| *at);
        for found in history::check(&facts) {
            let (at, fact) = &facts[found.index];
            let text = format!("{:?}: {}, by {fact:?}", found.rule, found.text);
            checks.violate(*at, "leases", text);
        }
    }
}

fn picture(machine: &Machine, now: Millis, names: &Names, agent: AgentIndex) -> Option<Picture> {
    let info = machine.info(now, machine.find(names.key(agent))?)?;
    Some((
        info.state,
        info.health,
        info.incarnation,
        info.sequence,
        info.interval_ms,
        info.in_force_ms,
        info.last_receipt,
        info.missed,
    ))
}

/// What is overdue of an agent.
fn overdue(now: Millis, info: &AgentInfo<'_>, config: &Config) -> Option<String> {
    let class = &config.classes[info.class];
    let grace_ms = match info.state {
        State::Alive => class.suspect_grace_ms,
        State::Suspect => class.fail_grace_ms,
        State::New | State::Failed | State::Stopped => return None,
    };
    let silence_ms = u64::from(info.in_force_ms) + u64::from(grace_ms) + NOTICED;
    let at = info.last_receipt?.plus(silence_ms);
    (at < now).then(|| format!("{:?} since {:?}, at {now:?}", info.state, info.last_receipt))
}
