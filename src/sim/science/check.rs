//! The check of the simulator itself: two detectors whose quality of service is known in closed
//! form, through the same world that measures everybody else.

use crate::analytic::{self, Expected};
use crate::network::Network;
use crate::peers::nfd::{NfdE, NfdS};
use crate::quality::{Estimate, Quality, Report};
use crate::server::{AgentIndex, Change, MS, Micros, SECOND, Server};
use crate::world::{Observer, Setting, World};

/// Distance of heartbeats. Source: Chen, Toueg and Aguilera 2002, section 7, as all of these.
const INTERVAL: Micros = SECOND;
/// Share that is lost.
const LOSS: f64 = 0.01;
/// Mean of the exponential delay.
const DELAY: Micros = 20 * MS;
/// Agents, each an experiment of its own.
const AGENTS: u32 = 200;
/// Mistakes after which a point is known well enough: to 2 %.
const ENOUGH: u64 = 2_500;

/// Detection bounds, in milliseconds.
pub const BOUNDS_MS: [u64; 11] =
    [1_000, 1_250, 1_500, 1_750, 2_000, 2_250, 2_500, 2_750, 3_000, 3_250, 3_500];

/// Which detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With synchronised clocks.
    NfdS,
    /// With arrivals estimated from the last 32.
    NfdE,
}

/// One point of the check.
#[derive(Clone, Debug)]
pub struct Point {
    /// Which detector.
    pub kind: Kind,
    /// Detection bound, in seconds.
    pub bound: f64,
    /// What theory says of NFD-S; NFD-E comes close to it.
    pub theory: Expected,
    /// Heartbeats of the run.
    pub heartbeats: u64,
    /// What was measured.
    pub report: Report,
}

/// Everybody lives; only mistakes are counted.
struct Living(Quality);

impl Observer for Living {
    fn started(&mut self, now: Micros, agent: AgentIndex) {
        self.0.handle_up(now, agent);
    }

    fn changed(&mut self, now: Micros, change: Change) {
        self.0.handle_change(now, change);
    }
}

/// Runs one point until it is known well, or `most` heartbeats were handled.
#[must_use]
pub(super) fn point(kind: Kind, bound_ms: u64, most: u64, seed: u64) -> Point {
    let bound = bound_ms * MS;
    let shift = bound.saturating_sub(INTERVAL);
    match kind {
        Kind::NfdS => run(kind, bound, NfdS::new(INTERVAL, shift), most, seed),
        Kind::NfdE => {
            let margin = shift.saturating_sub(DELAY);
            run(kind, bound, NfdE::new(INTERVAL, margin), most, seed)
        }
    }
}

fn run(kind: Kind, bound: Micros, server: impl Server, most: u64, seed: u64) -> Point {
    let network = Network { delay_min: 0, delay_mean: DELAY, loss: LOSS, ..Network::default() };
    let setting =
        Setting { seed, agents: AGENTS, start_within: INTERVAL, network, ..Setting::default() };
    let mut world = World::new(&setting, server, Living(Quality::new(AGENTS as usize)));
    let theory = theory(seconds(bound));
    let rate = 1.0 / theory.recurrence;
    let wanted = ENOUGH as f64 / rate / f64::from(AGENTS);
    let ends = (wanted * SECOND as f64) as Micros;
    while world.now() < ends && world.handled() < most {
        let until = world.now() + (ends - world.now()).min(100 * SECOND);
        world.run_until(until);
    }
    let (heartbeats, now) = (world.handled(), world.now());
    let report = world.observer.0.finish(now);
    Point { kind, bound: seconds(bound), theory, heartbeats, report }
}

/// What theory says of NFD-S for a detection bound in seconds.
pub(super) fn theory(bound: f64) -> Expected {
    analytic::exponential(seconds(INTERVAL), bound, LOSS, seconds(DELAY))
}

fn seconds(span: Micros) -> f64 {
    span as f64 / SECOND as f64
}

impl Point {
    /// Time from one mistake to the next, with its error. Few mistakes an agent make the distance
    /// of two of them look too short; time for each mistake is right however few there are.
    #[must_use]
    pub fn between_mistakes(&self) -> Option<Estimate> {
        self.report.false_suspicions.time_per_mistake
    }

    /// How many standard errors the measured recurrence is off.
    #[must_use]
    pub fn off(&self) -> Option<f64> {
        let found = self.between_mistakes()?;
        Some((found.mean - self.theory.recurrence) / found.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Through the kernel that everything else runs in: queue, links, agents' timers.
    #[test]
    fn the_world_gives_what_theory_says() {
        for (kind, bound_ms) in [(Kind::NfdS, 1_500), (Kind::NfdE, 1_500), (Kind::NfdS, 2_250)] {
            let point = point(kind, bound_ms, 600_000, 3);
            let off = point.off().expect("mistakes were made");
            assert!(off.abs() < 4.0, "{point:?}: off by {off} standard errors");
        }
    }
}
