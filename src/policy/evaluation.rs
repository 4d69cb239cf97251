//! What goes into a worker, and what comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_core::{ClassId, Observation, Verdict, VerdictSource};

use crate::Assignment;

/// What a policy keeps with an agent: its memory columns, tagged by its revision. Columns that
/// another revision wrote are not handed in, and are overwritten.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Revision that wrote each part: of the health policy and of the cadence policy.
    pub revision: [u64; 2],
    /// At most eight numbers each.
    pub columns: [[f64; 8]; 2],
}

/// How a call ended when it did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It trapped: a panic, an unreachable, too much memory.
    Trap,
    /// It ran longer than allowed.
    Timeout,
    /// It answered with something that is no answer.
    BadAnswer,
    /// Its breaker is open: it was not called.
    BreakerOpen,
    /// The policy time of its batch was used up: it was not called.
    BatchTime,
    /// It answered, and the answer counts; but a quarter of its latest calls were slow, and its
    /// breaker opens.
    Slow,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 6] = [
        Self::Trap,
        Self::Timeout,
        Self::BadAnswer,
        Self::BreakerOpen,
        Self::BatchTime,
        Self::Slow,
    ];

    /// The word of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::BadAnswer => "bad_answer",
            Self::BreakerOpen => "breaker_open",
            Self::BatchTime => "batch_time",
            Self::Slow => "slow",
        }
    }
}

/// One call of a policy, for telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Index of the policy in the set.
    pub policy: u16,
    /// How long it took, where this call was measured: one in sixteen is, and the next ones after
    /// a slow one.
    pub elapsed: Option<Duration>,
    /// How it went wrong, if it did.
    pub fault: Option<Fault>,
}

/// The verdict on one heartbeat and how it came about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// What core decides on.
    pub verdict: Verdict,
    /// Who judged health, and why.
    pub health_source: VerdictSource,
    /// The calls made: health, then cadence. In a batch one call serves many heartbeats and
    /// stands with the first of them.
    pub calls: [Option<Call>; 2],
}

impl Evaluation {
    /// Nothing is judged yet.
    pub(crate) fn pending(seen: &Observation) -> Self {
        let source = VerdictSource::default();
        Self {
            verdict: Verdict { health: seen.health, score: 0.0, interval_ms: 0.0, source },
            health_source: source,
            calls: [None; 2],
        }
    }
}

/// One heartbeat of a batch.
#[derive(Debug)]
pub struct Item<'a> {
    /// Which policies.
    pub assignment: Assignment,
    /// Class of the agent.
    pub class: ClassId,
    /// What they see.
    pub observation: Observation,
    /// Custom metrics of the heartbeat.
    pub custom: &'a BTreeMap<String, f64>,
    /// Memory columns, kept with the agent.
    pub memory: &'a mut Memory,
}
