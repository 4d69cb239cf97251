//! The message of an agent: I live.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::enums::{self, AckOutcome, ProbeKind, Reason, Status};

/// One heartbeat, as it crosses the network.
///
/// Only `agent_id` is required. A sender that keeps no count leaves `incarnation` and `sequence`
/// away: the gateway then takes the heartbeat as the next one, without protection against
/// duplicates. The registration fields (`class` to `probe`) are remembered; absent means unchanged.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Version of this schema; 1. Absent or 0 means 1.
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub schema: u32,
    /// Name of the agent within its tenant: see [`AgentId`](crate::AgentId).
    #[prost(string, tag = "2")]
    pub agent_id: String,
    /// A number that the agent raises at each start; recommended: its start time in Unix
    /// milliseconds. 0 means: whichever is current.
    #[prost(uint64, tag = "3")]
    #[serde(skip_serializing_if = "is_zero")]
    pub incarnation: u64,
    /// Counter within one incarnation, from 1. A retry repeats it. 0 means: the next one.
    #[prost(uint64, tag = "4")]
    #[serde(skip_serializing_if = "is_zero")]
    pub sequence: u64,
    /// Why it was sent now: a [`Reason`].
    #[prost(enumeration = "Reason", tag = "5")]
    #[serde(with = "enums::reason")]
    pub reason: i32,
    /// The sender's wall clock in Unix milliseconds; shown as skew, never used.
    #[prost(uint64, tag = "6")]
    #[serde(skip_serializing_if = "is_zero")]
    pub sent_at_ms: u64,
    /// What the agent reports about itself: a [`Status`]; unknown words count as degraded.
    #[prost(enumeration = "Status", tag = "7")]
    #[serde(with = "enums::status")]
    pub status: i32,
    /// Number of the newest directive that the agent received; 0 for none.
    #[prost(uint64, tag = "8")]
    #[serde(skip_serializing_if = "is_zero")]
    pub directive_seen: u64,
    /// What the agent measured about itself.
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// How far its work has come.
    #[prost(message, optional, tag = "10")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What became of the commands received.
    #[prost(message, repeated, tag = "11")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command_acks: Vec<CommandAck>,
    /// Class of the agent, such as `critical`; an unknown one counts as `normal` and is shown.
    #[prost(string, optional, tag = "12")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Labels, such as `region: eu`. A non-empty map replaces the known one.
    #[prost(btree_map = "string, string", tag = "13")]
    #[serde(deserialize_with = "unique_keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where the agent can be reached, as a text for people.
    #[prost(string, optional, tag = "14")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What the agent can do. A non-empty list replaces the known one.
    #[prost(string, repeated, tag = "15")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// How the gateway may ask for a sign of life.
    #[prost(message, optional, tag = "16")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// What an agent measured about itself; each absent when it does not know.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Pieces of work that wait.
    #[prost(uint64, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u64>,
    /// Pieces of work under way.
    #[prost(uint64, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_tasks: Option<u64>,
    /// Processor use of the host, 0 to 100.
    #[prost(double, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Resident memory of the agent, in bytes.
    #[prost(uint64, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Errors since the start of this incarnation.
    #[prost(uint64, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_count: Option<u64>,
    /// Typical time of one piece of work, in milliseconds.
    #[prost(double, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Up to 16 numbers under names of the agent's own, for policies that ask for them.
    #[prost(btree_map = "string, double", tag = "7")]
    #[serde(deserialize_with = "unique_keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, f64>,
}

/// How far the agent's work has come; progress has a clock of its own.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// A number that rises with the work done, and never falls.
    #[prost(uint64, tag = "1")]
    pub watermark: u64,
    /// What it is working on, for people.
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// Share of that task that is done, 0 to 100.
    #[prost(double, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Time without a higher watermark after which the agent counts as stalled, in milliseconds.
    #[prost(uint64, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_after_ms: Option<u64>,
}

/// What became of one command.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandAck {
    /// Id of the command, as it stood in the directive.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What became of it: an [`AckOutcome`].
    #[prost(enumeration = "AckOutcome", tag = "2")]
    #[serde(with = "enums::ack_outcome")]
    pub outcome: i32,
    /// A sentence for people, at most 256 bytes.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How the gateway may ask for a sign of life, only ever at the address it sees the agent at.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What counts as a sign of life: a [`ProbeKind`].
    #[prost(enumeration = "ProbeKind", tag = "1")]
    #[serde(with = "enums::probe_kind")]
    pub kind: i32,
    /// Port, 1 to 65535.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Path of an `http` probe, from `/`.
    #[prost(string, tag = "3")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// What is remembered of an agent beside its beats: the body of `PUT /v1/agents/{id}`, and the
/// registration fields of a heartbeat.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// Class of the agent; an unknown one counts as `normal` and is shown.
    #[prost(string, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Labels, such as `region: eu`.
    #[prost(btree_map = "string, string", tag = "2")]
    #[serde(deserialize_with = "unique_keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where the agent can be reached, as a text for people.
    #[prost(string, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What the agent can do.
    #[prost(string, repeated, tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// How the gateway may ask for a sign of life.
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl Heartbeat {
    /// Takes the registration fields out; `None` when the heartbeat carries none.
    pub fn take_registration(&mut self) -> Option<Registration> {
        let carries = self.class.is_some()
            || !self.labels.is_empty()
            || self.endpoint.is_some()
            || !self.capabilities.is_empty()
            || self.probe.is_some();
        carries.then(|| Registration {
            class: self.class.take(),
            labels: core::mem::take(&mut self.labels),
            endpoint: self.endpoint.take(),
            capabilities: core::mem::take(&mut self.capabilities),
            probe: self.probe.take(),
        })
    }
}

impl Registration {
    /// Folds newer fields in; what `newer` leaves away stays. Says whether anything changed.
    pub fn merge(&mut self, newer: Self) -> bool {
        let before = self.clone();
        self.class = newer.class.or(self.class.take());
        self.endpoint = newer.endpoint.or(self.endpoint.take());
        self.probe = newer.probe.or(self.probe.take());
        if !newer.labels.is_empty() {
            self.labels = newer.labels;
        }
        if !newer.capabilities.is_empty() {
            self.capabilities = newer.capabilities;
        }
        *self != before
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_zero_u32(number: &u32) -> bool {
    *number == 0
}

/// Reads a map and refuses a key that comes twice: which of the two was meant, nobody can say.
fn unique_keys<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Unique<V>(core::marker::PhantomData<V>);
    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;
        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, V>()? {
                if entries.contains_key(&key) {
                    return Err(serde::de::Error::custom(alloc::format!("duplicate key {key:?}")));
                }
                entries.insert(key, value);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Unique(core::marker::PhantomData))
}
