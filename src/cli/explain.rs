//! `pulsegate explain`: why an agent beats at its cadence, in sentences.

use pulsegate_wire::view::{ExplainView, ObservationView};

use super::operator::{Gateway, escape};
use super::{Outcome, block_on, text};

/// Arguments of `pulsegate explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate explain agent-1 --url http://127.0.0.1:8420")]
pub(super) struct Args {
    /// Name of the agent
    agent: String,
    #[command(flatten)]
    gateway: Gateway,
    /// Print JSON: the last observation, each policy's hint, what each guard did, the directive
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    block_on(async {
        let mut gateway = args.gateway.connect()?;
        let path = format!("/v1/agents/{}/explain", escape(&args.agent));
        let explanation: ExplainView = gateway.get_json(&path).await?;
        if args.json {
            text::print_json(&explanation);
        } else {
            text::print(&describe(&explanation));
        }
        Ok(())
    })
}

fn describe(explanation: &ExplainView) -> String {
    let mut lines = explanation.text.clone();
    if let Some(decision) = &explanation.decision {
        lines.push(String::new());
        lines.push("What the policies saw:".to_owned());
        let facts = facts(&decision.observation);
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        lines.extend(facts.iter().map(|(name, value)| format!("  {name:width$}  {value}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The facts of an observation; what the agent did not report is left away.
fn facts(seen: &ObservationView) -> Vec<(&'static str, String)> {
    let late = match seen.lateness_ms {
        late if late < 0 => format!("{} early", text::duration(late.unsigned_abs())),
        late => format!("{} late", text::duration(late.unsigned_abs())),
    };
    let number = |value: Option<f64>| value.map(|value| format!("{value}"));
    let facts = [
        ("status", Some(seen.status.to_string())),
        ("health before", Some(seen.health.to_string())),
        ("signals", Some(seen.signals.join(", "))),
        ("interval in force", Some(text::duration(seen.interval_ms))),
        ("arrival", Some(late)),
        ("missed", Some(seen.missed.to_string())),
        ("queue depth", number(seen.queue_depth)),
        ("queue trend", seen.queue_depth.map(|_| format!("{:+.1} a second", seen.queue_trend))),
        ("active tasks", number(seen.active_tasks)),
        ("processor", seen.cpu_percent.map(|percent| format!("{percent} %"))),
        ("memory", seen.memory_bytes.map(|bytes| format!("{bytes} bytes"))),
        ("errors", Some(format!("{} in the window", seen.errors))),
        ("latency", seen.latency_ms.map(|latency| format!("{latency:.1} ms"))),
        ("progress", seen.progress_age_ms.map(|age| format!("{} ago", text::duration(age)))),
        ("fleet load", Some(format!("{:.1} %", seen.fleet_load * 100.0))),
    ];
    let known = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.collect()
}
