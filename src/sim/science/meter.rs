//! What is measured of a run, beside the quality of its detector.

use crate::quality::{Quality, Report, Samples, Spread};
use crate::server::{AgentIndex, Change, HOUR, MINUTE, Micros, Request, SECOND, Standing};
use crate::world::Observer;

/// Measures one run.
#[derive(Debug)]
pub(super) struct Meter {
    quality: Quality,
    /// Traffic is counted from here on: what comes before is warming up.
    from: Micros,
    attempts: u64,
    /// Agents that run, since when that many, and their time so far.
    up: u64,
    up_since: Micros,
    up_time: u128,
    runs: Vec<bool>,
    surged_at: Vec<Option<Micros>>,
    reactions: Samples,
    /// Arrivals in each second, of second and later heartbeats of a run that is not the first.
    arrivals: Vec<u32>,
    failed_living: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Quality of service.
    pub quality: Report,
    /// Attempts sent for each agent and hour that it ran.
    pub messages: f64,
    /// Time that all agents ran, in days.
    pub agent_days: f64,
    /// From the beginning of a surge until the server knew of it, in seconds.
    pub reaction: Option<Spread>,
    /// Agents that were failed while they ran.
    pub failed_living: u64,
    /// Arrivals in each second after agents of another run came back, without their first ones.
    pub arrivals: Vec<u32>,
    /// Changes of direction of an agent's interval, for each agent and hour.
    pub turns: f64,
}

impl Meter {
    pub(super) fn new(agents: u32, from: Micros) -> Self {
        let agents = agents as usize;
        Self {
            quality: Quality::new(agents),
            from,
            attempts: 0,
            up: 0,
            up_since: 0,
            up_time: 0,
            runs: vec![false; agents],
            surged_at: vec![None; agents],
            reactions: Samples::default(),
            arrivals: Vec::new(),
            failed_living: 0,
        }
    }

    pub(super) fn finish(mut self, now: Micros, turns: u64) -> Measured {
        self.count_up(now, 0);
        let agent_hours = self.up_time as f64 / HOUR as f64;
        let per_hour = |count: u64| count as f64 / agent_hours.max(f64::MIN_POSITIVE);
        Measured {
            quality: self.quality.finish(now),
            messages: per_hour(self.attempts),
            agent_days: agent_hours / 24.0,
            reaction: self.reactions.spread(),
            failed_living: self.failed_living,
            arrivals: self.arrivals,
            turns: per_hour(turns),
        }
    }

    /// Counts the time of those who run, and then one more or less.
    fn count_up(&mut self, now: Micros, change: i64) {
        let since = self.up_since.max(self.from);
        self.up_time += u128::from(self.up) * u128::from(now.saturating_sub(since));
        self.up_since = now;
        self.up = self.up.saturating_add_signed(change);
    }
}

impl Observer for Meter {
    fn started(&mut self, now: Micros, agent: AgentIndex) {
        self.count_up(now, 1);
        self.runs[agent as usize] = true;
        self.surged_at[agent as usize] = None;
        self.quality.handle_up(now, agent);
    }

    fn ended(&mut self, now: Micros, agent: AgentIndex, graceful: bool) {
        self.count_up(now, -1);
        self.runs[agent as usize] = false;
        if graceful {
            self.quality.handle_left(now, agent);
        } else {
            self.quality.handle_down(now, agent);
        }
    }

    fn surged(&mut self, now: Micros, agent: AgentIndex, begins: bool) {
        self.surged_at[agent as usize] = begins.then_some(now);
    }

    fn sent(&mut self, now: Micros, _request: &Request, _good: bool) {
        self.attempts += u64::from(now >= self.from);
    }

    fn arrived(&mut self, now: Micros, request: &Request) {
        if request.report.queue_depth.is_some_and(|depth| depth > 0)
            && let Some(since) = self.surged_at[request.agent as usize].take()
        {
            self.reactions.add(now - since);
        }
        if request.incarnation > 1 && request.sequence > 1 && now < self.from + HOUR {
            let second = (now / SECOND) as usize;
            if second >= self.arrivals.len() {
                self.arrivals.resize(second + 1, 0);
            }
            self.arrivals[second] += 1;
        }
    }

    fn changed(&mut self, now: Micros, change: Change) {
        let lives = self.runs[change.agent as usize];
        self.failed_living += u64::from(lives && change.to == Standing::Failed);
        self.quality.handle_change(now, change);
    }
}

impl Measured {
    /// The largest second of arrivals over their mean, from when agents came back on; the mean is
    /// that of the five minutes that begin a minute later.
    #[must_use]
    pub fn peak_over_mean(&self) -> Option<f64> {
        let first = self.arrivals.iter().position(|&arrivals| arrivals > 0)?;
        let later = first + (MINUTE / SECOND) as usize;
        let steady = self.arrivals.get(later..later + 5 * (MINUTE / SECOND) as usize)?;
        let sum: f64 = steady.iter().map(|&arrivals| f64::from(arrivals)).sum();
        let mean = sum / steady.len() as f64;
        // The last second may be a part of one.
        let peak = self.arrivals[..self.arrivals.len() - 1].iter().max().copied()?;
        (mean > 0.0).then(|| f64::from(peak) / mean)
    }
}
