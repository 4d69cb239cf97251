//! Memory of an agent in the gateway's own shards, at 1,000,000 agents.
//!
//! `cargo xtask bench memory` measures; `cargo test --benches` does the same with 1,000 agents.
//! *Hot* is what every heartbeat touches (record, id, map, wheel); *cold* is all else (labels,
//! last observation, what policies remember). Both are as the gateway computes them for its own
//! metric; beside them stands what the process really grew by, as Linux tells it.
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(missing_docs, reason = "a program, not a library")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use pulsegate_core::TenantId;
use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_gateway::server::Gateway;
use pulsegate_gateway::shard::{Origin, Shards};
use pulsegate_wire::{Heartbeat, Metrics};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONFIG: &str = "listen = \"127.0.0.1:0\"\n[log]\nlevel = \"error\"\n";

/// What an agent says at one stage, beside its name and sequence.
type Stage = (&'static str, fn(&mut Heartbeat));

/// Each stage adds what the one before did not have.
const STAGES: [Stage; 3] = [
    ("a heartbeat with nothing but its name", |_| {}),
    ("and metrics", |heartbeat| {
        heartbeat.metrics = Some(Metrics {
            queue_depth: Some(12),
            active_tasks: Some(3),
            cpu_percent: Some(41.5),
            memory_bytes: Some(1 << 28),
            error_count: Some(2),
            latency_ms: Some(12.5),
            ..Metrics::default()
        });
    }),
    ("and class, three labels, an endpoint", |heartbeat| {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        heartbeat.class = Some("background".to_owned());
        heartbeat.labels = BTreeMap::from([
            label("region", "eu-central"),
            label("tier", "batch"),
            label("version", "1.4.2"),
        ]);
        heartbeat.endpoint = Some("10.0.0.1:9000".to_owned());
    }),
];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let agents: u64 = if has("--bench") && !has("--test") { 1_000_000 } else { 1_000 };
    let config = Config::parse(
        "bench",
        CONFIG,
        Path::new("/"),
        &Overrides::default().flag("--ephemeral", "journal.ephemeral", "true"),
    )?;
    let gateway = Gateway::start(Arc::new(config))?;
    let empty = resident_bytes()?;
    println!("{agents} agents with ids of 24 bytes: bytes an agent");
    println!("{:<40} {:>8} {:>8} {:>14}", "each agent has sent", "hot", "cold", "process grew");
    for (index, (name, tell)) in STAGES.iter().enumerate() {
        for agent in 0..agents {
            beat(gateway.shards(), agent, index as u64 + 1, tell)?;
        }
        let (hot, cold) = gateway.shards().memory();
        let grown = resident_bytes()?.saturating_sub(empty);
        let each = |bytes: usize| bytes as f64 / agents as f64;
        println!("{name:<40} {:>8.0} {:>8.0} {:>14.0}", each(hot), each(cold), each(grown));
    }
    let known: u32 = gateway.shards().census().counts.iter().flatten().flatten().sum();
    assert_eq!(u64::from(known), agents, "every agent is known");
    Ok(())
}

fn beat(
    shards: &Shards,
    agent: u64,
    sequence: u64,
    tell: &fn(&mut Heartbeat),
) -> Result<(), Box<dyn Error>> {
    let mut heartbeat = Heartbeat {
        agent_id: format!("fleet-a:worker-{agent:09}"),
        incarnation: 1,
        sequence,
        directive_seen: sequence - 1,
        ..Heartbeat::default()
    };
    tell(&mut heartbeat);
    let peer = Ipv4Addr::LOCALHOST.into();
    let origin = Origin { tenant: TenantId(0), peer, gate: &|| Ok(()), early: false };
    let handled = shards.handle_heartbeat(origin, heartbeat, |_| ());
    handled.map_err(|refused| format!("{refused:?}").into())
}

/// Resident memory of this process; 0 where the system does not tell it in Linux's way.
fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(0) };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    Ok(1_024 * line.trim().trim_end_matches(" kB").parse::<usize>()?)
}
