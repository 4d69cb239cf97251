//! Names of simulated agents and leases, and their hashes, made once.

use pulsegate_core::lease::Key;
use pulsegate_core::{AgentKey, PartitionHasher, TenantId};

use crate::server::AgentIndex;

/// Tenant of everybody.
pub(super) const TENANT: TenantId = TenantId(0);
/// Its name.
pub(super) const TENANT_NAME: &str = "default";

const WIDTH: usize = 8;

/// Names of all agents.
#[derive(Debug)]
pub(super) struct Names {
    /// All names, one after another.
    text: String,
    hashes: Vec<u64>,
    leases: Vec<String>,
}

impl Names {
    pub(super) fn new(agents: u32, leases: u32, seed: u64) -> Self {
        let hasher = PartitionHasher::new([seed, 0]);
        let text: String = (0..agents).map(|agent| format!("a{agent:07}")).collect();
        let name = |agent: u32| &text[agent as usize * WIDTH..][..WIDTH];
        let hashes = (0..agents).map(|agent| hasher.key(TENANT, name(agent)).hash).collect();
        let leases = (0..leases).map(|lease| format!("lease-{lease}")).collect();
        Self { text, hashes, leases }
    }

    #[inline]
    pub(super) fn key(&self, agent: AgentIndex) -> AgentKey<'_> {
        let index = agent as usize;
        let id = &self.text[index * WIDTH..][..WIDTH];
        AgentKey { tenant: TENANT, id, hash: self.hashes[index] }
    }

    /// The agent of a name.
    pub(super) fn agent(&self, id: &str) -> AgentIndex {
        id.strip_prefix('a').and_then(|digits| digits.parse().ok()).unwrap_or(AgentIndex::MAX)
    }

    /// The key of an agent by its name.
    pub(super) fn key_of(&self, id: &str) -> AgentKey<'_> {
        self.key(self.agent(id))
    }

    pub(super) fn lease(&self, lease: u32) -> Key<'_> {
        Key { tenant: TENANT, name: &self.leases[lease as usize] }
    }

    /// The number of a lease.
    pub(super) fn lease_of(&self, name: &str) -> u32 {
        name.strip_prefix("lease-").and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX)
    }
}
