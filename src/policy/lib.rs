//! The Wasm host of policies: loads components, runs them within limits, and falls back to the
//! built-in policy in the same heartbeat when one misbehaves.
//!
//! An [`Engine`] compiles; a [`Revision`] is a component that passed admission; a [`PolicySet`] is
//! an immutable choice of revisions and of the agents that each one judges and paces, shared by
//! all threads and swapped as a whole; a [`Worker`] holds one thread's warm instances. A fault
//! never costs a heartbeat.
//!
//! ```text
//! load:   component → imports → instance → configure → describe → canary → PolicySet
//! beat:   observation → judge → (health into the observation) → suggest → Evaluation
//! fault:  instance dropped → built-in policy answers the same heartbeat → breaker counts
//! ```
//!
//! Policies are pure: same observation, same verdict, on every machine. So NaN and subnormals are
//! cleaned on the way in, NaN is canonical inside, and nothing can be imported but a log.
//!
//! This room may touch `wire` and `core` (observation, verdict) and wasmtime. It knows neither
//! tokio nor the gateway.

mod batch;
mod bindings;
mod breaker;
mod cache;
mod candidate;
mod check;
mod component;
mod describe;
mod engine;
mod error;
mod evaluation;
#[cfg(feature = "fixtures")]
pub mod fixtures;
mod instance;
mod limits;
mod loader;
mod log;
mod measure;
mod question;
pub mod reference;
mod revision;
mod route;
mod rows;
mod set;
mod shadow;
mod share;
mod tally;
mod warm;
mod worker;

#[cfg(test)]
mod tests;

pub use cache::{Cache, CacheError};
pub use candidate::{Candidate, Description, Hint, Judgement, Trial};
pub use check::{Report, Slowest, check};
pub use component::component;
pub use engine::Engine;
pub use error::Error;
pub use evaluation::{Call, Evaluation, Fault, Item, Memory};
pub use limits::{Limits, Pool, PoolLimits, ROWS_PER_CALL};
pub use log::{LogLevel, LogLine};
pub use measure::{Figure, Measured, measure};
pub use revision::{Digest, NoDigest, Revision};
pub use route::{Match, Route};
pub use set::{Agent, Assignment, PolicySet, Role, SourceText};
pub use shadow::{Difference, Watched, Watching};
pub use share::{Named, Share, WHOLE};
pub use tally::Counts;
pub use worker::Worker;

/// A policy to load.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name in configuration, explanations and metrics.
    pub name: String,
    /// The component.
    pub bytes: Vec<u8>,
    /// Settings, handed to `configure` as JSON; null is an empty object.
    pub settings: serde_json::Value,
    /// Which limits it runs under.
    pub pool: Pool,
}
