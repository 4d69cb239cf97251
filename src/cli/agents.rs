//! `pulsegate agents`: the fleet as a table.

use pulsegate_wire::view::{AgentPage, AgentView};
use pulsegate_wire::{Health, State};

use super::operator::{Gateway, escape};
use super::{Outcome, block_on, text};

/// Arguments of `pulsegate agents`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate agents --state failed --json")]
pub(super) struct Args {
    #[command(flatten)]
    gateway: Gateway,
    /// Only agents in this state: new, alive, suspect, failed or stopped; default: all
    #[arg(long, value_parser = word(State::WORDS))]
    state: Option<String>,
    /// Only agents of this health: healthy, degraded, unhealthy or stalled; default: all
    #[arg(long, value_parser = word(Health::WORDS))]
    health: Option<String>,
    /// Only agents of this class, such as critical; default: all
    #[arg(long)]
    class: Option<String>,
    /// Only agents with this label, such as region=eu; default: all
    #[arg(long, value_name = "NAME=VALUE")]
    label: Option<String>,
    /// Only agents with this capability; default: all
    #[arg(long)]
    capability: Option<String>,
    /// Most agents to list
    #[arg(long, default_value_t = 1_000, value_name = "AGENTS")]
    limit: usize,
    /// Print JSON: {"agents": […]}
    #[arg(long)]
    json: bool,
}

fn word(words: &'static [&'static str]) -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(words)
}

pub(super) fn run(args: &Args) -> Outcome {
    block_on(async {
        let mut gateway = args.gateway.connect()?;
        let mut agents: Vec<AgentView> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut watch = None;
        while agents.len() < args.limit {
            let page: AgentPage =
                gateway.get_json(&args.path(args.limit - agents.len(), cursor.as_deref())).await?;
            agents.extend(page.agents);
            watch.get_or_insert(page.watch);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        agents.truncate(args.limit);
        if args.json {
            let watch = watch.unwrap_or_default();
            text::print_json(&AgentPage { agents, next: cursor, watch });
        } else {
            text::print(&listing(&agents, cursor.is_some()));
        }
        Ok(())
    })
}

impl Args {
    fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let mut path = format!("/v1/agents?limit={}", limit.min(1_000));
        let filters = [
            ("state", &self.state),
            ("health", &self.health),
            ("class", &self.class),
            ("label", &self.label),
            ("capability", &self.capability),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", escape(cursor)));
        }
        path
    }
}

fn listing(agents: &[AgentView], more: bool) -> String {
    if agents.is_empty() {
        return "no agents\n".to_owned();
    }
    let head =
        ["AGENT", "CLASS", "STATE", "HEALTH", "STATUS", "INTERVAL", "SILENT", "MISSED", "NOTES"];
    let rows: Vec<Vec<String>> = agents.iter().map(row).collect();
    let mut listing = text::table(&head, &rows, &[5, 6, 7]);
    if more {
        listing.push_str("more follow: raise --limit\n");
    }
    listing
}

fn row(agent: &AgentView) -> Vec<String> {
    let mut notes = agent.flags.clone();
    notes.extend(agent.class_unknown.iter().map(|class| format!("asked for class {class}")));
    notes.extend(agent.recovery.iter().cloned());
    vec![
        agent.agent_id.clone(),
        agent.class.clone(),
        agent.state.to_string(),
        agent.health.to_string(),
        agent.status.to_string(),
        text::duration(agent.interval_ms),
        agent.silent_ms.map(text::duration).unwrap_or_else(|| "never heard".to_owned()),
        agent.missed.to_string(),
        notes.join(", "),
    ]
}
