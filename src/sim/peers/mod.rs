//! What others do: detectors of the field by their published rules, to be compared with.
//!
//! Facts and constants of the sources that each file names, no code of theirs. Where a rule leaves
//! room, the file says what was assumed; the assumption is then to the peer's favour. Common to
//! all:
//!
//! - A detector of one level makes an agent suspect and failed at one instant, in this order.
//! - Heartbeats of a run older than the newest are refused, and so are those of a run that has
//!   left: each system has such a rule of its own, none of which matters here.
//! - An agent that says it is stopping is `stopped` and not watched, also where the original would
//!   let it expire.
//! - Standing survives a restart; how deadlines begin again is each file's own.
//! - Nothing is restarted: none of these rules is a rule of recovery.

pub mod eureka;
pub mod fixed;
pub mod nfd;
pub mod nomad;
pub mod phi;
mod roster;

#[cfg(test)]
mod driver;
