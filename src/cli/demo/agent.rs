//! One agent of the demo: a process of its own that links the client library and pretends to
//! work. It takes words on standard input and tells of every directive on standard output.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use pulsegate_client::{AckOutcome, Agent, CommandKind, Directive, Status};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use super::workload::Workload;
use crate::cli::{Exit, Failure, Outcome, block_on};

/// Real time between two looks at the work.
const STEP: Duration = Duration::from_millis(250);
/// Time without progress that counts as a stall, at speed 1.
const STALL_AFTER: Duration = Duration::from_secs(20);
/// Longest time of one attempt, at speed 1: the library's own default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of the hidden `pulsegate demo-agent`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AgentArgs {
    #[arg(long)]
    url: String,
    #[arg(long)]
    id: String,
    #[arg(long)]
    class: String,
    #[arg(long)]
    speed: f64,
    #[arg(long)]
    seed: u64,
}

/// What the supervisor tells an agent: one word, or a word and a number, on a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    /// This many pieces of work arrive.
    Surge(f64),
    /// Work stops.
    Stall,
    /// Leave gracefully.
    Leave,
}

/// What an agent tells the supervisor after each directive: one JSON object on a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Heartbeats of this process so far.
    pub(super) heartbeats: u64,
    /// Those of them that a rule made early.
    pub(super) early: u64,
    /// Attempts beyond the first of each.
    pub(super) retries: u64,
    /// Interval directed, in milliseconds.
    pub(super) interval_ms: u64,
    /// Pieces of work that wait.
    pub(super) queue: u64,
    /// Whether more arrives than gets done.
    pub(super) rising: bool,
    /// Why this interval.
    pub(super) reason: String,
    /// Whose reason.
    pub(super) policy: String,
    /// The guard that had the last word.
    pub(super) bound: String,
}

impl Order {
    pub(super) fn line(self) -> String {
        match self {
            Self::Surge(pieces) => format!("surge {pieces}\n"),
            Self::Stall => "stall\n".to_owned(),
            Self::Leave => "leave\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("surge", pieces) => pieces.parse().ok().map(Self::Surge),
            ("stall", "") => Some(Self::Stall),
            ("leave", "") => Some(Self::Leave),
            _ => None,
        }
    }
}

/// Runs one agent until it is told to leave, or the demo is gone.
pub(in crate::cli) fn run(args: &AgentArgs) -> Outcome {
    die_with_parent();
    block_on(async {
        let unusable = |error: std::io::Error| Failure::new(Exit::Unavailable, error);
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(unusable)?;
        let orders = pipe::Receiver::from_owned_fd(stdin).map_err(unusable)?;
        let agent = Agent::builder(&args.url, &args.id)
            .class(&args.class)
            .label("fleet", "demo")
            .attempt_timeout(ATTEMPT_TIMEOUT.div_f64(args.speed))
            .start()
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        live(args, agent, BufReader::new(orders)).await;
        Ok(())
    })
}

/// A demo that is killed takes its agents with it, stopped ones too.
fn die_with_parent() {
    #[cfg(target_os = "linux")]
    if rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .is_err()
    {
        // Then the end of standard input ends this process.
    }
}

async fn live(args: &AgentArgs, agent: Agent, orders: BufReader<pipe::Receiver>) {
    let mut work = Workload::new(args.seed);
    let mut orders = orders.lines();
    let mut directives = agent.directives();
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    report_work(&agent, &work, args.speed);
    loop {
        tokio::select! {
            line = orders.next_line() => match line.ok().flatten().as_deref().map(Order::parse) {
                Some(Some(Order::Surge(pieces))) => work.surge(pieces),
                Some(Some(Order::Stall)) => work.stall(),
                Some(Some(Order::Leave)) => return agent.stop().await,
                Some(None) => continue,
                // The demo is gone.
                None => return,
            },
            _ = steps.tick() => work.step(STEP.as_secs_f64() * args.speed),
            changed = directives.changed() => {
                let newest = directives.borrow_and_update().clone();
                let (Ok(()), Some(directive)) = (changed, newest) else { return };
                if tell(&agent, &directive, &work).is_err() {
                    return;
                }
                continue;
            }
            command = agent.next_command() => {
                let Some(command) = command else { return };
                // Whoever is told to restart ends; the supervisor starts it again.
                if command.kind == CommandKind::Restart as i32 {
                    return;
                }
                agent.ack(&command, AckOutcome::Unsupported, "an agent of the demo");
            }
        }
        report_work(&agent, &work, args.speed);
    }
}

fn report_work(agent: &Agent, work: &Workload, speed: f64) {
    agent.status(if work.is_busy() { Status::Busy } else { Status::Healthy });
    agent.progress(|progress| {
        progress.watermark = work.watermark();
        progress.stall_after_ms = Some(STALL_AFTER.div_f64(speed).as_millis() as u64);
    });
    agent.metrics(|metrics| {
        metrics.queue_depth = Some(work.queue());
        metrics.active_tasks = Some(work.tasks());
        metrics.error_count = Some(work.errors());
        metrics.latency_ms = Some(work.latency_ms());
    });
}

fn tell(agent: &Agent, directive: &Directive, work: &Workload) -> std::io::Result<()> {
    let counts = agent.counts();
    let why = directive.explain.clone().unwrap_or_default();
    let report = Report {
        heartbeats: counts.heartbeats,
        early: counts.early,
        retries: counts.retries,
        interval_ms: directive.next_interval_ms,
        queue: work.queue(),
        rising: work.is_rising(),
        reason: why.reason,
        policy: why.policy,
        bound: why.bound,
    };
    let mut line = serde_json::to_string(&report)?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_pipe_and_noise_is_ignored() {
        for order in [Order::Surge(840.5), Order::Stall, Order::Leave] {
            assert_eq!(Order::parse(order.line().trim_end()), Some(order));
        }
        for noise in ["", "surge", "surge many", "leave now", "kill"] {
            assert_eq!(Order::parse(noise), None, "{noise}");
        }
    }
}
