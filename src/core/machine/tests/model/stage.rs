//! Where machines play: one call of a machine, what it told, what was recorded, and every account
//! that has to agree after it.

use alloc::collections::BTreeMap;
use alloc::format;

use super::super::random::{Told, may_be_told_frozen};
use super::*;
use crate::machine::record::Flags;
use crate::wheel::Wheel;
use crate::wheel::image::Timers;
use crate::{ActionId, Event};

/// A machine, with its timers beside it.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) machine: Machine,
    pub(super) timers: Timers,
}

/// What a restart would find, and for which agents the incident of their failure was closed.
#[derive(Clone)]
pub(super) struct Find {
    pub(super) machine: Machine,
    pub(super) closed: [bool; AGENTS],
}

/// A machine with its journal.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) now: Millis,
    pub(super) live: Image,
    /// What a restart may find, the oldest first, the last with all that was told.
    pub(super) finds: Vec<Find>,
    /// The oldest that a restart may find once the newest call is answered.
    pub(super) needed: usize,
}

/// What one call told.
pub(super) struct Said<T> {
    pub(super) answer: T,
    pub(super) effects: Effects,
    /// Whether anything changed that decides how it goes on.
    pub(super) is_changed: bool,
}

pub(super) struct Stage {
    pub(super) config: Config,
    /// As many events may be lost that need not be durable.
    pub(super) keeps: usize,
    /// The one wheel, while no machine uses it.
    wheel: Wheel,
    /// For whom, in which run, for which incident and rung an id was given.
    ids: BTreeMap<ActionId, (String, u64, u32, u8)>,
}

/// The place of an agent.
pub(super) fn place(id: &str) -> usize {
    usize::from(id.as_bytes()[0] - b'a')
}

impl Stage {
    pub(super) fn new(config: Config, keeps: usize) -> Self {
        let mut wheel = Wheel::default();
        wheel.grow(AGENTS);
        Self { config, keeps, wheel, ids: BTreeMap::new() }
    }

    /// An empty machine, as one that has restarted with an empty journal.
    pub(super) fn begin(&mut self) -> Node {
        let now = Millis(UNIT_MS * 100);
        let mut machine = Machine::new(self.config.clone());
        machine.agents.wheel = Wheel::stub();
        let live = Image { machine: machine.clone(), timers: Timers::default() };
        let find = Find { machine, closed: [false; AGENTS] };
        let node = Node { now, live, finds: [find].into(), needed: 0 };
        self.restart(&node, 0).expect("nothing can go wrong in an empty machine").0
    }

    /// The machine is handed a wheel.
    fn start(&mut self, machine: &Machine, timers: &Timers) -> Machine {
        self.wheel.set(timers);
        let mut machine = machine.clone();
        machine.agents.wheel = core::mem::replace(&mut self.wheel, Wheel::stub());
        machine
    }

    fn stop(&mut self, mut machine: Machine) -> Image {
        let timers = machine.agents.wheel.timers();
        self.wheel = core::mem::replace(&mut machine.agents.wheel, Wheel::stub());
        Image { machine, timers }
    }

    /// One call. What was told is recorded, and followed edge by edge.
    pub(super) fn call<T>(
        &mut self,
        node: &Node,
        call: impl FnOnce(&mut Machine, Millis, &mut Effects) -> T,
    ) -> Result<(Node, Said<T>), String> {
        let mut machine = self.start(&node.live.machine, &node.live.timers);
        let mut effects = Effects::default();
        let answer = call(&mut machine, node.now, &mut effects);
        let live = self.stop(machine);
        let is_changed = {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            form::live(&mut before, node.now, &node.live);
            form::live(&mut after, node.now, &live);
            before != after
        };
        let thaws = node.live.machine.frozen && !live.machine.frozen;
        let mut next = Node { live, ..node.clone() };
        if thaws {
            self.snapshot(&mut next);
        }
        self.follow(&node.live.machine, &next.live.machine, &effects)?;
        self.record(&mut next, &effects)?;
        Ok((next, Said { answer, effects, is_changed }))
    }

    /// The process ends, and so many of what need not be durable are lost; another goes on from
    /// what is found.
    pub(super) fn restart(&mut self, node: &Node, lost: usize) -> Result<(Node, Effects), String> {
        let find = node.finds[node.finds.len() - 1 - lost].clone();
        let mut machine = self.start(&find.machine, &Timers::default());
        let mut effects = Effects::default();
        machine.resume(node.now, &mut effects);
        let live = self.stop(machine);
        self.follow(&find.machine, &live.machine, &effects)?;
        let mut next = Node { now: node.now, live, finds: [find].into(), needed: 0 };
        self.record(&mut next, &effects)?;
        Ok((next, effects))
    }

    /// Nothing is left of what was recorded.
    pub(super) fn wipe(&self, node: &mut Node) {
        let mut machine = Machine::new(self.config.clone());
        machine.agents.wheel = Wheel::stub();
        node.finds = [Find { machine, closed: [false; AGENTS] }].into();
        node.needed = 0;
    }

    /// Rows of everybody: what a restart finds once nothing is frozen any more. The next answer is
    /// taken to wait for them.
    fn snapshot(&self, node: &mut Node) {
        let mut machine = Machine::new(self.config.clone());
        machine.agents.wheel = Wheel::stub();
        let live = &node.live.machine;
        for slot in live.slots(Slot(0)) {
            let row = live.export(node.now, slot, journal::TENANT).expect("the slot is in use");
            machine.restore(&row, key(&row.agent_id), NORMAL_ONLY).expect("there is room");
        }
        let closed = node.finds.last().map_or([false; AGENTS], |find| find.closed);
        node.finds.push(Find { machine, closed });
        node.needed = node.finds.len() - 1;
    }

    /// Edge by edge, from how the agents stood before to how they stand now.
    fn follow(&mut self, from: &Machine, to: &Machine, effects: &Effects) -> Result<(), String> {
        let mut told = accounts(from);
        for event in &effects.events {
            let agent = &mut told[place(&event.agent_id)];
            if let EventKind::Registered { state, .. } = event.kind {
                let health = Health::Healthy;
                let begun = Told { state, health, open: None, incident: false };
                expect(agent.replace(begun).is_none(), || format!("{event:?} of a known one"))?;
            }
            let Some(one) = agent else { return Err(format!("{event:?} of nobody known")) };
            let is_new = matches!(event.kind, EventKind::Registered { .. });
            let before = format_if(!is_new, || format!("{one:?}"));
            expect(is_new || one.follow(event.at, &event.kind), || {
                format!("{event:?} at {before}")
            })?;
            if let EventKind::Forgotten { .. } = event.kind {
                *agent = None;
            }
            self.check_action(event)?;
        }
        let is = accounts(to);
        for (told, is) in told.iter().zip(&is) {
            let same = match (told, is) {
                (None, None) => true,
                (Some(told), Some(is)) => {
                    (told.state, told.health, told.open, told.incident)
                        == (is.state, is.health, is.open, is.incident)
                }
                _ => false,
            };
            expect(same, || format!("told was {told:?}, and there is {is:?}"))?;
        }
        Ok(())
    }

    /// An action is started within an incident (as `Told` knows), for one that is ill and neither
    /// paused nor leaving; and no id is given twice.
    fn check_action(&mut self, event: &Event) -> Result<(), String> {
        let EventKind::ActionStarted { action, incident, rung, .. } = event.kind else {
            return Ok(());
        };
        let standing = &event.standing;
        let is_ill = standing.state == State::Failed as i32
            || (self.config.incident_after > 0
                && crate::machine::is_bad(Health::from_number(standing.health)));
        let may = is_ill && !standing.paused && !standing.leaving && !event.undurable;
        expect(may, || format!("nothing may be done, and there is {event:?}"))?;
        let what = (event.agent_id.clone(), standing.incarnation, incident, rung);
        let known = self.ids.entry(action).or_insert_with(|| what.clone());
        expect(*known == what, || format!("{action} is the id of {known:?} and of {what:?}"))
    }

    /// Takes in what was told, and compares.
    fn record(&mut self, node: &mut Node, effects: &Effects) -> Result<(), String> {
        if node.live.machine.frozen {
            for event in &effects.events {
                let may = event.undurable && !event.must_be_durable() && may_be_told_frozen(event);
                expect(may, || format!("a frozen machine told {event:?}"))?;
            }
            expect(effects.actions.is_empty(), || "a frozen machine acts".into())?;
            return Ok(());
        }
        for event in &effects.events {
            expect(!event.undurable, || format!("{event:?} is not to be recorded"))?;
            let mut find = node.finds.last().expect("something is found").clone();
            let recorded = event.to_wire(journal::TENANT, "normal");
            let key = key(&event.agent_id);
            find.machine.apply(&recorded, key, NORMAL_ONLY).expect("there is room");
            let closed = &mut find.closed[place(&event.agent_id)];
            match event.kind {
                EventKind::Failed { .. } => *closed = false,
                EventKind::IncidentClosed { .. } => *closed = true,
                _ => {}
            }
            node.finds.push(find);
            if event.must_be_durable() {
                node.needed = node.finds.len() - 1;
            }
        }
        if !effects.events.is_empty() {
            let last = &node.finds.last().expect("something is found").machine;
            let (is, found) = (journal::digest(&node.live.machine), journal::digest(last));
            expect(is == found, || {
                let rows = journal::rows(node.now, &node.live.machine);
                format!("recorded is {:?}, and there is {rows:?}", journal::rows(node.now, last))
            })?;
        }
        Ok(())
    }

    /// The newest call is answered: what it had to wait for is durable.
    pub(super) fn settle(&self, node: &mut Node) {
        node.finds.drain(..node.needed);
        node.needed = 0;
        self.bound(node);
    }

    /// Whatever lies too far back to be lost is durable.
    pub(super) fn bound(&self, node: &mut Node) {
        let spare = node.finds.len().saturating_sub(self.keeps + 1);
        node.finds.drain(..spare);
        node.needed = node.needed.saturating_sub(spare);
    }

    /// What has to hold in every state; `is_handled`: whatever was due by now was handled.
    pub(super) fn check(&self, node: &Node, is_handled: bool) -> Result<(), String> {
        let (machine, timers) = (&node.live.machine, &node.live.timers);
        let mut census = Census::new(1);
        let mut armed: Vec<u32> = timers.armed.iter().map(|&(timer, _)| timer).collect();
        armed.sort_unstable();
        let known: Vec<u32> = machine.slots(Slot(0)).map(|slot| slot.0).collect();
        expect(armed == known, || format!("{armed:?} are armed, of {known:?}"))?;
        for slot in machine.slots(Slot(0)) {
            let record = &machine.agents[slot];
            census.enter(record.class, record.state(), record.health());
            let id = record.name.as_str();
            expect(machine.agents.find_record(key(id)) == Some(slot), || {
                format!("{id} is not found")
            })?;
            let due = self.due(record, is_handled.then_some(node.now))?;
            let tick =
                timers.armed.iter().find(|&&(timer, _)| timer == slot.0).map(|armed| armed.1);
            let earliest = timers.tick + u64::from(timers.visit.is_some());
            let latest = due.0.div_ceil(crate::wheel::TICK_MS);
            expect(tick.is_some_and(|tick| tick <= latest.max(earliest)), || {
                format!("{id} is due at {}, and its timer fires at tick {tick:?}", due.0)
            })?;
            self.check_owed(node, slot, is_handled)?;
        }
        expect(*machine.census() == census, || format!("{:?} is not {census:?}", machine.census()))
    }

    /// When the agent passes its next edge, or recovery goes on: by the rules as they are written,
    /// not as they are coded.
    fn due(
        &self,
        record: &crate::machine::record::Record,
        handled: Option<Millis>,
    ) -> Result<Millis, String> {
        let class = &self.config.classes[NORMAL_ONLY];
        let heard = record.flags.has(Flags::HEARD);
        let fails = if heard {
            record.in_force_ms + class.fail_grace_ms
        } else {
            self.config.startup_grace_ms
        };
        let silence_ms = match record.state() {
            State::New | State::Suspect => fails,
            State::Alive => record.in_force_ms + class.suspect_grace_ms,
            State::Failed => fails + self.config.forget_failed_ms,
            State::Stopped => self.config.forget_stopped_ms,
        };
        let edge = record.receipt.plus(silence_ms.into());
        let case = record.cold.as_ref().and_then(|cold| cold.incident.as_ref());
        let goes_on = case.filter(|_| !record.flags.has(Flags::PAUSED)).and_then(|c| c.act_at);
        let due = goes_on.map_or(edge, |act_at| act_at.min(edge));
        expect(handled.is_none_or(|now| due > now), || {
            format!("{:?} is {:?} past its time", record.name.as_str(), record.state())
        })?;
        Ok(due)
    }

    /// No rung is owed that is not started.
    fn check_owed(&self, node: &Node, slot: Slot, is_handled: bool) -> Result<(), String> {
        let machine = &node.live.machine;
        let record = &machine.agents[slot];
        let limit = self.config.incident_after;
        let is_ill = record.state() == State::Failed
            || (matches!(record.state(), State::Alive | State::Suspect)
                && limit > 0
                && record.stats.bad >= limit);
        let is_held = record.flags.has(Flags::PAUSED)
            || record.status() == pulsegate_wire::Status::Stopping
            || machine.frozen;
        let Some(cold) = record.cold.as_deref().filter(|_| is_ill && !is_held) else {
            return Ok(());
        };
        let Some(case) = &cold.incident else { return Ok(()) };
        let is_time = match case.act_at {
            None => true,
            Some(at) => is_handled && at <= node.now,
        };
        let is_owed = case.plan.is_some() && cold.action.is_none() && is_time;
        expect(!is_owed, || format!("rung {} is owed and not started", case.rungs))
    }
}

/// How every agent stands, as events tell it.
fn accounts(machine: &Machine) -> [Option<Told>; AGENTS] {
    let mut accounts = [const { None }; AGENTS];
    for slot in machine.slots(Slot(0)) {
        let record = &machine.agents[slot];
        let cold = record.cold.as_deref();
        accounts[place(record.name.as_str())] = Some(Told {
            state: record.state(),
            health: record.health(),
            open: cold.and_then(|cold| cold.action.as_ref()).map(|open| open.id),
            incident: cold.is_some_and(|cold| cold.incident.is_some()),
        });
    }
    accounts
}

fn format_if(wanted: bool, text: impl FnOnce() -> String) -> String {
    if wanted { text() } else { String::new() }
}

/// An invariant.
pub(super) fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
