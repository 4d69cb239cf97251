//! The estimate: the closed loop, on recorded streams.
//!
//! Each agent beats when the candidate's own directives say. What it would have told is taken from
//! what it did tell: each recorded observation stands for the time around it, half of the way to
//! its neighbours. So recorded heartbeats are left out where the candidate is slower (thinning),
//! and stand for several where it is faster (holding).
//!
//! What nobody recorded is when a silence began: at some moment after the last heartbeat, and
//! before the next one was due. The candidate's last heartbeat lies anywhere between. So there is a
//! lower and an upper bound, and the middle is what follows when each moment is equally likely.
//!
//! | recorded | understood as |
//! |---|---|
//! | the next heartbeat within [`FORGIVEN_MS`] of its due time | the agent lived in between |
//! | later, same incarnation | a silence of an agent that lived: who suspects it is mistaken |
//! | suspected, and then a new incarnation or none at all | a real silence |
//! | later than any deadline, and not suspected | records are missing: time that is left out |

mod agent;
mod tally;

pub(crate) use agent::{Agent, Seen, Thing};
pub(crate) use tally::{Mistakes, Tally};

use pulsegate_core::Config;

/// A heartbeat that is late by less is not taken for a silence, in milliseconds: the agent was
/// there, and its first attempt was lost. Source: the protocol's first two retries, 1 s and 2 s,
/// each up to a fifth later.
pub const FORGIVEN_MS: u64 = 3_600;

/// What holds for all agents.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) core: Config,
    /// Shortest distance of two early heartbeats, in milliseconds.
    pub(crate) early_gap_ms: u64,
    /// The candidate judges; otherwise what was judged stands.
    pub(crate) judges: bool,
}
