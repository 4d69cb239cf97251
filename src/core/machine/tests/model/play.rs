//! Anything in any order: agents that obey nobody, operators, policies, executors and disks.

use alloc::format;

use pulsegate_wire::{Probe, Registration, Status};

use super::input::{Beaten, Input, Judged};
use super::stage::{Node, Stage, expect, place};
use super::*;
use crate::machine::record::{Flags, Record};
use crate::testing::explorer::Model;
use crate::{
    Action, ActionOutcome, Event, Incident, Plan, Rung, Suspicion, Ticket, restart_spread_ms,
};

/// What tests hold of an agent, beside what the machine does.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// Its last sign of life, or the restart after it.
    sign: Millis,
    /// Longest interval that it was told since the directive that it echoed last.
    told_ms: u32,
    /// The same, if the newest call is not answered.
    unanswered_ms: Option<u32>,
    /// Incident and rung of the newest action.
    acted: Option<(u32, u8)>,
    /// The incident of its present failure has ended.
    closed: bool,
    /// An operator was told that it has left.
    left: bool,
}

/// What was answered of an agent, and has to be found after a restart.
#[derive(Clone, Copy, Debug)]
struct Promise {
    incarnation: u64,
    paused: bool,
    stopped: bool,
    open: Option<ActionId>,
    acted: Option<(u32, u8)>,
}

#[derive(Clone)]
pub(super) struct Moment {
    node: Node,
    accounts: [Option<Account>; AGENTS],
    promises: [Option<Promise>; AGENTS],
    /// Heartbeats, plans and actions that wait for an answer: the newest, and one that is over.
    tickets: [[Option<Ticket>; 2]; AGENTS],
    plans: [Option<(Stamp, Incident)>; AGENTS],
    actions: [[Option<Action>; 2]; AGENTS],
    suspicions: [Option<Suspicion>; AGENTS],
    /// Units of time that went by with nothing handled.
    late: u8,
}

/// A configuration to explore.
pub(super) struct Play {
    pub(super) stage: Stage,
    pub(super) alphabet: Vec<Input>,
    /// The ways in which time goes on: see `goes_on`.
    pub(super) ways: usize,
}

/// Incarnation of an agent that was never there: there may be many after it, and before.
const FIRST_RUN: u64 = 1 << 32;
/// Most units with nothing handled.
const LATEST: u8 = 1;
const WAIT_MS: u32 = UNIT_MS as u32;

impl Play {
    fn beat(&self, node: &Node, agent: u8, run: i8, number: i8) -> Option<Beat> {
        let (incarnation, sequence) = match record(node, agent) {
            Some(known) if known.incarnation > 0 => (known.incarnation, known.sequence),
            _ if (run, number) == (0, 1) => (first_run(node, agent), 0),
            _ => return None,
        };
        let incarnation = incarnation.checked_add_signed(run.into())?;
        let sequence = if run > 0 { 1 } else { sequence.checked_add_signed(number.into())? };
        (sequence > 0).then(|| Beat { incarnation, sequence, ..Beat::default() })
    }

    fn handle_beat(&mut self, state: &Moment, agent: u8, beaten: Beaten) -> Next {
        let node = &state.node;
        let Some(mut beat) = self.beat(node, agent, beaten.run, beaten.number) else {
            return Ok(None);
        };
        let known = record(node, agent);
        let directive = known.map_or(0, Record::directive);
        if beaten.echo {
            if directive == 0 || beaten.run != 0 {
                return Ok(None);
            }
            beat.directive_seen = directive;
        }
        beat.status = if beaten.leaves { Status::Stopping } else { Status::Healthy };
        let expected = self.expected(node, agent, beaten);
        let echoed_ms = known.filter(|_| beaten.echo).map(|record| record.effective_ms);
        let (id, key) = (name(agent), key(name(agent)));
        let (next, mut said) = self.stage.call(node, |machine, now, effects| {
            let slot = machine.find(key);
            let handled = machine.handle_heartbeat(now, key, slot, &beat, effects);
            match (&handled, beaten.judged) {
                (Ok(Handled::Observe(ticket)), Some(judged)) => {
                    let decision = machine.decide(now, ticket, &verdict_of(judged), effects);
                    (handled, Some(decision))
                }
                (Ok(Handled::Repeat(decision)), _) => (handled, Some(*decision)),
                _ => (handled, None),
            }
        })?;
        let (handled, decision) = &said.answer;
        let what = match handled {
            Ok(Handled::Observe(_)) => Expected::Accepted,
            Ok(Handled::Repeat(_)) => Expected::Nothing,
            Err(Refusal::ReadOnly) if known.is_some_and(is_life) => Expected::Life,
            Err(_) => Expected::Nothing,
        };
        expect(what == expected, || format!("{id} has {handled:?}, and not {expected:?}"))?;
        let is_nothing = what == Expected::Nothing;
        let is_same = !said.is_changed && said.effects.is_empty();
        expect(!is_nothing || is_same, || format!("{handled:?} changed something"))?;
        let ticket = match handled {
            Ok(Handled::Observe(ticket)) if decision.is_none() => Some(*ticket),
            _ => None,
        };
        let decision = *decision;
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        if let Some(ticket) = ticket {
            state.tickets[usize::from(agent)][0] = Some(ticket);
        }
        if let Some(account) = &mut state.accounts[usize::from(agent)] {
            if !is_nothing {
                account.sign = state.node.now;
            }
            if what == Expected::Accepted {
                account.told_ms = echoed_ms.unwrap_or(account.told_ms);
                account.unanswered_ms = Some(account.told_ms);
                if beaten.run > 0 || known.is_none_or(|known| !known.flags.has(Flags::HEARD)) {
                    // A run that has no answer yet obeys nobody.
                    account.told_ms = self.stage.config.classes[NORMAL_ONLY].interval_ms;
                    account.unanswered_ms = Some(0);
                }
            }
            told(account, decision.as_ref())?;
        }
        self.end(state)
    }

    /// What the protocol says of a heartbeat.
    fn expected(&self, node: &Node, agent: u8, beaten: Beaten) -> Expected {
        let frozen = node.live.machine.frozen;
        let Some(known) = record(node, agent) else {
            return if frozen { Expected::Nothing } else { Expected::Accepted };
        };
        let heard = known.flags.has(Flags::HEARD);
        // Any incarnation is newer than none.
        let run = if known.incarnation == 0 { 1 } else { beaten.run };
        let is_first = run > 0 || !heard;
        if run < 0 || known.state() == State::Stopped && run <= 0 || !is_first && beaten.number <= 0
        {
            return Expected::Nothing;
        }
        match is_first && frozen {
            true if is_life(known) => Expected::Life,
            true => Expected::Nothing,
            false => Expected::Accepted,
        }
    }

    fn handle_limited(&mut self, state: &Moment, agent: u8, run: i8, number: i8) -> Next {
        let Some(known) = record(&state.node, agent) else { return Ok(None) };
        let Some(beat) = self.beat(&state.node, agent, run, number) else { return Ok(None) };
        let is_news = run > 0 || run == 0 && number > 0;
        let is_life = is_news && known.flags.has(Flags::HEARD) && known.state() != State::Stopped;
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            let slot = machine.find(key(name(agent))).expect("it is known");
            machine.handle_limited(now, slot, &beat, effects)
        })?;
        let is_same = !said.is_changed && said.effects.is_empty();
        expect(is_life || is_same, || {
            "a limited heartbeat that is no news changed something".into()
        })?;
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        if let Some(account) = state.accounts[usize::from(agent)].as_mut().filter(|_| is_life) {
            account.sign = state.node.now;
        }
        self.end(state)
    }

    fn judge(&mut self, state: &Moment, agent: u8, judged: Judged, is_old: bool) -> Next {
        let ticket = state.tickets[usize::from(agent)][usize::from(is_old)];
        let Some(ticket) = ticket else { return Ok(None) };
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            machine.decide(now, &ticket, &verdict_of(judged), effects)
        })?;
        let is_same = !said.is_changed && said.effects.is_empty();
        expect(!is_old || is_same, || "a verdict that came too late changed something".into())?;
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        if let Some(account) = &mut state.accounts[usize::from(agent)] {
            account.unanswered_ms = Some(account.told_ms);
            told(account, (!is_old).then_some(&said.answer))?;
        }
        self.end(state)
    }

    /// Something that an operator asks, or another that knows the agent's slot.
    fn with(
        &mut self,
        state: &Moment,
        agent: u8,
        call: impl FnOnce(&mut Machine, Millis, Slot, &mut Effects) -> Result<(), Refusal>,
    ) -> Next {
        let frozen = state.node.live.machine.frozen;
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            let slot = machine.find(key(name(agent)))?;
            Some(call(machine, now, slot, effects))
        })?;
        let Some(answer) = said.answer else { return Ok(None) };
        if frozen {
            let is_refused = answer.is_err() && !said.is_changed && said.effects.is_empty();
            expect(is_refused, || "a frozen machine obeyed an operator".into())?;
        }
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        self.end(state)
    }

    fn put(&mut self, state: &Moment, agent: u8) -> Next {
        let probe = Some(Probe { port: 7, ..Probe::default() });
        let registration = Registration { probe, ..Registration::default() };
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            machine.handle_put(now, key(name(agent)), registration, effects)
        })?;
        let is_refused = said.answer.is_err();
        let is_same = !said.is_changed && said.effects.is_empty();
        expect(is_refused == state.node.live.machine.frozen && (!is_refused || is_same), || {
            format!("{:?} of a registration", said.answer)
        })?;
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        self.end(state)
    }

    fn plan(&mut self, state: &Moment, agent: u8, rungs: u8) -> Next {
        let Some((stamp, _)) = state.plans[usize::from(agent)] else { return Ok(None) };
        let rung = |rung| Rung { executor: format!("e{rung}"), wait_ms: WAIT_MS };
        let plan = Plan { rungs: (0..rungs).map(rung).collect(), reason: String::new() };
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            machine.handle_plan(now, stamp, plan, effects);
        })?;
        let mut state = state.clone();
        state.plans[usize::from(agent)] = None;
        self.take(&mut state, next, &mut said.effects)?;
        self.end(state)
    }

    fn outcome(&mut self, state: &Moment, agent: u8, outcome: ActionOutcome, is_old: bool) -> Next {
        let action = &state.actions[usize::from(agent)][usize::from(is_old)];
        let Some(action) = action else { return Ok(None) };
        let (stamp, id) = (action.stamp, action.id);
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            machine.handle_outcome(now, stamp, id, outcome, effects);
        })?;
        let is_same = !said.is_changed && said.effects.is_empty();
        expect(!is_old || is_same, || "an outcome that came too late changed something".into())?;
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        self.end(state)
    }

    fn witness(&mut self, state: &Moment, agent: u8) -> Next {
        let Some(suspicion) = &state.suspicions[usize::from(agent)] else { return Ok(None) };
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            machine.handle_witness(now, suspicion, effects)
        })?;
        let is_same = !said.is_changed && said.effects.is_empty();
        expect(said.answer || is_same, || "a stale witness changed something".into())?;
        let mut state = state.clone();
        state.suspicions[usize::from(agent)] = None;
        self.take(&mut state, next, &mut said.effects)?;
        self.end(state)
    }

    fn step(&mut self, state: &Moment) -> Next {
        let mut state = state.clone();
        state.node.now = state.node.now.plus(UNIT_MS);
        let (next, mut said) =
            self.stage.call(
                &state.node,
                |machine, now, effects| {
                    while machine.handle_deadlines(now, 1, effects) {}
                },
            )?;
        state.late = 0;
        self.take(&mut state, next, &mut said.effects)?;
        self.stage.check(&state.node, true)?;
        self.end(state)
    }

    fn freeze(&mut self, state: &Moment, on: bool) -> Next {
        if state.node.live.machine.frozen == on {
            return Ok(None);
        }
        let (next, mut said) = self.stage.call(&state.node, |machine, now, effects| {
            machine.set_frozen(now, on, effects);
        })?;
        let mut state = state.clone();
        self.take(&mut state, next, &mut said.effects)?;
        self.end(state)
    }

    fn crash(&mut self, state: &Moment, lost: usize) -> Next {
        if lost >= state.node.finds.len() {
            return Ok(None);
        }
        let find = &state.node.finds[state.node.finds.len() - 1 - lost];
        self.check_promises(state, &find.machine)?;
        let closed = find.closed;
        let is_answered = state.node.finds.len() - 1 - lost >= state.node.needed;
        let (node, mut effects) = self.stage.restart(&state.node, lost)?;
        let mut next = Moment { node: node.clone(), late: 1, ..state.clone() };
        next.late = next.late.max(state.late);
        (next.tickets, next.actions) = (Default::default(), Default::default());
        (next.plans, next.suspicions) = (Default::default(), Default::default());
        for (agent, closed) in closed.into_iter().enumerate() {
            let is_known = record(&node, agent as u8).is_some();
            let fresh = self.account(node.now);
            let mut account = next.accounts[agent].unwrap_or(fresh);
            if !is_answered {
                account.told_ms = account.unanswered_ms.unwrap_or(account.told_ms);
                account.acted = next.promises[agent].and_then(|promise| promise.acted);
                account.left = next.promises[agent].is_some_and(|promise| promise.stopped);
            }
            let account = Account { sign: node.now, closed, unanswered_ms: None, ..account };
            next.accounts[agent] = is_known.then_some(account);
        }
        self.take(&mut next, node, &mut effects)?;
        self.end(next)
    }

    fn account(&self, now: Millis) -> Account {
        let told_ms = self.stage.config.classes[NORMAL_ONLY].interval_ms;
        Account { sign: now, told_ms, unanswered_ms: None, acted: None, closed: false, left: false }
    }

    /// Whatever was answered is found after a restart, unless the call that is not answered yet
    /// has changed it.
    fn check_promises(&self, state: &Moment, found: &Machine) -> Result<(), String> {
        for (agent, promise) in state.promises.iter().enumerate() {
            let (Some(promise), Some(live)) = (promise, record(&state.node, agent as u8)) else {
                continue;
            };
            let id = name(agent as u8);
            let slot = found.agents.find_record(key(id));
            let Some(record) = slot.map(|slot| &found.agents[slot]) else {
                return Err(format!("{id} was told that it is known, and is not"));
            };
            let paused = record.flags.has(Flags::PAUSED);
            let numbers = record.cold.as_ref().map_or(0, |cold| cold.incidents);
            let is_kept = record.incarnation >= promise.incarnation
                && (paused == promise.paused || paused == live.flags.has(Flags::PAUSED))
                && (!promise.stopped
                    || record.state() == State::Stopped
                    || live.state() != State::Stopped)
                && (promise.open.is_none()
                    || open(record) == promise.open
                    || open(live) != promise.open)
                && promise.acted.is_none_or(|(incident, _)| numbers > incident);
            expect(is_kept, || format!("{promise:?} of {id} is not kept"))?;
        }
        Ok(())
    }

    /// Takes in what a call told.
    fn take(&self, state: &mut Moment, node: Node, effects: &mut Effects) -> Result<(), String> {
        for event in &effects.events {
            self.hear(state, event)?;
        }
        for (stamp, incident) in effects.incidents.drain(..) {
            state.plans[agent_of(&node, stamp.slot)] = Some((stamp, incident));
        }
        for action in effects.actions.drain(..) {
            let agent = place(&action.agent_id);
            state.actions[agent][0] = Some(action);
        }
        for suspicion in effects.suspicions.drain(..) {
            let agent = place(&suspicion.agent_id);
            state.suspicions[agent] = Some(suspicion);
        }
        state.node = node;
        Ok(())
    }

    fn hear(&self, state: &mut Moment, event: &Event) -> Result<(), String> {
        let agent = place(&event.agent_id);
        let class = &self.stage.config.classes[NORMAL_ONLY];
        if let EventKind::Registered { .. } = event.kind {
            state.accounts[agent] = Some(self.account(event.at));
        }
        let Some(account) = &mut state.accounts[agent] else {
            return Err(format!("{event:?} of nobody known"));
        };
        let silence = event.at.since(account.sign);
        let heard = event.standing.heard;
        let graces = match &event.kind {
            EventKind::Suspected { .. } => account.told_ms + class.suspect_grace_ms,
            EventKind::Failed { .. } if heard => account.told_ms + class.fail_grace_ms,
            EventKind::Failed { .. } => self.stage.config.startup_grace_ms,
            _ => 0,
        };
        expect(silence >= graces.into(), || {
            format!("{event:?} after {silence} ms of {account:?}")
        })?;
        match event.kind {
            EventKind::Forgotten { .. } => state.accounts[agent] = None,
            EventKind::Failed { .. } => account.closed = false,
            EventKind::Restarted { .. } => account.left = false,
            EventKind::IncidentClosed { .. } => account.closed = true,
            EventKind::ActionStarted { incident, rung, .. } => {
                let is_next = account.acted < Some((incident, rung));
                expect(is_next, || format!("{event:?} after {:?}", account.acted))?;
                account.acted = Some((incident, rung));
            }
            _ => {}
        }
        Ok(())
    }

    /// What is checked and tidied up after every input.
    fn end(&self, mut state: Moment) -> Next {
        self.stage.check(&state.node, false)?;
        for agent in 0..AGENTS {
            self.check_agent(&state, agent)?;
            self.tidy(&mut state, agent);
        }
        Ok(Some(state))
    }

    fn check_agent(&self, state: &Moment, agent: usize) -> Result<(), String> {
        let (Some(record), Some(account)) =
            (record(&state.node, agent as u8), &state.accounts[agent])
        else {
            return Ok(());
        };
        let class = &self.stage.config.classes[NORMAL_ONLY];
        let heard = record.flags.has(Flags::HEARD);
        let is_enough =
            record.in_force_ms >= account.told_ms && record.in_force_ms <= class.cap_ms();
        expect(!heard || is_enough, || format!("{} ms in force: {account:?}", record.in_force_ms))?;
        // Whoever is silent is found, within the promise of its class; deadlines handled or not,
        // an edge later than by as many units as nothing was handled is too late.
        let spread_ms = if record.flags.has(Flags::RESUMED) {
            restart_spread_ms(record.hash, record.in_force_ms)
        } else {
            0
        };
        let grace_ms = match record.state() {
            State::Alive => record.in_force_ms + class.suspect_grace_ms,
            State::Suspect => record.in_force_ms + class.fail_grace_ms,
            State::New => self.stage.config.startup_grace_ms,
            State::Failed | State::Stopped => return Self::check_treated(state, record, account),
        };
        let silence = state.node.now.since(account.sign.plus(spread_ms.into()));
        let late = UNIT_MS * u64::from(state.late);
        expect(silence < u64::from(grace_ms) + late, || {
            format!("{:?} after {silence} ms of silence", record.state())
        })
    }

    /// One that has failed has an incident, or had one for this failure.
    fn check_treated(state: &Moment, record: &Record, account: &Account) -> Result<(), String> {
        let is_held = record.flags.has(Flags::PAUSED)
            || record.status() == Status::Stopping
            || state.node.live.machine.frozen;
        let has_case = record.cold.as_ref().is_some_and(|cold| cold.incident.is_some());
        let is_forgotten = record.state() == State::Failed && !is_held && !has_case;
        expect(!is_forgotten || account.closed, || "a failure that nothing is done about".into())
    }

    /// What cannot be answered any more is over.
    fn tidy(&self, state: &mut Moment, agent: usize) {
        let live = record(&state.node, agent as u8);
        let is_current = |ticket: &Ticket| {
            live.is_some_and(|record| {
                record.flags.has(Flags::PENDING)
                    && record.generation == ticket.stamp.generation
                    && record.incarnation == ticket.stamp.incarnation
                    && record.sequence == ticket.stamp.sequence
            })
        };
        let [current, old] = &mut state.tickets[agent];
        if let Some(ticket) = current.take_if(|ticket| !is_current(ticket)) {
            *old = Some(ticket);
        }
        let open = live.and_then(open);
        let [current, old] = &mut state.actions[agent];
        // Ids begin anew with one that was forgotten; stamps do not.
        let is_over = |action: &mut Action| {
            Some(action.id) != open
                || live.is_none_or(|record| record.generation != action.stamp.generation)
        };
        if let Some(action) = current.take_if(is_over) {
            *old = Some(action);
        }
        let case = live.and_then(|record| record.cold.as_ref()?.incident.as_ref());
        let waits = case.is_some_and(|case| case.plan.is_none());
        state.plans[agent].take_if(|(stamp, _)| {
            !waits
                || live.is_none_or(|record| record.incarnation != stamp.incarnation)
                || case.is_none_or(|case| u64::from(case.number) != stamp.sequence)
        });
        let machine = &state.node.live.machine;
        state.suspicions[agent].take_if(|suspicion| !machine.is_silent(suspicion));
        if !self.alphabet.contains(&Input::JudgeOld(agent as u8)) {
            state.tickets[agent][1] = None;
        }
        if !self.alphabet.contains(&Input::OldOutcome(agent as u8)) {
            state.actions[agent][1] = None;
        }
        if !self.alphabet.contains(&Input::Witness(agent as u8)) {
            state.suspicions[agent] = None;
        }
    }

    /// How far what a restart would find lies behind what is: which of the numbers left out of the
    /// form of either are the same.
    fn relate(&self, state: &Moment, found: &Machine, agent: usize, form: &mut Vec<u8>) {
        let slot = found.agents.find_record(key(name(agent as u8)));
        let found = slot.map(|slot| &found.agents[slot]);
        form.push(found.is_some().into());
        let Some(found) = found else { return };
        let number = incidents(Some(found));
        acted(form, number, state.accounts[agent].and_then(|account| account.acted));
        if let Some(promise) = &state.promises[agent] {
            acted(form, number, promise.acted);
            form.push(promise.incarnation.wrapping_sub(found.incarnation).min(2) as u8);
            form.push((promise.open.is_some() && open(found) == promise.open).into());
        }
        let live = record(&state.node, agent as u8);
        let run = live.map(|live| live.incarnation).filter(|&run| run > 0);
        let run = run.unwrap_or_else(|| first_run(&state.node, agent as u8));
        form.push(run.wrapping_sub(found.incarnation).min(2) as u8);
        if let Some(live) = live {
            form.push((open(live).is_some() && open(found) == open(live)).into());
        }
    }

    /// The newest call is answered, and what it told is promised.
    fn settle(&self, state: &Moment) -> Moment {
        let mut state = state.clone();
        self.stage.settle(&mut state.node);
        if !state.node.live.machine.frozen {
            for agent in 0..AGENTS {
                let record = record(&state.node, agent as u8);
                let account = state.accounts[agent];
                if let Some(account) = &mut state.accounts[agent] {
                    account.unanswered_ms = None;
                }
                state.promises[agent] = record.zip(account).map(|(record, account)| Promise {
                    incarnation: record.incarnation,
                    paused: record.flags.has(Flags::PAUSED),
                    stopped: account.left && record.state() == State::Stopped,
                    open: open(record),
                    acted: account.acted,
                });
            }
        }
        state
    }
}

type Next = Result<Option<Moment>, String>;

/// What the protocol says of a heartbeat: it is taken in; it is only a sign of life; it is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Accepted,
    Life,
    Nothing,
}

/// Whether a new run that is refused because nothing can be recorded is a sign of life.
fn is_life(known: &Record) -> bool {
    known.state() == State::New || known.flags.has(Flags::HEARD) && known.state() != State::Stopped
}

fn told(account: &mut Account, decision: Option<&Decision>) -> Result<(), String> {
    let Some(decision) = decision else { return Ok(()) };
    let effective_ms = decision.trace.effective_ms;
    expect(decision.next_interval_ms <= effective_ms, || format!("late: {decision:?}"))?;
    // A directive without a number was never decided: nobody is told an interval by it.
    account.told_ms = account.told_ms.max(effective_ms);
    Ok(())
}

fn verdict_of(Judged(is_well, units): Judged) -> crate::Verdict {
    let health = if is_well { Health::Healthy } else { Health::Unhealthy };
    verdict(health, f64::from(units) * UNIT_MS as f64)
}

pub(super) fn name(agent: u8) -> &'static str {
    ["a", "b"][usize::from(agent)]
}

fn record(node: &Node, agent: u8) -> Option<&Record> {
    let machine = &node.live.machine;
    machine.agents.find_record(key(name(agent))).map(|slot| &machine.agents[slot])
}

/// Incarnation of an agent that nobody knows, or that was never heard: a newer one than any that
/// a restart would find.
fn first_run(node: &Node, agent: u8) -> u64 {
    let runs = node.finds.iter().filter_map(|find| {
        let slot = find.machine.agents.find_record(key(name(agent)))?;
        Some(find.machine.agents[slot].incarnation + 1)
    });
    runs.max().unwrap_or(0).max(FIRST_RUN)
}

fn open(record: &Record) -> Option<ActionId> {
    record.cold.as_ref()?.action.as_ref().map(|open| open.id)
}

fn incidents(record: Option<&Record>) -> u32 {
    record.and_then(|record| record.cold.as_ref()).map_or(0, |cold| cold.incidents)
}

/// How far the incident of the newest action lies back, and its rung if it is the newest incident.
fn acted(form: &mut Vec<u8>, incidents: u32, acted: Option<(u32, u8)>) {
    let back = acted.map_or(9, |(number, _)| incidents.saturating_sub(number).min(2));
    let rung = acted.filter(|_| back == 1).map_or(0, |(_, rung)| rung);
    form.extend([back as u8, rung]);
}

fn agent_of(node: &Node, slot: Slot) -> usize {
    let record = node.live.machine.agents.get(slot);
    record.map_or(0, |record| place(record.name.as_str()))
}

impl Model for Play {
    type State = Moment;
    type Input = Input;

    fn initial(&mut self) -> Moment {
        Moment {
            node: self.stage.begin(),
            accounts: Default::default(),
            promises: Default::default(),
            tickets: Default::default(),
            plans: Default::default(),
            actions: Default::default(),
            suspicions: Default::default(),
            late: 0,
        }
    }

    fn inputs(&self, _: &Moment, inputs: &mut Vec<Input>) {
        inputs.extend_from_slice(&self.alphabet);
    }

    fn next(&mut self, state: &Moment, input: Input) -> Next {
        if let Input::Crash(lost) = input {
            return self.crash(state, lost.into());
        }
        let state = &self.settle(state);
        match input {
            Input::Step => self.step(state),
            Input::Late if state.late < LATEST => {
                let mut state = state.clone();
                state.node.now = state.node.now.plus(UNIT_MS);
                state.late += 1;
                self.end(state)
            }
            Input::Late | Input::Crash(_) => Ok(None),
            Input::Beat(agent, beaten) => self.handle_beat(state, agent, beaten),
            Input::Limited(agent, run, number) => self.handle_limited(state, agent, run, number),
            Input::Judge(agent, judged) => self.judge(state, agent, judged, false),
            Input::JudgeOld(agent) => self.judge(state, agent, Judged(false, 2), true),
            Input::Put(agent) => self.put(state, agent),
            Input::Stop(agent) => {
                let mut next = self.with(state, agent, Machine::handle_stop)?;
                let next_account =
                    next.as_mut().and_then(|n| n.accounts[usize::from(agent)].as_mut());
                if let Some(account) = next_account {
                    account.left |= !state.node.live.machine.frozen;
                }
                Ok(next)
            }
            Input::Pause(agent, on) => self.with(state, agent, |machine, now, slot, effects| {
                machine.handle_pause(now, slot, on, effects)
            }),
            Input::Freeze(on) => self.freeze(state, on),
            Input::Plan(agent, rungs) => self.plan(state, agent, rungs),
            Input::Outcome(agent, outcome) => self.outcome(state, agent, outcome, false),
            Input::OldOutcome(agent) => self.outcome(state, agent, ActionOutcome::Done, true),
            Input::Witness(agent) => self.witness(state, agent),
        }
    }

    fn form(&self, state: &Moment, form: &mut Vec<u8>) {
        let now = state.node.now;
        form::live(form, now, &state.node.live);
        form.extend([state.late, state.node.finds.len() as u8, state.node.needed as u8]);
        for find in &state.node.finds {
            form::found(form, now, &find.machine);
            form.extend(find.closed.map(u8::from));
            for agent in 0..AGENTS {
                self.relate(state, &find.machine, agent, form);
            }
        }
        for agent in 0..AGENTS {
            let live = record(&state.node, agent as u8);
            let incidents = incidents(live);
            if let Some(account) = &state.accounts[agent] {
                form::instant(form, now, account.sign);
                form::number(form, account.told_ms);
                form::number(form, account.unanswered_ms.unwrap_or(u32::MAX));
                form.extend([account.closed, account.left].map(u8::from));
                acted(form, incidents, account.acted);
            }
            if let Some(promise) = &state.promises[agent] {
                let known = live.map_or(0, |record| record.incarnation);
                form.push(known.wrapping_sub(promise.incarnation).min(2) as u8);
                form.extend([promise.paused, promise.stopped].map(u8::from));
                let is_open = promise.open.is_some() && live.and_then(open) == promise.open;
                form.push(is_open.into());
                acted(form, incidents, promise.acted);
            }
            form.extend(state.tickets[agent].map(|ticket| u8::from(ticket.is_some())));
            form.extend(state.actions[agent].each_ref().map(|a| u8::from(a.is_some())));
            form.push(state.plans[agent].is_some().into());
            form.push(state.suspicions[agent].is_some().into());
        }
    }

    fn schedules(&self) -> usize {
        self.ways
    }

    /// Everything is thawed, resumed, planned and carried out, while the agent is silent, beats and
    /// is ill, or beats and is well: its incident ends, as its plan does or as it recovers.
    fn goes_on(&self, state: &Moment, way: usize) -> Option<Input> {
        let live = record(&state.node, 0)?;
        let case = live.cold.as_ref()?.incident.as_ref()?;
        let beaten = |is_well| Beaten {
            run: 0,
            number: 1,
            echo: false,
            leaves: false,
            judged: Some(Judged(is_well, 2)),
        };
        let is_silent = live.receipt < state.node.now;
        Some(if state.node.live.machine.frozen {
            Input::Freeze(false)
        } else if live.flags.has(Flags::PAUSED) {
            Input::Pause(0, false)
        } else if case.plan.is_none() && state.plans[0].is_some() {
            Input::Plan(0, 2)
        } else if state.actions[0][0].is_some() {
            Input::Outcome(0, ActionOutcome::Done)
        } else if way > 0 && is_silent {
            Input::Beat(0, beaten(way > 1))
        } else {
            Input::Step
        })
    }
}
