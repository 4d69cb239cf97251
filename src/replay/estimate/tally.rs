//! What the estimate comes to.

use crate::spread::{Spread, Timeline};

/// What happened to all agents together.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Heartbeats that were recorded.
    pub(crate) recorded: u64,
    /// Those of the candidate, if every silence began as late as it can have.
    pub(crate) estimated: u64,
    /// Of them, those that lie where the agent may have been silent already.
    pub(crate) uncertain: u64,
    /// Of them, early ones by a rule of the candidate; and recorded ones by a rule.
    pub(crate) early: [u64; 2],
    /// Recorded heartbeats that came long before they were due, and by no rule.
    pub(crate) disobedient: u64,
    pub(crate) turns: u64,
    /// Time in which agents are taken to have lived, in milliseconds.
    pub(crate) lived_ms: u64,
    /// Stretches in which records are missing.
    pub(crate) breaks: u64,
    /// Living agents that were suspected, and that were failed.
    pub(crate) mistakes: [Mistakes; 2],
    pub(crate) detection: Detection,
    pub(crate) timeline: Option<Timeline>,
}

/// Living agents that were taken for gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mistakes {
    pub(crate) recorded: u64,
    /// Under the candidate: lower bound, middle, upper bound.
    pub(crate) estimated: [u64; 3],
    /// Recorded ones that would not have been, by the same three.
    pub(crate) gone: [u64; 3],
    /// Ones that would have been, and were not, by the same three.
    pub(crate) come: [u64; 3],
}

/// Real silences.
#[derive(Debug)]
pub(crate) struct Detection {
    /// Noticed at another time: candidate less enforced, in seconds; lower bound, middle, upper.
    pub(crate) shifts: [Spread; 3],
    pub(crate) earlier: u64,
    pub(crate) later: u64,
    /// The agent would have been back before it was noticed.
    pub(crate) unnoticed: u64,
    /// The agent had not come back when the records end.
    pub(crate) open: u64,
}

/// Silences that are noticed at the same time, give or take so many seconds. Source: chosen; a
/// heartbeat's jitter moves more.
const SAME: f64 = 0.5;

impl Tally {
    pub(crate) fn new() -> Self {
        let shift = || Spread::new(0.1, 600.0);
        Self {
            recorded: 0,
            estimated: 0,
            uncertain: 0,
            early: [0; 2],
            disobedient: 0,
            turns: 0,
            lived_ms: 0,
            breaks: 0,
            mistakes: [Mistakes::default(); 2],
            detection: Detection {
                shifts: [shift(), shift(), shift()],
                earlier: 0,
                later: 0,
                unnoticed: 0,
                open: 0,
            },
            timeline: None,
        }
    }

    pub(crate) fn record(&mut self, at_ms: u64) {
        self.recorded += 1;
        self.timeline.get_or_insert_with(|| Timeline::new(at_ms)).record(at_ms);
    }

    pub(crate) fn estimate(&mut self, at_ms: u64) {
        self.estimated += 1;
        self.timeline.get_or_insert_with(|| Timeline::new(at_ms)).estimate(at_ms);
    }
}

impl Mistakes {
    /// Counts an agent that lived; `estimated` is the lower bound, the middle and the upper one.
    pub(crate) fn count(&mut self, recorded: bool, estimated: [bool; 3]) {
        self.recorded += u64::from(recorded);
        for (place, estimated) in estimated.into_iter().enumerate() {
            self.estimated[place] += u64::from(estimated);
            self.come[place] += u64::from(estimated && !recorded);
            // The fewest are gone where the most are suspected.
            self.gone[2 - place] += u64::from(recorded && !estimated);
        }
    }
}

impl Detection {
    /// Counts a real silence that was noticed at `enforced_ms`, and under the candidate at one of
    /// `tried_ms`; `back_ms` is when the agent was back.
    pub(crate) fn count(&mut self, enforced_ms: u64, tried_ms: [u64; 3], back_ms: Option<u64>) {
        match back_ms {
            Some(back_ms) if back_ms < tried_ms[1] => return self.unnoticed += 1,
            Some(_) => {}
            None => self.open += 1,
        }
        let shift = |tried_ms: u64| (tried_ms as f64 - enforced_ms as f64) / 1_000.0;
        for (spread, tried_ms) in self.shifts.iter_mut().zip(tried_ms) {
            spread.add(shift(tried_ms));
        }
        let middle = shift(tried_ms[1]);
        self.earlier += u64::from(middle < -SAME);
        self.later += u64::from(middle > SAME);
    }
}
