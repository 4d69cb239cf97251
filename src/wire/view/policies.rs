//! What operators read of policies and their revisions.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// All policies that are configured or uploaded: `GET /v1/policies`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyPage {
    /// The policies by name.
    pub policies: Vec<PolicyView>,
}

/// One policy: `GET /v1/policies/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyView {
    /// What routes call it.
    pub name: String,
    /// Whether a route of the configuration names it; otherwise it is kept and never called.
    pub routed: bool,
    /// `enforce`: some revision is obeyed. Otherwise what is on trial says: `shadow`, `canary`, or
    /// `none` for nothing.
    pub mode: String,
    /// The revision that is obeyed: its digest, or `configured`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<String>,
    /// What is on trial; absent for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialView>,
    /// The revision that would be gone back to; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What the configuration says first, then uploads, the newest first.
    pub revisions: Vec<RevisionView>,
}

/// A revision on trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialView {
    /// Its digest, or `configured`.
    pub revision: String,
    /// `shadow`: compared and never obeyed. `canary`: obeyed for some agents.
    pub mode: String,
    /// Share of the agents that a canary judges, in percent; absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Labels of the agents that a canary judges; empty for others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What `POST /v1/policies/{name}/mode` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyMode {
    /// `enforce` or `shadow`.
    pub mode: String,
    /// The revision: `configured`, a digest, or six and more of its first digits; absent for what
    /// is on trial, else what is enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// What `POST /v1/policies/{name}/canary` asks for: a percentage, or labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyCanary {
    /// Share of the agents, in percent: 0.01 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Labels that an agent must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The revision, as in [`PolicyMode`]; absent for what is on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One revision of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionView {
    /// SHA-256 of its component, in hexadecimal digits.
    pub digest: String,
    /// The first 12 of them: what directives, explanations and events call it.
    pub revision: String,
    /// Where it came from: `upload`, or what the configuration says.
    pub origin: String,
    /// Size of its component, in bytes.
    pub bytes: u64,
    /// When it was uploaded last, in Unix milliseconds; absent for the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at_unix_ms: Option<u64>,
    /// `enforced`, `canary`, `shadow`; `before` for one that was enforced; `kept` for others.
    pub role: String,
    /// The version that its author gave it; empty while it is not loaded.
    pub version: String,
    /// The questions that it answers; empty while it is not loaded.
    pub answers: Vec<String>,
    /// Whether it is compiled and ready.
    pub loaded: bool,
    /// Whether its breaker is open, so that it is not called.
    pub breaker_open: bool,
    /// Calls since it was loaded, or agents began to depend on it.
    pub calls: u64,
    /// Calls that went wrong, since then.
    pub faults: FaultsView,
    /// How it compares with what is enforced; absent for one that never was in shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowView>,
    /// Why the gateway took it back; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<String>,
}

/// Calls that went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultsView {
    /// They trapped.
    pub trap: u64,
    /// They ran too long.
    pub timeout: u64,
    /// They answered with something that is no answer.
    pub bad_answer: u64,
    /// Times that a quarter of its latest calls were slow.
    pub slow: u64,
}

/// How a revision in shadow compares with what is enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowView {
    /// Heartbeats compared.
    pub compared: u64,
    /// Those of them that it judged otherwise.
    pub health_differs: u64,
    /// Those of them by how its interval compares: `much_shorter` (less than half), `shorter` (by
    /// more than a sixth), `same`, `longer` (by more than a fifth), `much_longer` (more than
    /// twice).
    pub intervals: BTreeMap<String, u64>,
}
