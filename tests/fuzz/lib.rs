//! Fuzz targets: one for every parser of bytes that come from outside.
//!
//! A target takes any bytes at all. It must not panic, and it says more than that: what is taken
//! means the same in every form, what is refused says why in bounded words, and what was damaged
//! is noticed. Two things run the same targets:
//!
//! - `cargo test`, which is part of `cargo xtask ci`: every file of `corpus/`, and a fixed number
//!   of mutations of them, the same in every run (`smoke.rs`);
//! - `cargo xtask fuzz [TARGET] [--seconds N]`: libFuzzer, which searches on from there.
//!
//! An input that made a target fail stays in its corpus.

mod compact;
mod config;
mod cursors;
mod heartbeats;
mod http3;
mod journal_events;
mod journal_file;
mod journal_row;
mod policy;
mod problem;
mod registration;
mod registry;
#[cfg(test)]
mod smoke;

pub use compact::compact_frames;
pub use config::config;
pub use cursors::cursors;
pub use heartbeats::{batch_json, batch_protobuf, heartbeat_json, heartbeat_protobuf};
pub use http3::http3_frames;
pub use journal_events::journal_events;
pub use journal_file::journal_file;
pub use journal_row::journal_row;
pub use policy::{policy_answers, policy_component};
pub use registration::registration_json;
pub use registry::registry;

/// A target, with the effort that a run of the tests spends on it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the function, of its program and of its corpus.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&[u8]),
    /// Mutations in one run of the tests. Source: chosen, so that a debug build spends about a
    /// second on each target.
    pub mutations: u32,
}

macro_rules! targets {
    ($($name:ident: $mutations:literal,)+) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            run: $name,
            mutations: $mutations,
        },)+];
    };
}

targets! {
    heartbeat_json: 15_000,
    heartbeat_protobuf: 15_000,
    batch_json: 4_000,
    batch_protobuf: 1_500,
    registration_json: 15_000,
    compact_frames: 10_000,
    http3_frames: 50_000,
    journal_row: 15_000,
    journal_events: 800,
    journal_file: 300,
    config: 4_000,
    policy_component: 60,
    policy_answers: 150,
    cursors: 8_000,
    registry: 15_000,
}
