//! What is kept of each agent, and nothing that grows with its heartbeats.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pulsegate_core::{ClassId, Observation};
use pulsegate_policy::Memory;
use pulsegate_wire::Health;

use crate::{estimate, exact};

/// Most agents whose heartbeats are replayed; those of others are counted and left out.
/// Source: chosen; as many as a gateway is built for.
pub const AGENTS_MAX: usize = 1 << 20;
/// Most bytes that are kept of one agent, its name counted with 128 bytes. Source: the assertion
/// below it.
pub const AGENT_BYTES: usize = 1_024;

/// Name (twice counted, with the table that finds it), state of both parts, memory columns of both.
const KEPT_BYTES: usize = 128 + 64 + size_of::<Agent>() + 2 * size_of::<Memory>();
const _: () = assert!(KEPT_BYTES <= AGENT_BYTES, "a million agents are kept");

/// Custom metrics that the candidate wants; `None` where a heartbeat has none of them.
pub(crate) type Custom = Option<Arc<BTreeMap<String, f64>>>;

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Tenant and name, with a zero byte between them.
    pub(crate) key: Arc<str>,
    pub(crate) exact: exact::Agent,
    pub(crate) run: estimate::Agent,
    /// First and last thing of it in the present window.
    pub(crate) things: Option<(u32, u32)>,
}

/// Every agent that was met.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    index: HashMap<Arc<str>, u32>,
    pub(crate) list: Vec<Agent>,
    /// Memory columns by agent, of the exact part and of the estimate; empty where the candidate
    /// keeps none.
    pub(crate) memories: [Vec<Memory>; 2],
    key: String,
}

impl Agents {
    /// The agent of this name, if it was met.
    pub(crate) fn find(&mut self, tenant: &str, id: &str) -> Option<u32> {
        self.key.clear();
        self.key.push_str(tenant);
        self.key.push('\0');
        self.key.push_str(id);
        self.index.get(self.key.as_str()).copied()
    }

    /// The agent of this name, met now if it was not before; `None` where there is no room.
    pub(crate) fn meet(
        &mut self,
        (tenant, id): (&str, &str),
        keeps_memory: bool,
        hash: impl FnOnce() -> u64,
    ) -> Option<u32> {
        if let Some(known) = self.find(tenant, id) {
            return Some(known);
        }
        if self.list.len() >= AGENTS_MAX {
            return None;
        }
        let place = self.list.len() as u32;
        let key: Arc<str> = Arc::from(self.key.as_str());
        self.index.insert(key.clone(), place);
        let (exact, run) = (exact::Agent::default(), estimate::Agent::new(hash()));
        self.list.push(Agent { key, exact, run, things: None });
        if keeps_memory {
            self.memories.iter_mut().for_each(|kept| kept.push(Memory::default()));
        }
        Some(place)
    }
}

impl Agent {
    pub(crate) fn tenant(&self) -> &str {
        self.key.split_once('\0').map_or("", |(tenant, _)| tenant)
    }

    pub(crate) fn id(&self) -> &str {
        self.key.split_once('\0').map_or("", |(_, id)| id)
    }
}

/// A recorded heartbeat in the window.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) agent: u32,
    pub(crate) class: ClassId,
    pub(crate) wall_ms: u64,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) seen: Observation,
    pub(crate) custom: Custom,
    /// What was enforced.
    pub(crate) judged: Health,
    pub(crate) hint_ms: f64,
    pub(crate) stored_ms: u32,
    pub(crate) effective_ms: u32,
    pub(crate) sent_ms: u32,
    /// What held for it: the longest interval, and the fleet's floor.
    pub(crate) cap_ms: u32,
    pub(crate) floor_ms: u32,
    /// Where its policy and reason stand in the texts of the window.
    pub(crate) texts: [(u32, u32); 2],
}
