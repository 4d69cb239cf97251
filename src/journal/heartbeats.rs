//! Recorded heartbeats: what policies saw and proposed, so that others can be tried on it.

mod view;

use std::collections::BTreeMap;

use parking_lot::Mutex;

pub use view::{CustomView, HeartbeatView};

/// Most heartbeats that wait for a commit; more are dropped and counted. Source: chosen; three
/// seconds of a full gateway that records all.
const WAITING: usize = 65_536;
/// Agents that [`RecordingMode::Sample`](crate::RecordingMode::Sample) records at most.
/// Source: issue 4; at 30 s and 300 bytes a heartbeat, a thousand agents fill 1 GiB in a day.
const SAMPLED_AGENTS: u64 = 1_000;

/// One heartbeat as it was handled.
#[derive(Clone, PartialEq, prost::Message, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct HeartbeatRecord {
    /// When it was received, in core time.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    /// When, by the wall clock, in Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub wall_ms: u64,
    /// Tenant of the agent.
    #[prost(string, tag = "3")]
    pub tenant: String,
    /// Name of the agent.
    #[prost(string, tag = "4")]
    pub agent_id: String,
    /// Class in force.
    #[prost(string, tag = "5")]
    pub class: String,
    /// Incarnation of the agent.
    #[prost(uint64, tag = "6")]
    pub incarnation: u64,
    /// Sequence of the heartbeat.
    #[prost(uint64, tag = "7")]
    pub sequence: u64,
    /// What the policies saw.
    #[prost(message, optional, tag = "8")]
    pub observed: Option<Observed>,
    /// Custom metrics, by name.
    #[prost(btree_map = "string, double", tag = "9")]
    pub custom: BTreeMap<String, f64>,
    /// Health that was judged: the word of `pulsegate_wire::Health`.
    #[prost(string, tag = "10")]
    pub judged: String,
    /// How good it is, 0 to 100.
    #[prost(double, tag = "11")]
    pub score: f64,
    /// Interval that the policy proposed, in milliseconds: anything at all.
    #[prost(double, tag = "12")]
    pub hint_ms: f64,
    /// Who proposed it: `name@revision`, or `builtin`.
    #[prost(string, tag = "13")]
    pub policy: String,
    /// Its reason.
    #[prost(string, tag = "14")]
    pub reason: String,
    /// Interval that the guard stored, in milliseconds.
    #[prost(uint32, tag = "15")]
    pub stored_ms: u32,
    /// Interval with the fleet floor, in milliseconds.
    #[prost(uint32, tag = "16")]
    pub effective_ms: u32,
    /// Interval that was sent, in milliseconds.
    #[prost(uint32, tag = "17")]
    pub sent_ms: u32,
    /// What held the hint back, as the directive says it; empty when nothing did.
    #[prost(string, tag = "18")]
    pub bound: String,
}

/// The sixteen scalars that a policy sees, in the order and units of
/// [`pulsegate_core::Observation`]; enums and flags are their numbers.
#[derive(Clone, Copy, PartialEq, prost::Message, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "each is described at pulsegate_core::Observation")]
pub struct Observed {
    #[prost(uint64, tag = "1")]
    pub now_ms: u64,
    #[prost(int32, tag = "2")]
    pub status: i32,
    #[prost(int32, tag = "3")]
    pub health: i32,
    #[prost(uint32, tag = "4")]
    pub signals: u32,
    #[prost(uint32, tag = "5")]
    pub interval_ms: u32,
    #[prost(sint64, tag = "6")]
    pub lateness_ms: i64,
    #[prost(uint32, tag = "7")]
    pub missed: u32,
    #[prost(double, tag = "8")]
    pub queue_depth: f64,
    #[prost(double, tag = "9")]
    pub queue_trend: f64,
    #[prost(double, tag = "10")]
    pub active_tasks: f64,
    #[prost(double, tag = "11")]
    pub cpu_percent: f64,
    #[prost(double, tag = "12")]
    pub memory_bytes: f64,
    #[prost(uint32, tag = "13")]
    pub errors: u32,
    #[prost(double, tag = "14")]
    pub latency_ms: f64,
    #[prost(uint64, tag = "15")]
    pub progress_age_ms: u64,
    #[prost(double, tag = "16")]
    pub fleet_load: f64,
}

impl From<&pulsegate_core::Observation> for Observed {
    fn from(seen: &pulsegate_core::Observation) -> Self {
        Self {
            now_ms: seen.now_ms,
            status: seen.status as i32,
            health: seen.health as i32,
            signals: seen.signals.0,
            interval_ms: seen.interval_ms,
            lateness_ms: seen.lateness_ms,
            missed: seen.missed,
            queue_depth: seen.queue_depth,
            queue_trend: seen.queue_trend,
            active_tasks: seen.active_tasks,
            cpu_percent: seen.cpu_percent,
            memory_bytes: seen.memory_bytes,
            errors: seen.errors,
            latency_ms: seen.latency_ms,
            progress_age_ms: seen.progress_age_ms,
            fleet_load: seen.fleet_load,
        }
    }
}

/// Whether the agent with this hash is among those that are sampled in a fleet of `agents`.
///
/// The share is the largest power of two, at most 1, that is not above 1,000 of the fleet. So a
/// growing fleet only drops agents from the sample, and the streams of those that stay are whole.
#[must_use]
pub fn samples(hash: u64, agents: u64) -> bool {
    let halvings = agents.div_ceil(SAMPLED_AGENTS).max(1).next_power_of_two().trailing_zeros();
    hash.leading_zeros() >= halvings
}

/// Heartbeats that wait for a commit.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    records: Mutex<(Vec<HeartbeatRecord>, u64)>,
}

impl Waiting {
    /// Takes it, or counts it as dropped.
    pub(crate) fn push(&self, record: HeartbeatRecord) {
        let (records, dropped) = &mut *self.records.lock();
        if records.len() < WAITING {
            records.push(record);
        } else {
            *dropped += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.lock().0.is_empty()
    }

    /// The oldest of them, at most `limit`.
    pub(crate) fn take(&self, limit: usize) -> Vec<HeartbeatRecord> {
        let records = &mut self.records.lock().0;
        if records.len() <= limit {
            return std::mem::take(records);
        }
        let rest = records.split_off(limit);
        std::mem::replace(records, rest)
    }

    /// How many were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.records.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash as good as any: splitmix64.
    fn mix(seed: u64) -> u64 {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn a_sample_is_at_most_a_thousand_agents_and_not_far_below() {
        for agents in [1, 999, 1_000] {
            assert!((0..agents).all(|agent| samples(mix(agent), agents)), "{agents}");
        }
        for agents in [1_001, 2_000, 2_001, 64_000, 1_000_000] {
            let sampled = (0..agents).filter(|&agent| samples(mix(agent), agents)).count();
            assert!((400..1_100).contains(&sampled), "{sampled} of {agents}");
        }
    }

    #[test]
    fn the_sample_of_a_larger_fleet_lies_within_that_of_a_smaller_one() {
        for agent in 0..10_000 {
            let mut was = true;
            for agents in [1, 1_500, 10_000, 10_001, 500_000, u64::MAX] {
                let is = samples(mix(agent), agents);
                assert!(was || !is, "{agent} came back at {agents}");
                was = is;
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let waiting = Waiting::default();
        (0..WAITING + 3).for_each(|_| waiting.push(HeartbeatRecord::default()));
        assert_eq!(waiting.dropped(), 3);
        assert_eq!(waiting.take(10).len(), 10);
        assert_eq!(waiting.take(usize::MAX).len(), WAITING - 10);
        assert!(waiting.is_empty());
    }
}
