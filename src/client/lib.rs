//! The library that an agent links: one line to beat, five to be understood.
//!
//! ```no_run
//! # fn main() -> Result<(), pulsegate_client::Error> {
//! let agent = pulsegate_client::Agent::builder("http://127.0.0.1:8420", "agent-1").start()?;
//! # drop(agent); Ok(()) }
//! ```
//!
//! That is all that an agent needs: it beats from now on, at the cadence that the gateway directs,
//! repeats what was lost, and comes back by itself when the gateway does. What makes a policy's
//! judgement better is said as it changes:
//!
//! ```no_run
//! # async fn example() -> Result<(), pulsegate_client::Error> {
//! use pulsegate_client::{AckOutcome, Agent, Status};
//!
//! let agent = Agent::builder("http://127.0.0.1:8420", "agent-1").class("critical").start()?;
//! agent.metrics(|metrics| metrics.queue_depth = Some(3));
//! agent.progress(|progress| progress.watermark += 1);
//! agent.status(Status::Busy);
//! while let Some(command) = agent.next_command().await {
//!     agent.ack(&command, AckOutcome::Done, "drained");
//! }
//! agent.stop().await;
//! # Ok(()) }
//! ```
//!
//! Inside, `engine` is the protocol as a state machine on time that it is handed; `drive` is the
//! shell that has the clock, and `link` the one connection. Nothing here panics, blocks the agent,
//! or holds more than a bounded number of anything.
//!
//! This room may touch `wire`, tokio and hyper; never `core` or `gateway`.

mod agent;
mod answer;
mod builder;
mod drive;
mod engine;
mod error;
mod link;
mod random;
mod target;

pub use agent::Agent;
pub use builder::Builder;
pub use engine::{Counts, Ended};
pub use error::Error;
pub use link::{Connection, LinkError};
pub use pulsegate_wire::{
    AckOutcome, Command, CommandKind, Directive, LeaseGrant, Metrics, Progress, Status,
};
