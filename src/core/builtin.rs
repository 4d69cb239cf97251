//! The policy that is always there: what a heartbeat is judged by when no other policy is
//! configured, or when that one failed.
//!
//! Healthy agents keep the default interval of their class; idle ones beat half as often;
//! degraded and recovering ones three times as often; unhealthy and stalled ones every 5 s.

use crate::{Class, Incident, Observation, Plan, Verdict};

/// Name of the built-in policy in explanations and metrics.
pub const NAME: &str = "builtin";

/// Texts of the reasons that [`decide`] gives, by index.
pub const REASONS: &[&str] = &["default interval of the class"];

/// Judges health and proposes an interval.
#[must_use]
pub fn decide(_observation: &Observation, _class: &Class) -> Verdict {
    unimplemented!()
}

/// Proposes every configured executor in the order of the configuration.
#[must_use]
pub fn propose(_incident: &Incident, _executors: &[(alloc::string::String, u32)]) -> Plan {
    unimplemented!()
}
