//! What a policy would have done to recorded heartbeats: `pulsegate policy replay`.
//!
//! A candidate is run over what the journal recorded, beside what was enforced. Two parts, which
//! are never mixed:
//!
//! - [`exact`](Report::exact): what the candidate answers to each recorded observation, and what
//!   the real [`Guard`](pulsegate_core::cadence::Guard) makes of it. The candidate sees what the
//!   enforced policy saw; nothing is guessed.
//! - [`estimate`](Report::estimate): what would have come of it. Another cadence would have made
//!   other heartbeats, which nobody recorded; so recorded ones are left out where the candidate
//!   beats less often, and stand for their neighbourhood in time where it beats more often. What
//!   this cannot know has a lower and an upper bound.
//!
//! ```text
//! journal → heartbeats, events, in the order of core time → window of 1,024
//!   exact:    observation → candidate → guard ─┐
//!                recorded hint  →  guard ──────┴→ compared
//!   estimate: each agent's own due times → observation nearby → candidate → guard → next due time
//! ```
//!
//! Invariants: the same journal, component and options give the same report, but for the times
//! measured (and for calls that run into the time limit); memory is bounded by [`AGENTS_MAX`]
//! agents of at most [`AGENT_BYTES`] each, and does not depend on the length of the journal.
//!
//! This room may touch `wire`, `core`, `policy` and `journal`. It reads no clock but to measure
//! policies, and prints nothing.

mod agents;
mod answers;
mod candidate;
mod estimate;
mod exact;
mod leases;
mod page;
mod plot;
mod reader;
mod replay;
mod report;
mod spread;
#[cfg(test)]
mod tests;

pub use agents::{AGENT_BYTES, AGENTS_MAX};
pub use answers::FAULTS_MAX;
pub use candidate::{Candidate, Paced};
pub use estimate::FORGIVEN_MS;
pub use page::page;
pub use reader::{Progress, read};
pub use replay::{Filter, Options, Replay};
pub use report::{
    Against, Bounds, Detection, Difference, Estimated, Exact, Example, Faults, Mistakes, Opinion,
    Report, Scope, Side, Timeline, TopAgent,
};
pub use spread::{Bin, Quantiles};

/// Why nothing can be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The candidate cannot be loaded.
    #[error("the policy cannot be replayed: {0}")]
    Policy(#[from] pulsegate_policy::Error),
    /// It answers neither of the two questions that a heartbeat asks.
    #[error("the policy {name} neither judges health nor paces: there is nothing to replay")]
    NoQuestion {
        /// Name of the policy.
        name: String,
    },
}
