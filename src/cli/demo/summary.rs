//! What came of the demo, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;

use super::config::Speed;
use super::fleet::CLASSES;
use super::stage::Stage;
use super::tally::{Share, Spread, Tally, Trouble, TroubleKind};
use crate::cli::text::duration;

/// The whole summary.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) agents: usize,
    pub(super) seconds: f64,
    pub(super) speed: f64,
    pub(super) seed: u64,
    /// What the speed means.
    pub(super) note: String,
    pub(super) heartbeats: Heartbeats,
    pub(super) detection: Detection,
    pub(super) stalls: Stalls,
    pub(super) surges: Surges,
    pub(super) recoveries: Recoveries,
    pub(super) false_suspicions: u64,
    pub(super) hiccups: Hiccups,
    pub(super) left: Left,
    pub(super) cadence: Cadence,
    pub(super) policies: Policies,
    /// Events that came faster than the demo could follow; 0, or the figures above are too low.
    pub(super) events_lost: u64,
}

/// Heartbeats against the fixed cadence, for the same agents over the same time.
#[derive(Debug, Serialize)]
pub(super) struct Heartbeats {
    #[serde(flatten)]
    all: Compared,
    steady: Compared,
    surging: Compared,
    by_class: BTreeMap<&'static str, Compared>,
    fixed_cadence_ms: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Compared {
    sent: u64,
    agent_seconds: f64,
    at_fixed_cadence: u64,
}

/// Agents that were killed or stopped for good; times count from that instant.
#[derive(Debug, Serialize)]
pub(super) struct Detection {
    pub(super) silenced: usize,
    suspect: Spread,
    failed: Spread,
    within_promise: usize,
    late: usize,
    still_in_grace: usize,
    unnoticed: usize,
}

/// Agents that went on beating without progress.
#[derive(Debug, Serialize)]
pub(super) struct Stalls {
    caused: usize,
    judged: Spread,
}

/// Queue surges; times count from the instant at which the agent was told.
#[derive(Debug, Serialize)]
pub(super) struct Surges {
    caused: usize,
    early_heartbeat: Spread,
    tightened: Spread,
}

/// Agents in trouble that came back.
#[derive(Debug, Serialize)]
pub(super) struct Recoveries {
    failed: usize,
    back: usize,
    by_exec: usize,
    /// From the fall to the first directive of the new process.
    since_fall: Spread,
    /// From being failed to that.
    since_failed: Spread,
    actions_started: u64,
    exec_failed: u64,
}

/// Agents that were stopped for a while only.
#[derive(Debug, Serialize)]
pub(super) struct Hiccups {
    caused: u64,
    suspected: u64,
    returned: u64,
}

/// Agents that left gracefully.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    asked: u64,
    stopped: u64,
}

/// How calm the intervals were; an hour is one of real life, at the demo's speed.
#[derive(Debug, Serialize)]
pub(super) struct Cadence {
    moves: u64,
    turns: u64,
    turns_per_agent_hour: f64,
}

/// What the policies did, from the gateway's own metrics.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Policies {
    pub(super) calls: u64,
    pub(super) faults: u64,
}

impl Summary {
    pub(super) fn new(stage: &Stage, seed: u64, policies: Policies, now: Instant) -> Self {
        let (tally, speed) = (&stage.tally, stage.speed);
        let total = tally.total();
        let hours = total.time.as_secs_f64() * speed.0 / 3_600.0;
        Self {
            agents: stage.fleet.members.len(),
            seconds: round(now.saturating_duration_since(stage.started).as_secs_f64()),
            speed: speed.0,
            seed,
            note: speed.sentence(),
            heartbeats: Heartbeats {
                all: Compared::new(total, speed),
                steady: Compared::new(tally.steady, speed),
                surging: Compared::new(tally.surging, speed),
                by_class: CLASSES
                    .into_iter()
                    .zip(tally.by_class)
                    .map(|(class, share)| (class, Compared::new(share, speed)))
                    .collect(),
                fixed_cadence_ms: speed.fixed().as_millis() as u64,
            },
            detection: Detection::new(tally, now),
            stalls: Stalls {
                caused: of_kind(tally, TroubleKind::Stall).count(),
                judged: Spread::of(of_kind(tally, TroubleKind::Stall).map(|t| t.stalled)),
            },
            surges: Surges {
                caused: tally.surges.len(),
                early_heartbeat: Spread::of(tally.surges.iter().map(|surge| surge.early)),
                tightened: Spread::of(tally.surges.iter().map(|surge| surge.tightened)),
            },
            recoveries: Recoveries::new(tally),
            false_suspicions: tally.false_suspicions,
            hiccups: Hiccups {
                caused: tally.hiccups,
                suspected: tally.hiccups_suspected,
                returned: tally.hiccups_returned,
            },
            left: Left { asked: tally.left, stopped: tally.left_noticed },
            cadence: Cadence {
                moves: tally.moves,
                turns: tally.turns,
                turns_per_agent_hour: round(tally.turns as f64 / hours.max(f64::MIN_POSITIVE)),
            },
            policies,
            events_lost: tally.events_lost,
        }
    }

    /// The summary in words.
    pub(super) fn words(&self) -> String {
        let mut text = format!(
            "{} agents for {} s, seed {}\n{}\n\n",
            self.agents, self.seconds, self.seed, self.note
        );
        let sections = [
            self.heartbeats.rows(),
            self.detection.rows(),
            self.surges.rows(),
            self.stalls.rows(),
            self.recoveries.rows(),
            self.rows(),
        ];
        for (name, words) in sections.into_iter().flatten() {
            let _ = writeln!(text, "{name:<14}{words}");
        }
        text
    }

    /// What needs one line each.
    fn rows(&self) -> Vec<Row> {
        let false_alarms =
            format!("{} agents suspected to which nothing was done", self.false_suspicions);
        let hiccups = format!(
            "{} stopped for a while: {} suspected, {} of those heard again",
            self.hiccups.caused, self.hiccups.suspected, self.hiccups.returned
        );
        let left =
            format!("{} gracefully, {} counted as stopped", self.left.asked, self.left.stopped);
        let cadence = format!(
            "{} moves, {} turns ({} per agent and hour)",
            self.cadence.moves, self.cadence.turns, self.cadence.turns_per_agent_hour
        );
        let policies = format!("{} calls, {} faults", self.policies.calls, self.policies.faults);
        let mut rows = vec![
            row("false alarms", false_alarms),
            row("hiccups", hiccups),
            row("left", left),
            row("cadence", cadence),
            row("policies", policies),
        ];
        if self.events_lost > 0 {
            let lost = format!("{} events were lost: figures are too low", self.events_lost);
            rows.push(row("warning", lost));
        }
        rows
    }
}

/// A name and what is said of it.
type Row = (String, String);

fn row(name: &str, words: String) -> Row {
    (name.to_owned(), words)
}

impl Heartbeats {
    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            row("heartbeats", self.all.words(self.fixed_cadence_ms)),
            row("  steady", self.steady.words(self.fixed_cadence_ms)),
            row("  surging", self.surging.words(self.fixed_cadence_ms)),
        ];
        for (class, share) in &self.by_class {
            rows.push(row(&format!("  {class}"), share.words(self.fixed_cadence_ms)));
        }
        rows
    }
}

impl Surges {
    fn rows(&self) -> Vec<Row> {
        vec![
            row("surges", format!("{} of a queue", self.caused)),
            row("  early", words(self.early_heartbeat, "until an early heartbeat")),
            row("  tightened", words(self.tightened, "until the cadence was tightened")),
        ]
    }
}

impl Stalls {
    fn rows(&self) -> Vec<Row> {
        vec![
            row("stalls", format!("{} live but without progress", self.caused)),
            row("  judged", words(self.judged, "until the policy said so")),
        ]
    }
}

impl Compared {
    fn new(share: Share, speed: Speed) -> Self {
        let fixed = share.time.as_secs_f64() / speed.fixed().as_secs_f64();
        Self {
            sent: share.heartbeats,
            agent_seconds: round(share.time.as_secs_f64()),
            at_fixed_cadence: fixed.round() as u64,
        }
    }

    fn words(&self, fixed_ms: u64) -> String {
        let change = if self.at_fixed_cadence == 0 {
            String::new()
        } else {
            let ratio = self.sent as f64 / self.at_fixed_cadence as f64;
            let percent = ((ratio - 1.0) * 100.0).round();
            format!(" ({percent:+} %)")
        };
        format!(
            "{} in {:.0} agent-seconds; a fixed cadence of {}: {}{change}",
            self.sent,
            self.agent_seconds,
            duration(fixed_ms),
            self.at_fixed_cadence
        )
    }
}

impl Detection {
    fn new(tally: &Tally, now: Instant) -> Self {
        let silent = || tally.troubles.iter().filter(|trouble| trouble.is_silence());
        let in_promise = |trouble: &&Trouble| trouble.suspect.is_some_and(|t| t <= trouble.promise);
        let late = |trouble: &&Trouble| trouble.suspect.is_some_and(|t| t > trouble.promise);
        let waiting = |trouble: &&Trouble| trouble.suspect.is_none() && trouble.back.is_none();
        let in_grace = |trouble: &&Trouble| {
            waiting(trouble) && now.saturating_duration_since(trouble.at) <= trouble.promise
        };
        let within_promise = silent().filter(in_promise).count();
        let (late, still) = (silent().filter(late).count(), silent().filter(in_grace).count());
        let silenced = silent().count();
        Self {
            silenced,
            suspect: Spread::of(silent().map(|trouble| trouble.suspect)),
            failed: Spread::of(silent().map(|trouble| trouble.failed)),
            within_promise,
            late,
            still_in_grace: still,
            unnoticed: silenced - within_promise - late - still,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let noticed = format!(
            "{} killed or hung: {} noticed within the promise of their class, {} late, {} still \
             within it",
            self.silenced, self.within_promise, self.late, self.still_in_grace
        );
        vec![
            row("silence", noticed),
            row("  suspect", words(self.suspect, "after the kill")),
            row("  failed", words(self.failed, "after the kill")),
        ]
    }
}

impl Recoveries {
    fn new(tally: &Tally) -> Self {
        let troubles = || tally.troubles.iter();
        let since_failed = |trouble: &Trouble| Some(trouble.back?.saturating_sub(trouble.failed?));
        Self {
            failed: troubles().filter(|trouble| trouble.failed.is_some()).count(),
            back: troubles().filter(|trouble| trouble.back.is_some()).count(),
            by_exec: troubles().filter(|t| t.back.is_some() && t.asked.is_some()).count(),
            since_fall: Spread::of(troubles().map(|trouble| trouble.back)),
            since_failed: Spread::of(troubles().map(since_failed)),
            actions_started: tally.actions_started,
            exec_failed: tally.actions_failed,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let back =
            format!("{} failed, {} are back, {} by exec", self.failed, self.back, self.by_exec);
        vec![
            row("recoveries", back),
            row("  since kill", words(self.since_fall, "until the new process was answered")),
            row("  since fail", words(self.since_failed, "until the new process was answered")),
        ]
    }
}

fn of_kind(tally: &Tally, kind: TroubleKind) -> impl Iterator<Item = &Trouble> {
    tally.troubles.iter().filter(move |trouble| trouble.kind == kind)
}

fn words(spread: Spread, what: &str) -> String {
    if spread.count == 0 {
        return "none".to_owned();
    }
    format!(
        "median {}, p99 {}, longest {} {what}, of {}",
        duration(spread.median_ms),
        duration(spread.p99_ms),
        duration(spread.max_ms),
        spread.count
    )
}

/// Two digits behind the point are enough for anybody.
fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
