//! Anything in any order, restarts and disks that fail among it: allowed edges only, every account
//! agrees with a recount, and after every step what was recorded adds up to what is.

use alloc::collections::BTreeMap;
use alloc::{format, vec};

use proptest::prelude::*;
use pulsegate_wire::{Command, CommandKind, Probe, Registration, Status};

use super::journal::{self, Journal};
use super::*;
use crate::testing::seeds;
use crate::{Action, ActionId, ActionOutcome, Incident, Plan, Rung, Suspicion};

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Incarnation and sequence, relative to what is known; whether the last directive is echoed;
    /// health and hint of the verdict, or none at all.
    Beat {
        agent: u8,
        newer: i8,
        ahead: i8,
        echo: bool,
        leaves: bool,
        judged: Option<(u8, f64)>,
    },
    Limited {
        agent: u8,
        newer: i8,
        ahead: i8,
    },
    Wait(u64),
    Put {
        agent: u8,
        class: u8,
    },
    Stop(u8),
    Pause(u8, bool),
    Command(u8, u8),
    Plan(u8),
    Outcome(u8),
    /// How many suspicions back the witness answers.
    Witness(u8),
    Floor(u32),
    /// Half a snapshot: the second completes the first.
    Snapshot,
    Restart,
    Freeze(bool),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let agent = || 0..6u8;
    let newer = || prop_oneof![8 => Just(0i8), 1 => -1..=1i8];
    let ahead = || prop_oneof![6 => Just(1i8), 2 => -1..=4i8];
    let judged = || {
        let hint = prop_oneof![0.0..400_000.0f64, Just(f64::NAN), Just(f64::NEG_INFINITY)];
        proptest::option::weighted(0.9, (0..4u8, hint))
    };
    let wait = prop_oneof![3 => 0..40_000u64, 2 => 0..200_000u64, 1 => 0..100_000_000u64];
    let beat = (agent(), newer(), ahead(), any::<bool>(), proptest::bool::weighted(0.05), judged());
    prop_oneof![
        12 => beat.prop_map(|(agent, newer, ahead, echo, leaves, judged)| {
            Step::Beat { agent, newer, ahead, echo, leaves, judged }
        }),
        1 => (agent(), newer(), ahead())
            .prop_map(|(agent, newer, ahead)| Step::Limited { agent, newer, ahead }),
        6 => wait.prop_map(Step::Wait),
        1 => (agent(), 0..4u8).prop_map(|(agent, class)| Step::Put { agent, class }),
        1 => agent().prop_map(Step::Stop),
        1 => (agent(), any::<bool>()).prop_map(|(agent, on)| Step::Pause(agent, on)),
        1 => (agent(), 0..12u8).prop_map(|(agent, id)| Step::Command(agent, id)),
        3 => (0..4u8).prop_map(Step::Plan),
        3 => (0..6u8).prop_map(Step::Outcome),
        2 => (0..3u8).prop_map(Step::Witness),
        1 => (0..500_000u32).prop_map(Step::Floor),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Freeze),
    ]
}

/// What the events tell of one agent.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) state: State,
    pub(super) health: Health,
    pub(super) open: Option<ActionId>,
    pub(super) incident: bool,
}

pub(super) struct Play {
    pub(super) world: World,
    agents: BTreeMap<String, Told>,
    plans: Vec<(Stamp, Incident)>,
    actions: Vec<Action>,
    suspicions: Vec<Suspicion>,
    pub(super) journal: Journal,
    /// What the journal adds up to.
    folded: Machine,
    /// A snapshot of which half was taken.
    half: Option<Journal>,
    /// What the newest snapshot, and the events since it began, add up to.
    fuzzy: Option<Machine>,
}

fn name(agent: u8) -> String {
    // One long enough to be boxed.
    if agent == 5 { "x".repeat(100) } else { format!("agent-{agent}") }
}

impl Play {
    pub(super) fn new(config: Config) -> Self {
        Self {
            folded: Machine::new(config.clone()),
            world: World::with(config),
            agents: BTreeMap::new(),
            plans: Vec::new(),
            actions: Vec::new(),
            suspicions: Vec::new(),
            journal: Journal::default(),
            half: None,
            fuzzy: None,
        }
    }

    pub(super) fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Beat { agent, newer, ahead, echo, leaves, judged } => {
                let mut beat = self.beat(agent, newer, ahead, echo);
                beat.status = if leaves { Status::Stopping } else { Status::Healthy };
                self.heartbeat(&name(agent), &beat, judged)?;
            }
            Step::Limited { agent, newer, ahead } => {
                let beat = self.beat(agent, newer, ahead, false);
                self.with(agent, |machine, now, slot, effects| {
                    machine.handle_limited(now, slot, &beat, effects);
                });
            }
            Step::Wait(ms) => self.world.jump(ms),
            Step::Put { agent, class } => {
                let class = ["critical", "normal", "background", "purple"][usize::from(class)];
                let class = Some(class.into());
                let probe = Some(Probe { port: 7, ..Probe::default() });
                let registration = Registration { class, probe, ..Registration::default() };
                let now = self.world.now();
                let World { machine, effects, .. } = &mut self.world;
                let _ = machine.handle_put(now, key(&name(agent)), registration, effects);
            }
            Step::Stop(agent) => self.with(agent, Machine::handle_stop),
            Step::Pause(agent, on) => self.with(agent, |machine, now, slot, effects| {
                machine.handle_pause(now, slot, on, effects)
            }),
            Step::Command(agent, id) => self.with(agent, |machine, now, slot, effects| {
                let kind = CommandKind::Restart as i32;
                let command = Command { id: format!("c{id}"), kind, ..Command::default() };
                machine.handle_command(now, slot, command, effects)
            }),
            Step::Plan(rungs) => self.plan(rungs),
            Step::Outcome(outcome) => self.outcome(outcome),
            Step::Witness(back) => self.witness(back.into())?,
            Step::Floor(base_ms) => self.world.machine.set_floor(base_ms, 0.5),
            Step::Snapshot => self.snapshot(),
            Step::Restart => self.restart(),
            Step::Freeze(on) => self.freeze(on)?,
        }
        self.record()?;
        self.listen()?;
        self.recount()?;
        self.compare()
    }

    /// Takes the rows of half the slots; of the other half the next time. What happens between
    /// stands in the events.
    fn snapshot(&mut self) {
        if self.world.machine.is_frozen() {
            return;
        }
        let second = self.half.is_some();
        let mut half = self.half.take().unwrap_or_default();
        let machine = &self.world.machine;
        let is_mine = |slot: &Slot| (slot.0 % 2 == 1) == second;
        let slots: Vec<Slot> = machine.slots(Slot(0)).filter(is_mine).collect();
        half.take_rows(self.world.now(), machine, &slots);
        if second {
            self.fuzzy = Some(half.fold(&machine.config));
        } else {
            self.half = Some(half);
        }
    }

    /// The process ends and another goes on from the journal. While frozen the journal is what it
    /// was before: then nothing restarts here, see the tests of frozen machines.
    fn restart(&mut self) {
        if self.world.machine.is_frozen() {
            return;
        }
        let config = self.world.machine.config.clone();
        let (machine, effects) = self.journal.restart(&config, self.world.now());
        self.world.machine = machine;
        self.world.effects = effects;
        // A snapshot that was not complete ends with its process.
        self.half = None;
        self.plans.clear();
        self.actions.clear();
        self.suspicions.clear();
    }

    fn freeze(&mut self, on: bool) -> Result<(), TestCaseError> {
        let thaws = self.world.machine.is_frozen() && !on;
        let now = self.world.now();
        self.world.machine.set_frozen(now, on, &mut self.world.effects);
        prop_assert!(thaws || self.world.effects.is_empty());
        if thaws {
            // A fresh snapshot. What the thaw told comes after its beginning.
            let machine = &self.world.machine;
            let slots: Vec<Slot> = machine.slots(Slot(0)).collect();
            self.journal = Journal::default();
            self.journal.take_rows(now, machine, &slots);
            self.folded = self.journal.fold(&machine.config);
            (self.half, self.fuzzy) = (None, None);
            for slot in slots {
                prop_assert!(!self.world.info(slot).undurable);
            }
        }
        Ok(())
    }

    /// Records what was told, and lets the followers take it in. A frozen machine tells nothing
    /// that would have to be recorded.
    fn record(&mut self) -> Result<(), TestCaseError> {
        let World { machine, effects, .. } = &self.world;
        if machine.is_frozen() {
            for event in &effects.events {
                prop_assert!(event.undurable && !event.must_be_durable(), "{event:?}");
                prop_assert!(may_be_told_frozen(event), "{event:?} of a frozen machine");
            }
            return Ok(());
        }
        prop_assert!(effects.events.iter().all(|event| !event.undurable));
        let begun = self.journal.events.len();
        self.journal.record(&machine.config, &effects.events);
        if let Some(half) = &mut self.half {
            half.record(&machine.config, &effects.events);
        }
        for event in &self.journal.events[begun..] {
            journal::apply(&mut self.folded, event);
            if let Some(fuzzy) = &mut self.fuzzy {
                journal::apply(fuzzy, event);
            }
        }
        Ok(())
    }

    /// What was recorded is what is.
    fn compare(&self) -> Result<(), TestCaseError> {
        let (now, machine) = (self.world.now(), &self.world.machine);
        if machine.is_frozen() {
            return Ok(());
        }
        let live = journal::rows(now, machine);
        for follower in [Some(&self.folded), self.fuzzy.as_ref()].into_iter().flatten() {
            prop_assert_eq!(&live, &journal::rows(now, follower));
            prop_assert_eq!(journal::digest(machine), journal::digest(follower));
            prop_assert_eq!(machine.census(), follower.census());
            prop_assert_eq!(follower.next_deadline(), None);
        }
        Ok(())
    }

    fn with<R>(
        &mut self,
        agent: u8,
        act: impl FnOnce(&mut Machine, Millis, Slot, &mut Effects) -> R,
    ) {
        if let Some(slot) = self.world.slot(&name(agent)) {
            let now = self.world.now();
            act(&mut self.world.machine, now, slot, &mut self.world.effects);
        }
    }

    fn beat(&self, agent: u8, newer: i8, ahead: i8, echo: bool) -> Beat {
        let slot = self.world.slot(&name(agent));
        let known = slot.map(|slot| self.world.info(slot));
        let (incarnation, sequence) = known.map_or((5, 1), |i| (i.incarnation, i.sequence));
        Beat {
            incarnation: incarnation.saturating_add_signed(newer.into()),
            sequence: sequence.saturating_add_signed(ahead.into()),
            directive_seen: if echo { sequence } else { 0 },
            ..Beat::default()
        }
    }

    fn heartbeat(
        &mut self,
        id: &str,
        beat: &Beat,
        judged: Option<(u8, f64)>,
    ) -> Result<(), TestCaseError> {
        let before = self.picture();
        match self.world.handle(id, beat) {
            Ok(Handled::Observe(ticket)) => {
                let seen = &ticket.observation;
                prop_assert!(seen.queue_trend.is_finite() && seen.fleet_load.is_finite());
                let Some((health, hint)) = judged else { return Ok(()) };
                let verdict = verdict(Health::ALL[usize::from(health)], hint);
                let now = self.world.now();
                let World { machine, effects, .. } = &mut self.world;
                let decision = machine.decide(now, &ticket, &verdict, effects);
                let trace = decision.trace;
                prop_assert_eq!(decision.number, ticket.stamp.sequence);
                prop_assert!((1_000..=trace.cap_ms).contains(&trace.effective_ms));
                prop_assert!((1_000..=trace.effective_ms).contains(&decision.next_interval_ms));
                prop_assert!(decision.suspect_after_ms > trace.effective_ms);
                prop_assert!(decision.fail_after_ms > decision.suspect_after_ms);
                let in_force_ms = seen.interval_ms;
                prop_assert!(!self.world.machine.is_frozen() || trace.effective_ms <= in_force_ms);
            }
            // It was a sign of life all the same.
            Err(Refusal::ReadOnly) => {}
            Ok(Handled::Repeat(_)) | Err(_) => {
                prop_assert!(self.world.effects.is_empty());
                prop_assert_eq!(before, self.picture(), "{:?} changed something", beat);
            }
        }
        Ok(())
    }

    /// Everything that can be seen.
    fn picture(&self) -> String {
        let machine = &self.world.machine;
        let infos: Vec<_> = machine.slots(Slot(0)).map(|slot| self.world.info(slot)).collect();
        format!("{infos:?} {:?} {:?}", machine.next_deadline(), machine.memory())
    }

    fn plan(&mut self, rungs: u8) {
        if let Some((stamp, _)) = self.plans.pop() {
            let rung = |rung| Rung { executor: format!("e{rung}"), wait_ms: 10_000 };
            let plan = Plan { rungs: (0..rungs).map(rung).collect(), reason: String::new() };
            let now = self.world.now();
            self.world.machine.handle_plan(now, stamp, plan, &mut self.world.effects);
        }
    }

    fn outcome(&mut self, outcome: u8) {
        let outcomes = [
            ActionOutcome::Done,
            ActionOutcome::Failed,
            ActionOutcome::TimedOut,
            ActionOutcome::Unreachable,
            ActionOutcome::Unknown,
        ];
        // Sometimes the same outcome again: the action stays in the list.
        let action = match usize::from(outcome) {
            5 => self.actions.last().cloned(),
            _ => self.actions.pop(),
        };
        if let Some(action) = action {
            let outcome = outcomes[usize::from(outcome) % outcomes.len()];
            let now = self.world.now();
            let World { machine, effects, .. } = &mut self.world;
            machine.handle_outcome(now, action.stamp, action.id, outcome, effects);
        }
    }

    /// A witness answers; one that comes too late changes nothing.
    fn witness(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(suspicion) = self.suspicions.iter().rev().nth(back).cloned() else {
            return Ok(());
        };
        let before = self.picture();
        let now = self.world.now();
        let World { machine, effects, .. } = &mut self.world;
        if machine.handle_witness(now, &suspicion, effects) {
            let info = self.world.info(suspicion.stamp.slot);
            prop_assert_eq!(info.id, &suspicion.agent_id);
            prop_assert!(info.witnessed && matches!(info.state, State::Suspect | State::Failed));
            prop_assert_eq!(info.last_receipt, Some(suspicion.last_receipt));
        } else {
            prop_assert!(self.world.effects.is_empty());
            prop_assert_eq!(before, self.picture());
        }
        Ok(())
    }

    /// Follows the events, edge by edge.
    fn listen(&mut self) -> Result<(), TestCaseError> {
        self.plans.append(&mut self.world.effects.incidents);
        self.actions.append(&mut self.world.effects.actions);
        self.suspicions.append(&mut self.world.effects.suspicions);
        let events: Vec<_> = self.world.effects.events.drain(..).collect();
        for event in events {
            let (id, kind) = (event.agent_id, event.kind);
            if let EventKind::Registered { state, .. } = kind {
                prop_assert!(matches!(state, State::New | State::Alive));
                let health = Health::Healthy;
                let told = Told { state, health, open: None, incident: false };
                prop_assert!(self.agents.insert(id, told).is_none());
                continue;
            }
            let Some(told) = self.agents.get_mut(&id) else {
                return Err(TestCaseError::fail(format!("{kind:?} of {id}, which is not known")));
            };
            let allowed = told.follow(event.at, &kind);
            prop_assert!(allowed, "{kind:?} of {id} at {told:?}");
            if let EventKind::Forgotten { .. } = kind {
                self.agents.remove(&id);
            }
        }
        Ok(())
    }

    fn recount(&self) -> Result<(), TestCaseError> {
        let machine = &self.world.machine;
        let mut census = Census::new(3);
        for slot in machine.slots(Slot(0)) {
            let info = self.world.info(slot);
            census.enter(info.class, info.state, info.health);
            let told = self.agents.get(info.id);
            prop_assert_eq!(
                told.map(|told| (told.state, told.health)),
                Some((info.state, info.health))
            );
            prop_assert_eq!(machine.find(key(info.id)), Some(slot));
            let open = info.recovery.is_some_and(|(_, open)| open);
            prop_assert_eq!(open, told.is_some_and(|told| told.open.is_some()));
        }
        prop_assert_eq!(machine.census(), &census);
        prop_assert_eq!(census.total() as usize, self.agents.len());
        prop_assert_eq!(machine.agents.wheel.len(), self.agents.len(), "a deadline each");
        for agent in 0..6 {
            let id = name(agent);
            prop_assert_eq!(machine.find(key(&id)).is_some(), self.agents.contains_key(&id));
        }
        Ok(())
    }
}

/// Whether a machine that cannot record may tell this: silence and its end, the end of what was
/// begun before, and intervals that become shorter.
pub(super) fn may_be_told_frozen(event: &crate::Event) -> bool {
    let is_silence = matches!(
        event.kind,
        EventKind::Suspected { .. }
            | EventKind::Failed { .. }
            | EventKind::Recovered { .. }
            | EventKind::Stopped
            | EventKind::Forgotten { .. }
            | EventKind::Leaving(_)
    );
    let ends = matches!(
        event.kind,
        EventKind::CommandEnded { .. }
            | EventKind::ActionEnded { .. }
            | EventKind::IncidentClosed { .. }
    );
    let is_shorter = match event.kind {
        EventKind::InForce { from_ms } => event.standing.in_force_ms < from_ms,
        EventKind::CadenceMoved { from_ms, to_ms, in_force_from_ms, .. } => {
            to_ms < from_ms && event.standing.in_force_ms <= in_force_from_ms
        }
        _ => false,
    };
    is_silence || ends || is_shorter
}

impl Told {
    /// Whether the event may happen now; and what it makes of the agent.
    pub(super) fn follow(&mut self, at: Millis, kind: &EventKind) -> bool {
        use State::{Alive, Failed, New, Stopped, Suspect};
        let state = self.state;
        match *kind {
            EventKind::Heard => core::mem::replace(&mut self.state, Alive) == New,
            EventKind::Restarted { .. } => {
                self.state = Alive;
                matches!(state, Alive | Stopped)
            }
            EventKind::Suspected { last_receipt, in_force_ms, grace_ms, .. } => {
                self.state = Suspect;
                state == Alive && at >= last_receipt.plus(u64::from(in_force_ms + grace_ms))
            }
            EventKind::Failed { last_receipt, in_force_ms, grace_ms, .. } => {
                self.state = Failed;
                matches!(state, New | Suspect)
                    && at >= last_receipt.plus(u64::from(in_force_ms + grace_ms))
            }
            EventKind::Recovered { from, .. } => {
                self.state = Alive;
                state == from && matches!(from, Suspect | Failed)
            }
            EventKind::Stopped => core::mem::replace(&mut self.state, Stopped) != Stopped,
            EventKind::Forgotten { from } => {
                from == state && matches!(from, Failed | Stopped) && !self.incident
            }
            EventKind::HealthChanged { from, to } => {
                core::mem::replace(&mut self.health, to) == from && from != to
            }
            EventKind::IncidentOpened { .. } => !core::mem::replace(&mut self.incident, true),
            EventKind::IncidentClosed { .. } => core::mem::replace(&mut self.incident, false),
            EventKind::ActionStarted { action, .. } => {
                self.open.replace(action).is_none() && self.incident && state != Stopped
            }
            EventKind::ActionEnded { action, .. } => self.open.take() == Some(action),
            _ => true,
        }
    }
}

proptest! {
    #![proptest_config(seeds(256))]

    #[test]
    fn any_order_of_inputs_keeps_every_account_straight(
        steps in proptest::collection::vec(step(), 1..120),
        max_agents in 3..7u32,
    ) {
        let config = Config { max_agents, ..Config::default() };
        let mut play = Play::new(config);
        for step in &steps {
            play.apply(step)?;
        }
    }

    /// The machine knows no clock and no chance: what it told once it tells again.
    #[test]
    fn the_same_inputs_tell_the_same(steps in proptest::collection::vec(step(), 1..60)) {
        let run = || {
            let mut play = Play::new(Config::default());
            let mut pictures = String::new();
            for step in &steps {
                let applied = play.apply(step).is_ok();
                pictures += &format!("{applied} {}", play.picture());
            }
            pictures
        };
        prop_assert_eq!(run(), run());
    }
}
