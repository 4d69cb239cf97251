//! The gateway's answer to a heartbeat.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::enums::{self, CommandKind, Outcome};

/// What an agent shall do until its next heartbeat, and why.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Directive {
    /// The sequence that it answers; the agent echoes it as `directive_seen`.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// What became of the heartbeat: an [`Outcome`].
    #[prost(enumeration = "Outcome", tag = "2")]
    #[serde(with = "enums::outcome")]
    pub outcome: i32,
    /// When to beat next, in milliseconds from the sending of the heartbeat that is answered.
    #[prost(uint64, tag = "3")]
    pub next_interval_ms: u64,
    /// Silence, counted by the gateway, after which the agent is suspect, in milliseconds.
    #[prost(uint64, tag = "4")]
    pub suspect_after_ms: u64,
    /// Silence, counted by the gateway, after which the agent has failed, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub fail_after_ms: u64,
    /// When not to wait for the next heartbeat.
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beat_early: Option<BeatEarly>,
    /// When to repeat an unanswered heartbeat: delays in milliseconds, each counted from the
    /// attempt before it. Empty: do not.
    #[prost(uint64, repeated, tag = "7")]
    pub retry: Vec<u64>,
    /// Why this interval.
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explain>,
    /// What to do; repeated in every directive until acknowledged.
    #[prost(message, repeated, tag = "9")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// Leases that this heartbeat renewed.
    #[prost(message, repeated, tag = "10")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<LeaseGrant>,
    /// Share of its usual new work that the agent should take on, 0 to 1; absent: all of it.
    #[prost(double, optional, tag = "11")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<f64>,
}

/// When an agent shall not wait for the next heartbeat.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct BeatEarly {
    /// Shortest distance between two early heartbeats, in milliseconds.
    #[prost(uint64, tag = "1")]
    pub min_gap_ms: u64,
    /// Delay, drawn from zero to this, that keeps a fleet from beating at once, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub spread_ms: u64,
    /// Any one of these suffices; at most eight.
    #[prost(message, repeated, tag = "3")]
    pub rules: Vec<EarlyRule>,
}

/// One reason to beat early: a metric that crosses a threshold.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct EarlyRule {
    /// Name of the metric, one of [`Metrics`](crate::Metrics) or of its custom ones.
    #[prost(string, tag = "1")]
    pub metric: String,
    /// Beat when it rises above this.
    #[prost(double, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Beat when it falls below this.
    #[prost(double, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// The rule sleeps, once it fired, until the metric has come back past this.
    #[prost(double, tag = "4")]
    pub rearm: f64,
}

/// Why this interval.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Explain {
    /// The policy's reason, for people.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// The guard that had the last word, such as `none`, `cap`, `slew`, `dwell` or `floor`.
    #[prost(string, tag = "2")]
    pub bound: String,
    /// Name of the policy that proposed it.
    #[prost(string, tag = "3")]
    pub policy: String,
    /// Revision of that policy.
    #[prost(string, tag = "4")]
    pub policy_revision: String,
}

/// Something that the agent shall do.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Command {
    /// What the acknowledgement names.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What to do: a [`CommandKind`].
    #[prost(enumeration = "CommandKind", tag = "2")]
    #[serde(with = "enums::command_kind")]
    pub kind: i32,
    /// The word of a `custom` command.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A lease that a heartbeat renewed.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseGrant {
    /// Name of the lease within the tenant.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Fencing token: rises with every grant.
    #[prost(uint64, tag = "2")]
    pub token: u64,
    /// How long it holds from the sending of the heartbeat's first attempt, in milliseconds; the
    /// holder counts [`holder_validity_ms`](crate::lease::holder_validity_ms) of it.
    #[prost(uint64, tag = "3")]
    pub ttl_ms: u64,
}
