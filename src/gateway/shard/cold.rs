//! What the shell keeps of each agent beside the machine: nothing that a decision needs.

use std::net::IpAddr;

use pulsegate_core::{Decision, Observation, VerdictSource};
use pulsegate_policy::{Assignment, Memory, Watched};
use pulsegate_wire::Health;

use super::limiter::Charged;
use crate::durable::Mark;

/// Cold data of one slot; reset when the slot is given to another agent. One cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Cold {
    /// Generation of the slot that this belongs to, with the policies chosen for the agent and
    /// the set that they were chosen from.
    pub(super) assigned: Option<(u64, Assignment)>,
    /// What policies keep of the agent that keep anything, and those in shadow.
    pub(super) beside: Option<Box<Beside>>,
    /// The last heartbeat that was decided.
    pub(super) last: Option<Box<Explained>>,
    /// The newest event of the agent that its answers wait for.
    pub(super) awaits: Option<Mark>,
    /// What the agent's quota has left: a new agent starts with a full one.
    pub(super) charged: Charged,
}

impl Cold {
    /// Something of every cache line that the next heartbeat will read or write, so that they are
    /// waited for together.
    pub(super) fn touched(&self) -> impl Sized {
        let lines = |last: &Explained| {
            (
                last.observation.now_ms,
                last.observation.fleet_load,
                last.judged,
                last.decision.number,
            )
        };
        (self.charged, self.last.as_deref().map(lines))
    }

    pub(super) fn boxed_bytes(&self) -> usize {
        let beside = self.beside.as_ref().map_or(0, |_| size_of::<Beside>());
        beside + self.last.as_ref().map_or(0, |_| size_of::<Explained>())
    }
}

/// What policies keep of an agent: those that are obeyed, and apart from it those in shadow.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    /// Memory columns of the policies that are obeyed.
    pub(super) memory: Memory,
    /// What those in shadow said last.
    pub(super) shadow: Option<Shadowed>,
}

/// What policies in shadow would have said of a heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Shadowed {
    /// Their memory columns.
    pub memory: Memory,
    /// What they said.
    pub watched: Watched,
    /// The sequence of the heartbeat.
    pub number: u64,
    /// Generation of the policy set that the sources belong to.
    pub policies: u64,
}

/// Why an agent's last directive is what it is. Written at every heartbeat, so it fills whole cache
/// lines: four of them.
#[derive(Clone, Debug, PartialEq)]
#[repr(align(64))]
pub struct Explained {
    /// What the policies saw.
    pub observation: Observation,
    /// The health that was judged, and how good it is, 0 (worst) to 100.
    pub judged: (Health, f64),
    /// Who judged health, and why.
    pub health_source: VerdictSource,
    /// The interval proposed, in milliseconds, before any guard.
    pub hint_ms: f64,
    /// The machine's part of the directive, with what each guard did.
    pub decision: Decision,
    /// Generation of the policy set that the sources belong to.
    pub policies: u64,
    /// The address that the heartbeat was observed to come from.
    pub peer: IpAddr,
    /// Wall clock of the agent when it sent the heartbeat, in Unix milliseconds; 0 if it told none.
    pub sent_at_unix_ms: u64,
    /// Wall clock at the decision, in Unix milliseconds.
    pub decided_at_unix_ms: u64,
}

impl Explained {
    /// Difference of the agent's wall clock to ours, in milliseconds; `None` if it told none. For
    /// display only.
    #[must_use]
    pub fn clock_skew_ms(&self) -> Option<i64> {
        skew(self.sent_at_unix_ms, self.decided_at_unix_ms)
    }
}

fn skew(sent_at_ms: u64, wall_ms: u64) -> Option<i64> {
    let ours = i64::try_from(wall_ms).ok()?;
    let theirs = i64::try_from(sent_at_ms).ok().filter(|&ms| ms != 0)?;
    Some(theirs - ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_touches_one_line_of_cold_data_and_writes_four() {
        assert_eq!((size_of::<Cold>(), size_of::<Explained>()), (64, 256));
    }

    #[test]
    fn a_clock_ten_years_off_is_shown_and_nothing_else() {
        let ten_years = 10 * 365 * 86_400_000;
        assert_eq!(skew(1_000 + ten_years, 1_000), Some(ten_years as i64));
        assert_eq!(skew(0, 1_000), None);
    }
}
