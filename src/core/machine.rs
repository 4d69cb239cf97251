//! The machine of one shard: inputs `handle_*`, the question `next_deadline`, effects out.

use alloc::vec::Vec;

use pulsegate_wire::{Command, Health, Outcome, Registration, State, Status};

use crate::{
    ActionId, ActionOutcome, AgentKey, Beat, ClassId, Classes, Effects, Millis, Observation, Plan,
    Slot, TenantId, Verdict, VerdictSource, cadence,
};

/// How the machine works. All times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The classes of agents.
    pub classes: Classes,
    /// The cadence guard.
    pub cadence: cadence::Config,
    /// Budget of the whole fleet, in heartbeats per second, of this machine's share; 20,000.
    pub budget_per_second: f64,
    /// A registered agent that was never heard fails after this; 120 s.
    pub startup_grace_ms: u32,
    /// A failed agent is forgotten after this; 24 h.
    pub forget_failed_ms: u32,
    /// A stopped agent is forgotten after this; 1 h.
    pub forget_stopped_ms: u32,
    /// Unhealthy or stalled for this many heartbeats opens a health incident; 3.
    pub incident_after: u8,
    /// Healthy for this many heartbeats closes an incident; 3.
    pub success_after: u8,
    /// An agent without work for this long is idle; 5 min.
    pub idle_after_ms: u32,
    /// Window of error counts and of the queue's trend; 60 s.
    pub window_ms: u32,
    /// Most agents; a registration beyond is refused; 1,048,576.
    pub max_agents: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            classes: Classes::default(),
            cadence: cadence::Config::default(),
            budget_per_second: 20_000.0,
            startup_grace_ms: 120_000,
            forget_failed_ms: 86_400_000,
            forget_stopped_ms: 3_600_000,
            incident_after: 3,
            success_after: 3,
            idle_after_ms: 300_000,
            window_ms: 60_000,
            max_agents: 1 << 20,
        }
    }
}

/// What a late answer must still match: a newer heartbeat, incarnation or agent makes it stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Slot of the agent.
    pub slot: Slot,
    /// Raised each time the slot is given to another agent.
    pub generation: u32,
    /// Incarnation of the agent.
    pub incarnation: u64,
    /// Sequence of the heartbeat, or number of the incident.
    pub sequence: u64,
}

/// A heartbeat that waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticket {
    /// What the verdict must match.
    pub stamp: Stamp,
    /// Class of the agent.
    pub class: ClassId,
    /// What policies may see.
    pub observation: Observation,
}

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "made and consumed on the stack, once a heartbeat")]
pub enum Handled {
    /// It renewed the deadline: get a verdict, then call [`Machine::decide`].
    Observe(Ticket),
    /// It changed nothing (duplicate or stale): here is the current directive.
    Repeat(Decision),
}

/// Why a heartbeat was refused; state has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A newer incarnation is known.
    IncarnationStale {
        /// The one known.
        known: u64,
    },
    /// This incarnation has left.
    Stopped,
    /// There is no room for another agent.
    Full,
}

/// The machine's part of a directive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Slot of the agent, for what the shell keeps beside it.
    pub slot: Slot,
    /// The sequence that it answers.
    pub number: u64,
    /// What became of the heartbeat.
    pub outcome: Outcome,
    /// When to beat next, after jitter, in milliseconds.
    pub next_interval_ms: u32,
    /// Silence after which the agent is suspect, in milliseconds.
    pub suspect_after_ms: u32,
    /// Silence after which the agent has failed, in milliseconds.
    pub fail_after_ms: u32,
    /// Who proposed the interval, and why.
    pub source: VerdictSource,
    /// What the guard did; only its bound is known for a repeated directive.
    pub trace: cadence::Trace,
    /// Health in force.
    pub health: Health,
    /// Class of the agent.
    pub class: ClassId,
    /// Whether commands wait for the agent: see [`Machine::commands`].
    pub has_commands: bool,
}

/// One agent, for listings.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentInfo<'a> {
    /// Slot of the agent.
    pub slot: Slot,
    /// Tenant of the agent.
    pub tenant: TenantId,
    /// Name of the agent.
    pub id: &'a str,
    /// State.
    pub state: State,
    /// Health in force.
    pub health: Health,
    /// Status reported last.
    pub status: Status,
    /// Class.
    pub class: ClassId,
    /// Incarnation.
    pub incarnation: u64,
    /// Newest sequence.
    pub sequence: u64,
    /// Stored interval, in milliseconds.
    pub interval_ms: u32,
    /// Interval in force, in milliseconds.
    pub in_force_ms: u32,
    /// Receipt of the last heartbeat; `None` if never heard.
    pub last_receipt: Option<Millis>,
    /// Heartbeats missing in the present silence.
    pub missed: u32,
    /// Paused by an operator.
    pub paused: bool,
    /// Registration fields known.
    pub registration: Option<&'a Registration>,
    /// Recovery under way: executor of the current or last rung, and whether it is open.
    pub recovery: Option<(&'a str, bool)>,
}

/// How many agents there are, kept as they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// By class, state and health: `counts[class][state][health]`.
    pub counts: Vec<[[u32; 4]; 5]>,
}

impl Census {
    /// Agents of a class that are expected to beat: new, alive and suspect ones.
    #[must_use]
    pub fn beating(&self, class: ClassId) -> u32 {
        let states = [State::New, State::Alive, State::Suspect];
        self.counts.get(usize::from(class.0)).map_or(0, |by_state| {
            states.iter().map(|&state| by_state[state as usize].iter().sum::<u32>()).sum()
        })
    }
}

/// The agents of one shard.
#[derive(Debug)]
pub struct Machine {
    config: Config,
}

#[allow(unused_variables, reason = "signatures first")]
impl Machine {
    /// An empty machine.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Takes a new configuration; intervals above a lowered cap move with the next heartbeat.
    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// The fleet-wide floor base, in milliseconds for a class of weight 1 (0: no floor), computed
    /// by the shell over all shards with [`cadence::Floor`], and the fleet's load, 0 to 1.
    pub fn set_floor(&mut self, base_ms: u32, fleet_load: f64) {
        unimplemented!()
    }

    /// The slot of an agent.
    #[must_use]
    pub fn find(&self, key: AgentKey<'_>) -> Option<Slot> {
        unimplemented!()
    }

    /// Handles a heartbeat: of the agent in `slot`, found with [`Machine::find`] under the same
    /// lock, or of an agent not known yet.
    ///
    /// # Errors
    /// [`Refusal`]; state has not changed.
    pub fn handle_heartbeat(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        slot: Option<Slot>,
        beat: &Beat,
        effects: &mut Effects,
    ) -> Result<Handled, Refusal> {
        unimplemented!()
    }

    /// Takes the verdict on a heartbeat and decides. A verdict whose stamp is no longer current
    /// is ignored, and the current directive comes back.
    pub fn decide(
        &mut self,
        now: Millis,
        ticket: &Ticket,
        verdict: &Verdict,
        effects: &mut Effects,
    ) -> Decision {
        unimplemented!()
    }

    /// A heartbeat of a known agent that was rate-limited: it is a sign of life and renews the
    /// deadline, nothing else. Returns the time until it is due, in milliseconds.
    pub fn handle_limited(
        &mut self,
        now: Millis,
        slot: Slot,
        beat: &Beat,
        effects: &mut Effects,
    ) -> u32 {
        unimplemented!()
    }

    /// Takes registration fields of a known agent; says whether anything changed.
    pub fn handle_registration(
        &mut self,
        now: Millis,
        slot: Slot,
        registration: Registration,
        effects: &mut Effects,
    ) -> bool {
        unimplemented!()
    }

    /// Registers an agent that was not heard yet (`PUT`), or updates one that is known.
    ///
    /// # Errors
    /// [`Refusal::Full`]; state has not changed.
    pub fn handle_put(
        &mut self,
        now: Millis,
        key: AgentKey<'_>,
        registration: Registration,
        effects: &mut Effects,
    ) -> Result<Slot, Refusal> {
        unimplemented!()
    }

    /// Lets an agent leave gracefully (`DELETE`).
    pub fn handle_stop(&mut self, now: Millis, slot: Slot, effects: &mut Effects) {
        unimplemented!()
    }

    /// Pauses or resumes an agent: a paused one is watched, but nothing is done about it.
    pub fn handle_pause(&mut self, now: Millis, slot: Slot, paused: bool, effects: &mut Effects) {
        unimplemented!()
    }

    /// Queues a command for an agent's next directive.
    pub fn handle_command(
        &mut self,
        now: Millis,
        slot: Slot,
        command: Command,
        effects: &mut Effects,
    ) {
        unimplemented!()
    }

    /// Takes the acknowledgement of a command.
    pub fn handle_ack(
        &mut self,
        now: Millis,
        slot: Slot,
        command_id: &str,
        outcome: pulsegate_wire::AckOutcome,
        effects: &mut Effects,
    ) {
        unimplemented!()
    }

    /// Commands that wait for an agent's acknowledgement.
    #[must_use]
    pub fn commands(&self, slot: Slot) -> &[Command] {
        unimplemented!()
    }

    /// Handles at most `budget` deadlines that have passed; says whether more have.
    pub fn handle_deadlines(&mut self, now: Millis, budget: usize, effects: &mut Effects) -> bool {
        unimplemented!()
    }

    /// No deadline passes before this instant.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        unimplemented!()
    }

    /// A second witness (a failed probe) confirms that a suspect or failed agent is gone: recovery
    /// may act at the fail grace already. The stamp is the one that [`Machine::stamp`] gave when
    /// the probe began; a heartbeat since then makes it stale.
    pub fn handle_witness(&mut self, now: Millis, stamp: Stamp, effects: &mut Effects) {
        unimplemented!()
    }

    /// What a later answer about the agent as it is now must still match.
    #[must_use]
    pub fn stamp(&self, slot: Slot) -> Option<Stamp> {
        unimplemented!()
    }

    /// Takes a recovery plan for an incident.
    pub fn handle_plan(&mut self, now: Millis, stamp: Stamp, plan: Plan, effects: &mut Effects) {
        unimplemented!()
    }

    /// Takes the outcome of an action.
    pub fn handle_outcome(
        &mut self,
        now: Millis,
        stamp: Stamp,
        action: ActionId,
        outcome: ActionOutcome,
        effects: &mut Effects,
    ) {
        unimplemented!()
    }

    /// One agent.
    #[must_use]
    pub fn info(&self, now: Millis, slot: Slot) -> Option<AgentInfo<'_>> {
        unimplemented!()
    }

    /// Slots in use, from `from` on, in order.
    pub fn slots(&self, from: Slot) -> impl Iterator<Item = Slot> + '_ {
        core::iter::empty()
    }

    /// How many agents there are.
    #[must_use]
    pub fn census(&self) -> &Census {
        unimplemented!()
    }

    /// Bytes in use by the hot state (records, ids, map, wheel) and by cold data.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        unimplemented!()
    }
}
