//! What the author of a policy links: plain functions in, a component out.
//!
//! A policy says how well an agent is (`health`), when it shall beat next (`cadence`) and what to
//! do when it is in trouble (`recovery`): any of the three. Whatever it proposes, the gateway
//! makes it fit, so a policy may be as simple as this:
//!
//! ```
//! use pulsegate_sdk::{Config, Hint, NoSettings, Observation, policy};
//!
//! fn suggest(config: &Config<NoSettings>, seen: &Observation) -> Hint {
//!     let usual = f64::from(config.class.interval_ms);
//!     if seen.queue_depth > 1_000.0 { Hint::new(usual / 3.0, 1) } else { Hint::new(usual, 0) }
//! }
//!
//! policy! {
//!     name: "busy-bees",
//!     reasons: ["as usual", "the queue is long"],
//!     cadence: suggest,
//! }
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`: the gateway takes the module as it is, and
//! `pulsegate policy component` makes a component of it for other tools. `pulsegate policy new`
//! makes a project that does so. The functions are plain: test them with plain `cargo test`. With
//! the feature `testing`, `cargo test` also runs the cases that `pulsegate policy test` puts to the
//! component: see the module `testing`.
//!
//! # What a function may look like
//!
//! Functions for `health` return a [`Judgement`], those for `cadence` a [`Hint`]; both take any
//! of four forms, and need not say which:
//!
//! ```text
//! fn(&Observation) -> Answer
//! fn(&Observation, &mut Context) -> Answer
//! fn(&Config<Settings>, &Observation) -> Answer
//! fn(&Config<Settings>, &Observation, &mut Context) -> Answer
//! ```
//!
//! A [`Config`] holds the class that is served, the executors and the operator's settings. A
//! [`Context`] holds custom metrics and the memory that the policy keeps with each agent; name
//! both in [`policy!`]. Functions for `recovery` take an [`Incident`], with a configuration
//! before it or without, and return a [`Plan`].
//!
//! Policies must be pure: the gateway drops and makes instances at will, so whatever is kept in a
//! static is lost. Keep it in the memory columns.
#![no_std]

extern crate alloc;
extern crate self as pulsegate_sdk;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
extern crate std;

mod answers;
#[doc(hidden)]
pub mod bindings;
mod config;
mod context;
mod macros;
mod rule;
mod state;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
pub mod testing;

pub use bindings::cadence_part::exports::pulsegate::policy::cadence::Hint;
pub use bindings::health_part::exports::pulsegate::policy::health::Judgement;
pub use bindings::manifest_part::exports::pulsegate::policy::manifest::EarlyRule;
pub use bindings::recovery_part::exports::pulsegate::policy::recovery::{
    Incident, IncidentKind, Plan, Rung,
};
pub use bindings::types_part::pulsegate::policy::types::{Health, Observation, Signals, Status};
pub use config::{Class, Config, Executor, NoSettings};
pub use context::Context;
pub use rule::{Answer, Plain, RecoveryRule, Rule, WithBoth, WithConfig, WithContext};

/// Writing lines to the gateway's log. On any other target than Wasm nothing is written.
pub mod log {
    pub use crate::bindings::manifest_part::pulsegate::policy::log::Level;

    /// Writes one line. The gateway keeps 8 lines of 512 bytes a call.
    pub fn write(level: Level, message: &str) {
        #[cfg(target_arch = "wasm32")]
        crate::bindings::manifest_part::pulsegate::policy::log::write(level, message);
        #[cfg(not(target_arch = "wasm32"))]
        let _ = (level, message);
    }
}

#[doc(hidden)]
pub mod rt {
    //! What the macro's code calls.
    pub use crate::bindings;
    pub use crate::rule::{answer_flat, answer_rows};
    pub use crate::state::State;
    pub use alloc::string::{String, ToString};
    pub use alloc::vec::Vec;

    /// Owned copies of texts.
    pub fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }
}

#[doc(hidden)]
pub use wit_bindgen;
