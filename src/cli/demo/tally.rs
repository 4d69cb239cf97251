//! What the demo measures, each from the instant at which it was really done.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::fleet::CLASSES;

/// What was done to an agent that makes it fall out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TroubleKind {
    /// Killed.
    Crash,
    /// Stopped for good.
    Hang,
    /// Beating without progress.
    Stall,
}

/// One agent's trouble. Durations count from the instant at which it was caused.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: TroubleKind,
    pub(super) at: Instant,
    /// The promise of its class, at the demo's speed.
    pub(super) promise: Duration,
    pub(super) suspect: Option<Duration>,
    pub(super) failed: Option<Duration>,
    /// The policy called it stalled.
    pub(super) stalled: Option<Duration>,
    /// An executor's program asked for a new process.
    pub(super) asked: Option<Duration>,
    /// The new process got its first directive.
    pub(super) back: Option<Duration>,
}

/// One surge. Durations count from the instant at which the agent was told.
#[derive(Debug)]
pub(super) struct Surge {
    pub(super) at: Instant,
    /// Early heartbeats before it.
    pub(super) early_before: u64,
    pub(super) early: Option<Duration>,
    pub(super) tightened: Option<Duration>,
}

/// Time and heartbeats of agents in one condition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) time: Duration,
    pub(super) heartbeats: u64,
}

/// Everything that was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) steady: Share,
    pub(super) surging: Share,
    /// The same heartbeats and time by class, in the order of [`CLASSES`].
    pub(super) by_class: [Share; CLASSES.len()],
    pub(super) troubles: Vec<Trouble>,
    pub(super) surges: Vec<Surge>,
    /// Suspicions of agents to which nothing had been done.
    pub(super) false_suspicions: u64,
    /// Agents stopped for a while, suspected meanwhile, and heard again.
    pub(super) hiccups: u64,
    pub(super) hiccups_suspected: u64,
    pub(super) hiccups_returned: u64,
    pub(super) left: u64,
    pub(super) left_noticed: u64,
    pub(super) moves: u64,
    pub(super) turns: u64,
    pub(super) actions_started: u64,
    pub(super) actions_failed: u64,
    /// Events that came faster than the demo could follow.
    pub(super) events_lost: u64,
}

impl Share {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { time: self.time + other.time, heartbeats: self.heartbeats + other.heartbeats }
    }
}

impl Tally {
    /// Adds time or heartbeats of an agent.
    pub(super) fn add(&mut self, class: &str, in_surge: bool, more: Share) {
        let condition = if in_surge { &mut self.surging } else { &mut self.steady };
        *condition = condition.plus(more);
        if let Some(index) = CLASSES.iter().position(|known| *known == class) {
            self.by_class[index] = self.by_class[index].plus(more);
        }
    }

    /// Forgets time and heartbeats so far.
    pub(super) fn begin(&mut self) {
        (self.steady, self.surging) = Default::default();
        self.by_class = Default::default();
    }

    /// Everybody's.
    pub(super) fn total(&self) -> Share {
        self.steady.plus(self.surging)
    }
}

/// How a measured time is spread, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) median_ms: u64,
    pub(super) p99_ms: u64,
    pub(super) max_ms: u64,
}

impl Trouble {
    pub(super) const fn new(kind: TroubleKind, at: Instant, promise: Duration) -> Self {
        Self {
            kind,
            at,
            promise,
            suspect: None,
            failed: None,
            stalled: None,
            asked: None,
            back: None,
        }
    }

    pub(super) fn is_silence(&self) -> bool {
        self.kind != TroubleKind::Stall
    }
}

/// Sets a time that is not yet known.
pub(super) fn note(slot: &mut Option<Duration>, since: Instant, now: Instant) {
    slot.get_or_insert(now.saturating_duration_since(since));
}

impl Spread {
    /// The spread of the times that are known: nearest rank.
    pub(super) fn of(times: impl Iterator<Item = Option<Duration>>) -> Self {
        let mut times: Vec<u64> = times.flatten().map(|time| time.as_millis() as u64).collect();
        times.sort_unstable();
        let rank = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            count: times.len(),
            median_ms: rank(0.5),
            p99_ms: rank(0.99),
            max_ms: times.last().copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_by_nearest_rank() {
        let spread = Spread::of((1..=200).rev().map(|ms| Some(Duration::from_millis(ms))));
        let expected = Spread { count: 200, median_ms: 100, p99_ms: 198, max_ms: 200 };
        assert_eq!(spread, expected);
        assert_eq!(Spread::of([None].into_iter()), Spread::default());
    }

    #[test]
    fn the_first_time_noted_stays() {
        let start = Instant::now();
        let mut slot = None;
        note(&mut slot, start, start + Duration::from_secs(1));
        note(&mut slot, start, start + Duration::from_secs(2));
        assert_eq!(slot, Some(Duration::from_secs(1)));
    }
}
