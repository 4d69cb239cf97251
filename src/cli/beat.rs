//! `pulsegate beat`: one heartbeat from a shell or a timer.

use std::collections::BTreeMap;

use pulsegate_wire::{Directive, Heartbeat, Metrics, Outcome as Handled, Progress, Status};

use super::operator::Gateway;
use super::{Exit, Failure, Outcome, block_on, text};

/// Arguments of `pulsegate beat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, once a minute from cron: pulsegate beat backup --status busy \
                        --queue-depth 12 --quiet || logger 'no heartbeat'")]
pub(super) struct Args {
    /// Name of the agent: 1 to 128 of A-Z a-z 0-9 . _ : @ -
    agent: String,
    #[command(flatten)]
    gateway: Gateway,
    /// How it fares: healthy, degraded, busy, recovering or stopping (leaves gracefully)
    #[arg(long, default_value = "healthy",
          value_parser = clap::builder::PossibleValuesParser::new(Status::WORDS))]
    status: String,
    /// Class of the agent, such as critical; default: unchanged, at first normal
    #[arg(long)]
    class: Option<String>,
    /// Label of the agent, such as region=eu; may be repeated; default: unchanged
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Pieces of work that wait, such as 12; default: not reported
    #[arg(long, value_name = "PIECES")]
    queue_depth: Option<u64>,
    /// Pieces of work under way, such as 2; default: not reported
    #[arg(long, value_name = "PIECES")]
    active_tasks: Option<u64>,
    /// Processor use of the host, 0 to 100 %; default: not reported
    #[arg(long, value_name = "PERCENT")]
    cpu_percent: Option<f64>,
    /// Memory in use, in bytes, such as 1048576; default: not reported
    #[arg(long, value_name = "BYTES")]
    memory_bytes: Option<u64>,
    /// Errors since the agent started, such as 3; default: not reported
    #[arg(long, value_name = "ERRORS")]
    error_count: Option<u64>,
    /// Typical time of one piece of work, in milliseconds, such as 12.5; default: not reported
    #[arg(long, value_name = "MS")]
    latency_ms: Option<f64>,
    /// A number of the agent's own, such as backlog_gb=1.5; may be repeated
    #[arg(long, value_name = "NAME=NUMBER", value_parser = number)]
    metric: Vec<(String, f64)>,
    /// A number that rises with the work done, such as rows copied; default: not reported
    #[arg(long, value_name = "NUMBER")]
    watermark: Option<u64>,
    /// Number that rises at each start of the agent; default: whichever is current
    #[arg(long, value_name = "NUMBER")]
    incarnation: Option<u64>,
    /// Print the directive as JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print nothing; the exit code tells
    #[arg(long)]
    quiet: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn number(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    let value = value.parse().map_err(|_| "must be NAME=NUMBER".to_owned())?;
    Ok((name, value))
}

pub(super) fn run(args: &Args) -> Outcome {
    let heartbeat = args.heartbeat()?;
    let body = serde_json::to_vec(&heartbeat).map_err(|e| Failure::new(Exit::Usage, e))?;
    block_on(async {
        let mut gateway = args.gateway.connect()?;
        let answer = gateway.request(http::Method::POST, "/v1/heartbeats", body).await?;
        if args.json {
            text::print_json(&gateway.parse::<serde_json::Value>(&answer)?);
        } else if !args.quiet {
            text::print(&describe(&args.agent, &gateway.parse(&answer)?));
        }
        Ok(())
    })
}

impl Args {
    fn heartbeat(&self) -> Result<Heartbeat, Failure> {
        let metrics = Metrics {
            queue_depth: self.queue_depth,
            active_tasks: self.active_tasks,
            cpu_percent: self.cpu_percent,
            memory_bytes: self.memory_bytes,
            error_count: self.error_count,
            latency_ms: self.latency_ms,
            custom: self.metric.iter().cloned().collect(),
        };
        let progress =
            self.watermark.map(|watermark| Progress { watermark, ..Progress::default() });
        let status: Status = self.status.parse().map_err(|e| Failure::new(Exit::Usage, e))?;
        let heartbeat = Heartbeat {
            agent_id: self.agent.clone(),
            incarnation: self.incarnation.unwrap_or(0),
            status: status as i32,
            metrics: (metrics != Metrics::default()).then_some(metrics),
            progress,
            class: self.class.clone(),
            labels: self.label.iter().cloned().collect::<BTreeMap<_, _>>(),
            ..Heartbeat::default()
        };
        heartbeat.validate().map_err(|problem| {
            let field = problem.field.unwrap_or_default();
            Failure::new(Exit::Usage, format!("{field}: {}", problem.detail))
        })?;
        Ok(heartbeat)
    }
}

fn describe(agent: &str, directive: &Directive) -> String {
    let handled = match Handled::from_number(directive.outcome) {
        Handled::Accepted => "heartbeat accepted",
        Handled::Duplicate => "seen before: nothing changed",
        Handled::Stale => "older than the newest one: nothing changed",
    };
    let mut lines = vec![
        format!("{agent}: {handled} (directive {})", directive.number),
        format!("beat again in {}", text::duration(directive.next_interval_ms)),
        format!(
            "silence makes it suspect after {}, failed after {}",
            text::duration(directive.suspect_after_ms),
            text::duration(directive.fail_after_ms)
        ),
    ];
    if let Some(why) = &directive.explain {
        let bound = match why.bound.as_str() {
            "" | "none" => String::new(),
            bound => format!("; held by {bound}"),
        };
        lines.push(format!(
            "because {} ({} {}){bound}",
            why.reason, why.policy, why.policy_revision
        ));
    }
    for command in &directive.commands {
        let kind = pulsegate_wire::CommandKind::from_number(command.kind);
        lines.push(format!("command {}: {kind} {}", command.id, command.name).trim().to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
