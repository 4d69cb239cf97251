//! What is shown of an agent.

use pulsegate_core::AgentInfo;
use pulsegate_wire::view::{AgentGlance, AgentView};

use crate::config::Config;
use crate::shard::Found;

/// Flag of an agent whose silence a second witness has confirmed.
pub(super) const WITNESSED: &str = "witnessed";

/// An agent as listings show it; runs under the shard's lock.
pub(super) fn agent(config: &Config, found: &Found<'_>) -> AgentView {
    let info = &found.info;
    let registration = info.registration;
    let asked = registration.and_then(|registration| registration.class.as_deref());
    AgentView {
        agent_id: info.id.to_owned(),
        tenant: config.tenants.name(info.tenant).to_owned(),
        state: info.state,
        health: info.health,
        status: info.status,
        class: class(config, info.class),
        class_unknown: asked.filter(|name| config.classes.find(name).is_none()).map(str::to_owned),
        labels: registration.map(|registration| registration.labels.clone()).unwrap_or_default(),
        capabilities: registration.map(|known| known.capabilities.clone()).unwrap_or_default(),
        endpoint: registration.and_then(|registration| registration.endpoint.clone()),
        incarnation: info.incarnation,
        sequence: info.sequence,
        interval_ms: info.interval_ms.into(),
        in_force_ms: info.in_force_ms.into(),
        silent_ms: info.last_receipt.map(|receipt| found.now.since(receipt)),
        missed: info.missed.into(),
        flags: flags(info),
        peer: found.explained.map(|explained| explained.peer),
        clock_skew_ms: found.explained.and_then(|explained| explained.clock_skew_ms()),
        recovery: info.recovery.map(|(executor, open)| {
            if open { format!("{executor} is running") } else { format!("{executor} was tried") }
        }),
    }
}

/// The flags that are set, in words.
fn flags(info: &AgentInfo<'_>) -> Vec<String> {
    let all = [(info.paused, "paused"), (info.witnessed, WITNESSED), (info.undurable, "undurable")];
    all.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| (*word).to_owned()).collect()
}

/// An agent at a glance.
pub(super) fn glance(found: &Found<'_>) -> AgentGlance {
    let info = &found.info;
    AgentGlance { agent_id: info.id.to_owned(), state: info.state, health: info.health }
}

/// Name of a class.
pub(super) fn class(config: &Config, id: pulsegate_core::ClassId) -> String {
    let class = config.classes.iter().find(|(known, _)| *known == id);
    class.map(|(_, class)| class.name.clone()).unwrap_or_default()
}
