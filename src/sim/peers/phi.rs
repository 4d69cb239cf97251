//! Detectors that suspect by the history of arrivals: φ accrual as Akka and as Cassandra have it.
//!
//! φ(t) = −log₁₀ P(the next heartbeat comes later than t after the last). Source of the idea:
//! Hayashibara, Défago, Yared, Katayama, "The φ Accrual Failure Detector", SRDS 2004. Both
//! implementations ask for φ once a second, so an agent turns suspect at a whole second, and one
//! whose heartbeat comes before that second was never suspected. That both find φ above a threshold
//! from some instant on is used here: the instant is computed at each heartbeat, φ never.
//!
//! **Scaled.** Both run at one heartbeat a second. Run at another interval, what they publish as an
//! absolute time about *arrivals* is scaled with it: Akka's `min-std-deviation`,
//! `acceptable-heartbeat-pause` and first estimate, Cassandra's first and longest sample. The
//! second between two looks is not: it says how often the detector acts, not what it expects.
//!
//! Assumed: agents that come back are trusted at their heartbeat, not at the next look; Cassandra's
//! heartbeats come from the agent alone, not by gossip, and its rule about local pauses of 5 s is
//! left out; after a restart the history is lost, and each agent is treated as if its first
//! heartbeat came then (Akka's expected first heartbeat).

mod window;

use super::roster::{Arrival, Roster, direct, once_every};
use crate::server::{AgentIndex, MS, Micros, Outbox, Protocol, Request, SECOND, Server, Standing};
use window::Window;

/// Akka's `unreachable-nodes-reaper-interval`, Cassandra's `Gossiper.intervalInMillis`.
const LOOK: Micros = SECOND;

/// Samples that are kept of each agent. Source: Akka's `max-sample-size`, Cassandra's
/// `SAMPLE_SIZE`. They take 4 KB an agent.
const SAMPLES: usize = 1_000;

/// What Akka lets one configure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AkkaSettings {
    /// `heartbeat-interval`, and the estimate before there are arrivals.
    pub interval: Micros,
    /// `threshold`: φ from which an agent is not available.
    pub threshold: f64,
    /// `max-sample-size`.
    pub samples: usize,
    /// `min-std-deviation`.
    pub min_deviation: Micros,
    /// `acceptable-heartbeat-pause`.
    pub pause: Micros,
}

impl AkkaSettings {
    /// The defaults of `akka.cluster.failure-detector`, scaled to this interval.
    /// Source: akka, `akka-cluster/src/main/resources/reference.conf`.
    #[must_use]
    pub const fn cluster(interval: Micros) -> Self {
        Self {
            interval,
            threshold: 8.0,
            samples: SAMPLES,
            min_deviation: interval / 10,
            pause: 3 * interval,
        }
    }
}

/// φ by a normal distribution. Source: akka, `PhiAccrualFailureDetector.scala`.
#[derive(Debug)]
pub struct PhiAkka {
    settings: AkkaSettings,
    /// Deviations beyond the mean at which φ comes to the threshold.
    deviations: f64,
    roster: Roster<History>,
}

impl PhiAkka {
    /// # Panics
    /// If the threshold is not above 0, as in the original.
    #[must_use]
    pub fn new(settings: AkkaSettings) -> Self {
        assert!(settings.threshold > 0.0, "a threshold of 0 is never passed");
        let deviations = deviations_at(settings.threshold);
        Self { settings, deviations, roster: Roster::new() }
    }
}

impl Server for PhiAkka {
    fn protocol(&self) -> Protocol {
        once_every(self.settings.interval)
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let arrival = self.roster.arrive(request, out);
        let history = match arrival {
            Arrival::Left | Arrival::Refused => return,
            Arrival::First | Arrival::Again => self.roster.own(request.agent),
        };
        if arrival == Arrival::First {
            history.begin(&self.settings);
        } else if now / MS < history.available_until {
            history.window.push((now / MS - history.last) as u32, self.settings.samples);
        }
        let look = history.look_after(now, &self.settings, self.deviations);
        self.roster.arm(request.agent, look);
        self.roster.stand(request.agent, Standing::Alive, out);
        direct(request, self.settings.interval, out);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.roster.next_deadline()
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        self.roster.fail_expired(now, out);
    }

    fn crash(&mut self, _now: Micros) {
        self.roster.crash();
    }

    fn restart(&mut self, now: Micros, _out: &mut Outbox) {
        for agent in self.roster.watched() {
            let history = self.roster.own(agent);
            history.begin(&self.settings);
            let look = history.look_after(now, &self.settings, self.deviations);
            self.roster.arm(agent, look);
        }
    }
}

/// What Akka keeps of an agent; instants and samples are in milliseconds, as there.
#[derive(Debug, Default)]
struct History {
    window: Window,
    last: u64,
    /// From here on φ is not below the threshold.
    available_until: u64,
}

impl History {
    /// Two arrivals about the estimate, far apart.
    fn begin(&mut self, settings: &AkkaSettings) {
        let mean = (settings.interval / MS) as u32;
        self.window.clear();
        self.window.push(mean - mean / 4, settings.samples);
        self.window.push(mean + mean / 4, settings.samples);
    }

    /// The first look that finds an agent not available that is silent from now on.
    fn look_after(&mut self, now: Micros, settings: &AkkaSettings, deviations: f64) -> Micros {
        let milliseconds = |span: Micros| span as f64 / MS as f64;
        let deviation = self.window.deviation().max(milliseconds(settings.min_deviation));
        let mean = self.window.mean() + milliseconds(settings.pause);
        self.last = now / MS;
        self.available_until = self.last + deviations.mul_add(deviation, mean).ceil() as u64;
        (self.available_until * MS).next_multiple_of(LOOK)
    }
}

/// φ of a silence, by the logistic approximation of the normal distribution.
#[must_use]
pub fn phi(silence: f64, mean: f64, deviation: f64) -> f64 {
    let y = (silence - mean) / deviation;
    // The original's two branches are one function; this form loses nothing on either side.
    (logistic(y).exp().ln_1p()) / std::f64::consts::LN_10
}

/// The exponent of the approximation.
fn logistic(y: f64) -> f64 {
    y * (0.070_566 * y).mul_add(y, 1.597_6)
}

/// Deviations beyond the mean at which φ comes to a threshold: φ's inverse, by Newton's method.
fn deviations_at(threshold: f64) -> f64 {
    let exponent = (threshold * std::f64::consts::LN_10).exp_m1().ln();
    // The derivative is at least 1.5976, so each step is short and soon exact.
    (0..64).fold(0.0_f64, |y, _| y - (logistic(y) - exponent) / (0.211_698 * y).mul_add(y, 1.597_6))
}

/// φ by an exponential distribution. Source: apache/cassandra, `FailureDetector.java`
/// (`ArrivalWindow`): φ = `PHI_FACTOR` × silence ÷ mean.
#[derive(Debug)]
pub struct PhiCassandra {
    interval: Micros,
    /// Mean intervals of silence that are borne.
    means: f64,
    roster: Roster<Arrivals>,
}

/// What Cassandra keeps of an agent; samples are in microseconds.
#[derive(Debug, Default)]
struct Arrivals {
    window: Window,
    last: Micros,
}

impl PhiCassandra {
    /// `phi_convict_threshold`. Source: Cassandra's `conf/cassandra.yaml`.
    pub const THRESHOLD: f64 = 8.0;

    /// With the published threshold, at this interval: at most 35 min, so that samples fit.
    ///
    /// # Panics
    /// If the interval is longer.
    #[must_use]
    pub fn new(interval: Micros) -> Self {
        assert!(2 * interval <= u32::MAX as Micros, "samples are 32 bits wide");
        let means = Self::THRESHOLD * std::f64::consts::LN_10;
        Self { interval, means, roster: Roster::new() }
    }

    /// `INITIAL_VALUE_NANOS` and, by default, `MAX_INTERVAL_IN_NANO`: two intervals.
    const fn longest_sample(&self) -> Micros {
        2 * self.interval
    }

    fn begin(&mut self, now: Micros, agent: AgentIndex) {
        let longest = self.longest_sample() as u32;
        let arrivals = self.roster.own(agent);
        arrivals.last = now;
        arrivals.window.clear();
        arrivals.window.push(longest, SAMPLES);
    }

    /// The first look that convicts an agent that is silent from its last heartbeat on.
    fn look_for(&mut self, agent: AgentIndex) {
        let arrivals = self.roster.own(agent);
        let borne = (self.means * arrivals.window.mean()) as Micros;
        // Convicted *above* the threshold.
        let look = (arrivals.last + borne + 1).next_multiple_of(LOOK);
        self.roster.arm(agent, look);
    }
}

impl Server for PhiCassandra {
    fn protocol(&self) -> Protocol {
        once_every(self.interval)
    }

    fn handle(&mut self, now: Micros, request: &Request, out: &mut Outbox) {
        let longest = self.longest_sample();
        match self.roster.arrive(request, out) {
            Arrival::Left | Arrival::Refused => return,
            Arrival::First => self.begin(now, request.agent),
            Arrival::Again => {
                let arrivals = self.roster.own(request.agent);
                let sample = now - std::mem::replace(&mut arrivals.last, now);
                if sample <= longest {
                    arrivals.window.push(sample as u32, SAMPLES);
                }
            }
        }
        self.look_for(request.agent);
        self.roster.stand(request.agent, Standing::Alive, out);
        direct(request, self.interval, out);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.roster.next_deadline()
    }

    fn handle_deadlines(&mut self, now: Micros, out: &mut Outbox) {
        self.roster.fail_expired(now, out);
    }

    fn crash(&mut self, _now: Micros) {
        self.roster.crash();
    }

    fn restart(&mut self, now: Micros, _out: &mut Outbox) {
        for agent in self.roster.watched() {
            self.begin(now, agent);
            self.look_for(agent);
        }
    }
}

#[cfg(test)]
mod tests;
