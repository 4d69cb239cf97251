//! The work that an agent of the demo pretends to do: a queue, tasks, errors, progress.
//!
//! Times here are those of real life: whoever steps it multiplies by the demo's speed.

use super::chance::Chance;

/// Pieces of work that arrive in a second when all is calm.
const ARRIVALS: f64 = 4.0;
/// Pieces that an agent can do in a second.
const CAPACITY: f64 = 6.0;
/// The same when it works at its limit.
const CAPACITY_PRESSED: f64 = 24.0;
/// Seconds over which a surge arrives, after a first third at once.
const SURGE_SECONDS: f64 = 20.0;
/// Queue from which an agent calls itself busy.
const BUSY: f64 = 100.0;

/// The work of one agent.
#[derive(Debug)]
pub(super) struct Workload {
    chance: Chance,
    queue: f64,
    /// Pieces of a surge that are still to arrive.
    coming: f64,
    /// Pieces that arrive of it in a second.
    inflow: f64,
    done: f64,
    errors: f64,
    stalled: bool,
}

impl Workload {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            queue: 0.0,
            coming: 0.0,
            inflow: 0.0,
            done: 0.0,
            errors: 0.0,
            stalled: false,
        }
    }

    /// A burst of this many pieces begins.
    pub(super) fn surge(&mut self, pieces: f64) {
        self.queue += pieces / 3.0;
        self.coming += pieces * 2.0 / 3.0;
        self.inflow = self.coming / SURGE_SECONDS;
    }

    /// Work stops, though the agent goes on beating.
    pub(super) const fn stall(&mut self) {
        self.stalled = true;
    }

    /// Lets `seconds` pass.
    pub(super) fn step(&mut self, seconds: f64) {
        let burst = (self.inflow * seconds).min(self.coming);
        self.coming -= burst;
        self.queue += burst + ARRIVALS * seconds * self.chance.between(0.5, 1.5);
        if self.stalled {
            return;
        }
        let capacity = if self.is_busy() { CAPACITY_PRESSED } else { CAPACITY };
        let done = (capacity * seconds * self.chance.between(0.8, 1.2)).min(self.queue);
        self.queue -= done;
        self.done += done;
        let errors = if self.is_busy() { 0.001 } else { 0.000_2 };
        self.errors += done * errors * self.chance.between(0.0, 2.0);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.queue > BUSY
    }

    /// Whether more arrives than gets done.
    pub(super) fn is_rising(&self) -> bool {
        self.coming > 0.0 || self.stalled
    }

    pub(super) fn queue(&self) -> u64 {
        self.queue as u64
    }

    pub(super) fn tasks(&self) -> u64 {
        if self.stalled { 1 } else { (self.queue as u64).clamp(1, 8) }
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors as u64
    }

    pub(super) fn watermark(&self) -> u64 {
        self.done as u64
    }

    /// Typical time of one piece, in milliseconds.
    pub(super) fn latency_ms(&self) -> f64 {
        (self.tasks() as f64) * 1_000.0 / CAPACITY_PRESSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(workload: &mut Workload, seconds: u32) {
        for _ in 0..seconds * 10 {
            workload.step(0.1);
        }
    }

    #[test]
    fn a_surge_rises_and_drains_again() {
        let mut workload = Workload::new(1);
        run(&mut workload, 60);
        assert!(workload.queue() < 20 && !workload.is_busy());
        workload.surge(1_200.0);
        assert!(workload.is_busy() && workload.is_rising());
        let at_once = workload.queue();
        run(&mut workload, 10);
        assert!(workload.queue() > at_once, "it goes on rising");
        run(&mut workload, 120);
        assert!(workload.queue() < 20 && !workload.is_rising(), "{}", workload.queue());
    }

    #[test]
    fn a_stall_keeps_the_watermark() {
        let mut workload = Workload::new(1);
        run(&mut workload, 10);
        workload.stall();
        let watermark = workload.watermark();
        run(&mut workload, 10);
        assert_eq!(workload.watermark(), watermark);
        assert!(workload.queue() > 20, "work piles up");
    }
}
