//! Pulsegate: a heartbeat gateway whose WebAssembly policies pace every agent of a fleet.
//!
//! This package is the command, [`cli`]; everything else stands in crates of its own:
//! `pulsegate_wire` (what crosses the network), `pulsegate_core` (the state machine),
//! `pulsegate_policy` (the WebAssembly host), `pulsegate_gateway` (the shell) and
//! `pulsegate_client` (what an agent links). How to work with all of it is told in the [`manual`].

pub mod cli;
pub mod manual;
