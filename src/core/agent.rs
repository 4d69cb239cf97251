//! Who an agent is, and what the machine takes from one heartbeat.

use core::hash::Hasher;

use pulsegate_wire::{Reason, Status};
use siphasher::sip::SipHasher13;

use crate::ClassId;

/// Index of an agent in one machine; reused after the agent is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Index of a tenant in the gateway's table; 0 is `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u16);

/// Stable keyed hash of agents: partition, jitter and spreads follow from it, so it must be the
/// same after a restart. Its key is kept with the journal.
#[derive(Clone, Copy, Debug)]
pub struct PartitionHasher {
    key: [u64; 2],
}

/// An agent's name with its hash, computed once for each heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentKey<'a> {
    /// Tenant of the credential.
    pub tenant: TenantId,
    /// A checked agent id.
    pub id: &'a str,
    /// Hash of both, by [`PartitionHasher::key`].
    pub hash: u64,
}

impl PartitionHasher {
    /// Number of partitions.
    pub const PARTITIONS: usize = 256;

    /// A hasher of this key.
    #[must_use]
    pub const fn new(key: [u64; 2]) -> Self {
        Self { key }
    }

    /// The key of an agent, with its hash.
    #[must_use]
    pub fn key<'a>(&self, tenant: TenantId, id: &'a str) -> AgentKey<'a> {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(&tenant.0.to_le_bytes());
        hasher.write(id.as_bytes());
        AgentKey { tenant, id, hash: hasher.finish() }
    }
}

impl AgentKey<'_> {
    /// Partition of the agent: its hash mod 256.
    #[must_use]
    pub const fn partition(&self) -> u8 {
        (self.hash % PartitionHasher::PARTITIONS as u64) as u8
    }
}

/// What the machine takes from one validated heartbeat. Numbers that were not reported are
/// `None`; `sequence` and `incarnation` 0 mean "the next" and "the current".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Beat {
    /// Number that the agent raises at each start.
    pub incarnation: u64,
    /// Counter within the incarnation.
    pub sequence: u64,
    /// Why it was sent now.
    pub reason: Reason,
    /// What the agent reports.
    pub status: Status,
    /// Class that it names, found with [`Classes::find`](crate::Classes::find) (`normal` when that
    /// is not known); `None` when it names none: then the class stays.
    pub class: Option<ClassId>,
    /// Number of the newest directive that it received; 0 for none.
    pub directive_seen: u64,
    /// Pieces of work that wait.
    pub queue_depth: Option<u64>,
    /// Pieces of work under way.
    pub active_tasks: Option<u64>,
    /// Processor use of the host, 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Resident memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Errors since the start of this incarnation.
    pub error_count: Option<u64>,
    /// Typical time of one piece of work, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Watermark of its progress.
    pub watermark: Option<u64>,
    /// Time without a higher watermark that counts as a stall, in milliseconds.
    pub stall_after_ms: Option<u64>,
}
