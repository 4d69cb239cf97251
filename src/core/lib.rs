//! The state machine: who lives, how often each beats, what silence means, what recovery does.
//!
//! Nothing here reads a clock, draws a random number or touches the world. Time comes in as an
//! argument, effects go out as data through [`Effects`], and a policy's opinion comes in as a
//! [`Verdict`]. The same machine runs in the gateway, in the simulator and in replay; the same
//! inputs give the same bytes.
//!
//! ```text
//! handle_heartbeat(now) → observation → (a policy, elsewhere) → verdict → decide(now) → decision
//! handle_deadlines(now) → events, incidents, actions, suspicions
//! handle_plan / handle_outcome / handle_witness / handle_command → events, actions
//! restart: restore, apply (what was recorded) → resume(now)
//! lease: acquire / renew / release, and renewal by heartbeats → events, answers to those in line
//! ```
//!
//! This room may touch `wire`. It is `no_std` + alloc and never iterates over a hash map.
#![no_std]

extern crate alloc;

mod agent;
pub mod builtin;
pub mod cadence;
mod class;
mod effects;
mod event;
mod incident;
pub mod lease;
mod machine;
mod observation;
#[cfg(test)]
mod testing;
mod time;
pub mod wheel;

pub use agent::{AgentKey, Beat, PartitionHasher, Slot, TenantId};
pub use class::{Class, ClassId, Classes};
pub use effects::{Action, ActionId, Effects, Suspicion};
pub use event::{Event, EventKind};
pub use incident::{Incident, Plan, Rung};
pub use machine::{
    AgentInfo, Census, Config, Decision, Handled, Machine, Refusal, Stamp, Ticket, agent_digest,
    restart_spread_ms,
};
pub use observation::{Beside, Observation, Signals, Verdict, VerdictSource};
pub use pulsegate_wire::{ActionOutcome, IncidentKind};
pub use time::Millis;
