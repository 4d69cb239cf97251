//! The hunt: random mixes of faults, everything checked after every step, then healing, then a
//! phase in which all must come well; and a run that fails made as small as it goes.
//!
//! Safety: while faults last, nothing that must not be, is. Liveness: once they are over, within
//! [`SETTLES`] every agent beats and is alive, no incident is open, leases are held by agents that
//! live, and intervals have come to rest.

mod plan;
mod watchdog;

use std::fmt;

use pulsegate_core::{Millis, Slot};

pub use plan::{AGENTS_MAX, BadPlan, Fault, MINUTES_MAX, Plan};
pub use watchdog::Watchdog;

use crate::Running;
use crate::gateway::{Gateway, Mistake, Violation};
use crate::server::{HOUR, MINUTE, Micros, SECOND, Standing};
use crate::world::World;

/// Runs that failed once, and must not again; one line each, as [`Plan`] writes it.
pub const KEPT: &str = include_str!("seeds.txt");

/// Time from the end of all faults until everything is well: the longest deadline of a class
/// (300 s and 180 s of grace), its spread after a restart, all rungs of recovery, and the turning
/// budget of 20 min that an interval may have to wait for, with 15 moves of up to five minutes to
/// follow. Source: DESIGN §4, §5.
pub const SETTLES: Micros = 3 * HOUR;
/// How long intervals must then stand still.
const RESTS: Micros = HOUR;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Attempts that the gateway handled.
    pub handled: u64,
    /// Virtual time that passed.
    pub lasted: Micros,
    /// Suspicions of agents that ran, each with an excuse.
    pub excused: u64,
    /// Digest of the whole history: equal for equal runs.
    pub digest: u64,
    /// What was found wrong, the earliest first.
    pub violations: Vec<Violation>,
}

/// What happens while runs go on; for a display of progress.
pub trait Progress {
    /// Virtual time has come to this, of so much.
    fn passed(&mut self, now: Micros, of: Micros);
}

impl Progress for () {
    fn passed(&mut self, _now: Micros, _of: Micros) {}
}

/// Runs a plan: safety, healing, liveness.
///
/// # Panics
/// If the built-in policy cannot be made: a bug.
pub fn run(plan: &Plan, mistake: Option<Mistake>, progress: &mut dyn Progress) -> Outcome {
    let gateway = Gateway::new(plan.options(mistake));
    let gateway = gateway.expect("the built-in policy needs nothing");
    let mut world = World::new(&plan.setting(), gateway, Watchdog::new(plan.agents));
    let ends = plan.lasts() + SETTLES + RESTS;
    let mut digest = 0;
    let safe = pass(&mut world, plan.lasts(), ends, &mut digest, progress);
    if safe {
        world.heal();
        let now = world.now();
        world.server.heal(now);
        let settles = now + SETTLES;
        if pass(&mut world, settles, ends, &mut digest, progress) {
            check_liveness(&mut world, progress, ends, &mut digest);
        }
    }
    let now = world.now();
    let counted = world.observer.take_counted();
    world.server.finish(now, counted);
    let excused = world.observer.excused;
    if excused > 0 && !plan.excuses() {
        let text = format!("{excused} agents were suspected, and no fault was on that excuses it");
        world.server.violate(now, "obeying_is_never_suspect", text);
    }
    let mut violations = world.server.violations().to_vec();
    violations.extend_from_slice(world.observer.violations());
    violations.sort_by_key(|violation| violation.at);
    Outcome { handled: world.handled(), lasted: now, excused, digest, violations }
}

/// Lets time pass minute by minute; ends early when something is wrong.
fn pass(
    world: &mut World<Gateway, Watchdog>,
    until: Micros,
    of: Micros,
    digest: &mut u64,
    progress: &mut dyn Progress,
) -> bool {
    while world.now() < until {
        let next = (world.now() + MINUTE).min(until);
        world.run_until(next);
        let sum = world.server.machine().digest(|_| "default") ^ world.handled();
        *digest = digest.rotate_left(7) ^ sum.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        progress.passed(world.now(), of);
        let wrong = world.server.violations().len() + world.observer.violations().len();
        if wrong > 0 {
            return false;
        }
    }
    true
}

/// Everybody runs, and so everybody is well.
fn check_liveness(
    world: &mut World<Gateway, Watchdog>,
    progress: &mut dyn Progress,
    of: Micros,
    digest: &mut u64,
) {
    let now = world.now();
    let mut wrong = Vec::new();
    for agent in 0..world.agents() {
        let standing = world.server.standing(agent);
        let running = world.running(agent);
        if (running, standing) != (Running::Up, Standing::Alive) {
            wrong.push(format!("agent {agent} is {running:?} and {standing:?}"));
        }
    }
    let machine = world.server.machine();
    let rows = machine.slots(Slot(0)).filter_map(|slot| machine.export(Millis(0), slot, "default"));
    let ill = rows.filter(|row| row.incident.is_some() || row.action.is_some());
    wrong.extend(ill.map(|row| format!("{} is still recovered: {:?}", row.agent_id, row.incident)));
    let (held, wanted) = (world.server.leases_held(), world.leases_wanted());
    if held != wanted {
        wrong.push(format!("{held} leases are held, {wanted} are wanted"));
    }
    let before = intervals(world);
    let turns = world.turns();
    pass(world, now + RESTS, of, digest, progress);
    let moved: Vec<_> = before.iter().zip(intervals(world)).filter(|(a, b)| **a != *b).collect();
    if !moved.is_empty() || world.turns() != turns {
        wrong.push(format!("intervals move for ever: {moved:?}"));
    }
    for text in wrong {
        world.server.violate(now, "all_comes_well", text);
    }
}

/// Stored intervals of all agents.
fn intervals(world: &World<Gateway, Watchdog>) -> Vec<Option<u32>> {
    let machine = world.server.machine();
    (0..world.agents())
        .map(|agent| {
            let slot = world.server.slot(agent)?;
            machine.info(Millis(0), slot).map(|info| info.interval_ms)
        })
        .collect()
}

/// Makes a run that fails as small as it goes: fewer faults, fewer agents, less time, as long as
/// the same rule is broken. At most `tries` runs.
#[must_use]
pub fn shrink(plan: &Plan, rule: &str, mistake: Option<Mistake>, mut tries: u32) -> Plan {
    let mut smallest = plan.clone();
    let mut fails = |candidate: &Plan| {
        if tries == 0 {
            return false;
        }
        tries -= 1;
        let outcome = run(candidate, mistake, &mut ());
        outcome.violations.first().is_some_and(|first| first.rule == rule)
    };
    loop {
        let before = smallest.clone();
        for fault in before.faults.clone() {
            let faults = smallest.faults.iter().copied().filter(|other| *other != fault).collect();
            let candidate = Plan { faults, ..smallest.clone() };
            if fails(&candidate) {
                smallest = candidate;
            }
        }
        for agents in [1, 2, 4, smallest.agents / 2] {
            let candidate = Plan { agents, ..smallest.clone() };
            if (1..smallest.agents).contains(&agents) && fails(&candidate) {
                smallest = candidate;
                break;
            }
        }
        for minutes in [smallest.minutes / 8, smallest.minutes / 2, smallest.minutes * 3 / 4] {
            let candidate = Plan { minutes, ..smallest.clone() };
            if (1..smallest.minutes).contains(&minutes) && fails(&candidate) {
                smallest = candidate;
                break;
            }
        }
        if smallest == before {
            return smallest;
        }
    }
}

/// The plans of [`KEPT`].
///
/// # Errors
/// The first line that is no plan.
pub fn kept() -> Result<Vec<Plan>, BadPlan> {
    let lines = KEPT.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    lines.filter(|line| !line.is_empty()).map(str::parse).collect()
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at as f64 / SECOND as f64;
        write!(f, "{} at {seconds:.3} s: {}", self.rule, self.text)
    }
}

#[cfg(test)]
mod tests;
