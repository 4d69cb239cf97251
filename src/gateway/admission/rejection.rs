//! A problem document with what belongs into the headers beside it.

use pulsegate_core::Refusal;
use pulsegate_wire::{Code, Problem};

use crate::shard::{Quota, Refused};

/// A request that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// What the client may know.
    pub problem: Box<Problem>,
    /// `Retry-After`, in whole seconds.
    pub retry_after_s: Option<u64>,
    /// The quota that was used up, with its name.
    pub quota: Option<(&'static str, Quota)>,
    /// The body was not read to its end: the connection cannot go on.
    pub close: bool,
}

impl Rejection {
    /// A plain problem.
    #[must_use]
    pub fn of(problem: impl Into<Box<Problem>>) -> Self {
        let problem = problem.into();
        let retry_after_s = problem.retry_after_ms.map(|ms| ms.div_ceil(1_000));
        Self { problem, retry_after_s, quota: None, close: false }
    }

    /// The same, and the connection ends with it.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// Why the shards refused a heartbeat. `quota` is the one of its sender.
    #[must_use]
    pub fn refused(refused: Refused, agent: Quota, unknown: Quota) -> Self {
        match refused {
            Refused::Limited { retry_after_ms, due_ms, unknown: is_unknown } => {
                let (name, quota, detail) = if is_unknown {
                    ("unknown", unknown, "too many unknown agents come from this address")
                } else {
                    ("agent", agent, "the agent beats more often than its quota allows")
                };
                let problem = Problem::new(Code::RateLimited, detail)
                    .with_limit(quota.rate_per_second)
                    .with_retry_after_ms(retry_after_ms);
                let retry_after_s = Some(whole_seconds(retry_after_ms, due_ms));
                Self { retry_after_s, quota: Some((name, quota)), ..Self::of(problem) }
            }
            Refused::Machine(refusal) => Self::of(machine(refusal)),
            Refused::TooEarly => Self::too_early(),
        }
    }

    /// Something that must not be done before the handshake is complete.
    #[must_use]
    pub fn too_early() -> Self {
        let detail = "early data may only renew an agent that beats; repeat it after the handshake";
        Self::of(Problem::new(Code::TooEarly, detail))
    }

    /// What has to be durable cannot be made durable now.
    #[must_use]
    pub fn unavailable() -> Self {
        let detail = "the journal cannot be written now; repeat it";
        let problem = Problem::new(Code::JournalUnavailable, detail);
        Self::of(problem.with_retry_after_ms(UNAVAILABLE_RETRY_MS))
    }

    /// The code of the problem.
    #[must_use]
    pub fn code(&self) -> Code {
        self.problem.code().unwrap_or(Code::Internal)
    }
}

/// Rounds up, unless that would be after the agent is due.
fn whole_seconds(retry_after_ms: u64, due_ms: u64) -> u64 {
    let up = retry_after_ms.div_ceil(1_000);
    if up.saturating_mul(1_000) <= due_ms { up } else { retry_after_ms / 1_000 }
}

fn machine(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::IncarnationStale { known } => Problem {
            field: Some("incarnation".to_owned()),
            ..Problem::new(Code::IncarnationStale, "a newer incarnation of this agent has beaten")
                .with_limit(known as f64)
        },
        Refusal::Stopped => Problem {
            field: Some("incarnation".to_owned()),
            ..Problem::new(Code::AgentStopped, "this incarnation has left; start a newer one")
        },
        Refusal::ReadOnly => *Rejection::unavailable().problem,
        Refusal::Full => Problem::new(Code::Overloaded, "there is no room for another agent")
            .with_retry_after_ms(FULL_RETRY_MS),
    }
}

/// When an agent whose heartbeat could not be made durable shall come again. A slow disk may be
/// done by then; a full one is not, and a fleet must not hammer it. Source: chosen; as long as an
/// answer waits for the disk, twice.
const UNAVAILABLE_RETRY_MS: u64 = 2_000;

/// When an agent that found no room shall ask again: room comes when others are forgotten, and
/// that takes long. Source: chosen.
const FULL_RETRY_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_never_later_than_the_agent_is_due() {
        assert_eq!(whole_seconds(1_200, 30_000), 2);
        assert_eq!(whole_seconds(1_200, 1_500), 1);
        assert_eq!(whole_seconds(200, u64::MAX), 1);
    }
}
