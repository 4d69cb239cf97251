//! How the machine works.

use crate::{Classes, cadence};

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
    /// Unhealthy or stalled for this many heartbeats in a row opens a health incident; 3. Fewer act
    /// sooner and on less evidence; 0 never does.
    pub incident_after: u8,
    /// Neither unhealthy nor stalled for this many heartbeats in a row ends an incident well; 3.
    /// More keep the rest of a plan ready for a relapse for longer.
    pub success_after: u8,
    /// An agent without work for this long is idle; 5 min.
    pub idle_after_ms: u32,
    /// Window of error counts and of the queue's trend; 60 s.
    pub window_ms: u32,
    /// A copy of a heartbeat that was sent before a restart may arrive for this long after it;
    /// 30 s. Until then an echo is not taken for one of what this process decided. Longer keeps
    /// intervals in force, and silence unnoticed, for longer after a restart. Source: DESIGN §3,
    /// the last retry at +15 s ±20 %, and 12 s on its way.
    pub late_copy_ms: u32,
    /// Most agents; a registration beyond is refused; 1,048,576, and never more than 16,777,214.
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
            late_copy_ms: 30_000,
            max_agents: 1 << 20,
        }
    }
}
