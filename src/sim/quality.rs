//! Quality of service of a detector in one run: how often it is wrong, for how long, and how soon
//! it is right.
//!
//! It is told the truth about each agent and every change of standing, in the order of time, and
//! counts exactly. Source of the terms: Chen, Toueg, Aguilera, "On the Quality of Service of
//! Failure Detectors", IEEE Transactions on Computers 51(5), 2002. Where agents crash *and return*,
//! which the paper leaves out:
//!
//! - An agent is *watched* from when it is first taken for alive after it came up until it goes
//!   down, leaves, or is known no more. Mistakes and accuracy are of watched time only: nobody can
//!   know that an agent is back before its heartbeat has arrived.
//! - Failing implies suspecting: a detector of one level makes both mistakes at once.
//! - A crash is detected when the agent is suspected (failed) for good. Trust that comes back while
//!   it is down, by a late heartbeat, undoes that; one that is distrusted already when it crashes
//!   is detected after 0 s. A crash whose agent returns first is undetected.
//! - A mistake that a crash cuts short counts as a mistake, but has no duration.

mod measure;

pub use measure::{Estimate, Samples, Spread};

use measure::Moments;

use crate::server::{AgentIndex, Change, Micros, Standing};

/// Counters of one run.
#[derive(Debug, Default)]
pub struct Quality {
    agents: Vec<Agent>,
    suspicions: Mistakes,
    failures: Mistakes,
    watched: Micros,
    trusted: Micros,
    suspected_crashes: Crashes,
    failed_crashes: Crashes,
    crashes: u64,
    unwatched_crashes: u64,
    failed_after_return: u64,
}

/// What a run came to. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Living agents that were suspected (or failed without that).
    pub false_suspicions: MistakeReport,
    /// Living agents that were failed.
    pub false_failures: MistakeReport,
    /// Share of the watched time in which agents were trusted; `None` when none was watched.
    pub accuracy: Option<f64>,
    /// Watched time of all agents.
    pub watched: f64,
    /// Crashes of watched agents.
    pub crashes: u64,
    /// Crashes of agents that were not watched, such as before their first heartbeat.
    pub unwatched_crashes: u64,
    /// From a crash to suspicion for good.
    pub suspected: DetectionReport,
    /// From a crash to failure for good.
    pub failed: DetectionReport,
    /// Agents that were back, but failed before their first heartbeat arrived: neither a mistake
    /// nor a detection.
    pub failed_after_return: u64,
}

/// Mistakes of one kind. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MistakeReport {
    /// How many.
    pub count: u64,
    /// From one mistake to the next of the same agent's same watched time (T_MR): right where each
    /// agent makes many; where most make one or none, what is seen is the short ones.
    pub recurrence: Option<Estimate>,
    /// Watched time for each mistake: right however few each agent makes. Its error takes mistakes
    /// as independent.
    pub time_per_mistake: Option<Estimate>,
    /// From a mistake to its end (T_M).
    pub duration: Option<Estimate>,
}

/// Detections of one kind. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectionReport {
    /// How long detections took (T_D).
    pub time: Option<Spread>,
    /// Crashes whose agents were back first.
    pub undetected: u64,
    /// Crashes that were not yet detected when the run ended.
    pub open: u64,
}

/// What is so of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Truth {
    /// Not there: not yet, or it has left.
    #[default]
    Away,
    Up,
    Down {
        /// When it crashed.
        since: Micros,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Agent {
    truth: Truth,
    standing: Standing,
    /// Beginning of the watched time, while watched.
    watched_since: Option<Micros>,
    /// Beginning of the trust, while watched and trusted.
    trusted_since: Option<Micros>,
    suspicion: Mistake,
    failure: Mistake,
    /// Since when it is suspected and failed, while it is down.
    suspected_at: Option<Micros>,
    failed_at: Option<Micros>,
}

/// An agent's mistakes of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Mistake {
    /// The last one's beginning, in this watched time.
    last: Option<Micros>,
    open: bool,
}

#[derive(Debug, Default)]
struct Mistakes {
    count: u64,
    recurrence: Moments,
    duration: Moments,
}

#[derive(Debug, Default)]
struct Crashes {
    times: Samples,
    undetected: u64,
    open: u64,
}

impl Quality {
    /// Counters for a fleet of about this size; it may grow.
    #[must_use]
    pub fn new(agents: usize) -> Self {
        Self { agents: vec![Agent::default(); agents], ..Self::default() }
    }

    /// An agent has come up, for the first time or again; nothing happens if it is up.
    pub fn handle_up(&mut self, now: Micros, index: AgentIndex) {
        self.close_crash(index, true);
        if self.agent(index).truth == Truth::Up {
            return;
        }
        let agent = self.agent(index);
        agent.truth = Truth::Up;
        if agent.standing == Standing::Alive {
            agent.watch(now);
        }
    }

    /// An agent has crashed; nothing happens if it is not up.
    pub fn handle_down(&mut self, now: Micros, index: AgentIndex) {
        let agent = self.agent(index);
        if agent.truth != Truth::Up {
            return;
        }
        let watched = agent.watched_since.is_some();
        agent.truth = if watched { Truth::Down { since: now } } else { Truth::Away };
        if watched {
            let suspected = matches!(agent.standing, Standing::Suspect | Standing::Failed);
            agent.suspected_at = suspected.then_some(now);
            agent.failed_at = (agent.standing == Standing::Failed).then_some(now);
            self.crashes += 1;
        } else {
            self.unwatched_crashes += 1;
        }
        self.unwatch(now, index);
    }

    /// An agent has left of its own will: whatever becomes of its standing is right.
    pub fn handle_left(&mut self, now: Micros, index: AgentIndex) {
        self.close_crash(index, true);
        self.unwatch(now, index);
        self.agent(index).truth = Truth::Away;
    }

    /// A server has changed how an agent stands.
    pub fn handle_change(&mut self, now: Micros, change: Change) {
        let agent = self.agent(change.agent);
        let from = std::mem::replace(&mut agent.standing, change.to);
        match agent.truth {
            Truth::Up if agent.watched_since.is_some() => self.judge(now, change, from),
            Truth::Up if change.to == Standing::Alive => agent.watch(now),
            Truth::Up if change.to == Standing::Failed => self.failed_after_return += 1,
            Truth::Down { .. } => agent.notice(now),
            Truth::Up | Truth::Away => {}
        }
    }

    /// Ends the run.
    #[must_use]
    pub fn finish(mut self, now: Micros) -> Report {
        for index in 0..self.agents.len() as AgentIndex {
            self.close_crash(index, false);
            self.unwatch(now, index);
        }
        let watched = seconds(self.watched);
        Report {
            false_suspicions: self.suspicions.report(watched),
            false_failures: self.failures.report(watched),
            accuracy: (self.watched > 0).then(|| self.trusted as f64 / self.watched as f64),
            watched,
            crashes: self.crashes,
            unwatched_crashes: self.unwatched_crashes,
            suspected: self.suspected_crashes.report(),
            failed: self.failed_crashes.report(),
            failed_after_return: self.failed_after_return,
        }
    }

    fn agent(&mut self, index: AgentIndex) -> &mut Agent {
        let index = index as usize;
        if index >= self.agents.len() {
            self.agents.resize(index + 1, Agent::default());
        }
        &mut self.agents[index]
    }

    /// The standing of a watched agent has changed.
    fn judge(&mut self, now: Micros, change: Change, from: Standing) {
        let agent = &mut self.agents[change.agent as usize];
        match change.to {
            Standing::Alive => {
                agent.trusted_since.get_or_insert(now);
                self.suspicions.end(now, &mut agent.suspicion);
                self.failures.end(now, &mut agent.failure);
            }
            Standing::Suspect | Standing::Failed => {
                self.trusted += agent.trusted_since.take().map_or(0, |since| now - since);
                if from == Standing::Alive {
                    self.suspicions.begin(now, &mut agent.suspicion);
                }
                if change.to == Standing::Failed {
                    self.failures.begin(now, &mut agent.failure);
                }
            }
            Standing::Unknown | Standing::Stopped => self.unwatch(now, change.agent),
        }
    }

    fn unwatch(&mut self, now: Micros, index: AgentIndex) {
        let agent = self.agent(index);
        let watched = agent.watched_since.take().map_or(0, |since| now - since);
        let trusted = agent.trusted_since.take().map_or(0, |since| now - since);
        (agent.suspicion, agent.failure) = (Mistake::default(), Mistake::default());
        self.watched += watched;
        self.trusted += trusted;
    }

    /// Settles a crash, if there is one, when the agent returned or the run ended.
    fn close_crash(&mut self, index: AgentIndex, returned: bool) {
        let agent = self.agent(index);
        let Truth::Down { since } = agent.truth else { return };
        let (suspected_at, failed_at) = (agent.suspected_at.take(), agent.failed_at.take());
        self.suspected_crashes.settle(since, suspected_at, returned);
        self.failed_crashes.settle(since, failed_at, returned);
    }
}

impl Agent {
    const fn watch(&mut self, now: Micros) {
        (self.watched_since, self.trusted_since) = (Some(now), Some(now));
    }

    /// Its standing has changed while it is down.
    fn notice(&mut self, now: Micros) {
        match self.standing {
            Standing::Alive | Standing::Unknown => {
                (self.suspected_at, self.failed_at) = (None, None)
            }
            Standing::Suspect => _ = self.suspected_at.get_or_insert(now),
            Standing::Failed | Standing::Stopped => {
                self.suspected_at.get_or_insert(now);
                self.failed_at.get_or_insert(now);
            }
        }
    }
}

impl Mistakes {
    fn begin(&mut self, now: Micros, mistake: &mut Mistake) {
        self.count += 1;
        if let Some(last) = mistake.last {
            self.recurrence.add(seconds(now - last));
        }
        *mistake = Mistake { last: Some(now), open: true };
    }

    fn end(&mut self, now: Micros, mistake: &mut Mistake) {
        if std::mem::take(&mut mistake.open)
            && let Some(last) = mistake.last
        {
            self.duration.add(seconds(now - last));
        }
    }

    fn report(&self, watched: f64) -> MistakeReport {
        let count = self.count as f64;
        let time_per_mistake = (self.count > 0)
            .then(|| Estimate { mean: watched / count, error: watched / count / count.sqrt() });
        MistakeReport {
            count: self.count,
            recurrence: self.recurrence.estimate(),
            time_per_mistake,
            duration: self.duration.estimate(),
        }
    }
}

impl Crashes {
    fn settle(&mut self, since: Micros, detected_at: Option<Micros>, returned: bool) {
        match detected_at {
            Some(at) => self.times.add(at - since),
            None if returned => self.undetected += 1,
            None => self.open += 1,
        }
    }

    fn report(self) -> DetectionReport {
        DetectionReport { time: self.times.spread(), undetected: self.undetected, open: self.open }
    }
}

fn seconds(span: Micros) -> f64 {
    span as f64 / crate::server::SECOND as f64
}

#[cfg(test)]
mod tests;
