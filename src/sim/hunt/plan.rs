//! One run: a seed, and which faults are on. Written as a line, and read back from it.

use std::fmt;
use std::str::FromStr;

use pulsegate_core::{ClassId, Config};

use crate::clocks::Drift;
use crate::gateway::{Disk, Executors, Mistake, Options, Policies};
use crate::lives::{Crashes, Lives, Pauses, Surges};
use crate::network::{Burst, Network, Partition};
use crate::random::Random;
use crate::server::{HOUR, MINUTE, MS, Micros, SECOND};
use crate::world::{Act, Setting};

/// A kind of fault. What exactly happens follows from the seed, for each kind by itself: leaving
/// one out does not change the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Messages are lost, each by itself.
    Loss,
    /// Messages are lost together.
    Burst,
    /// Messages arrive twice.
    Duplicates,
    /// Messages are held up for seconds and overtaken.
    Reorder,
    /// Delays of hundreds of milliseconds.
    Slow,
    /// Some agents are cut off for minutes, one way or both.
    Partition,
    /// Agents crash, with and without a sign, or leave.
    Crash,
    /// Agents stand still for seconds to minutes.
    Pause,
    /// Agents have much to do for a while.
    Surge,
    /// Many agents start anew at once.
    MassRestart,
    /// The gateway is killed, and another takes over from its journal.
    Kill,
    /// The gateway stands still.
    Stall,
    /// Clocks of agents run wrong.
    Drift,
    /// Commits take long.
    SlowDisk,
    /// The disk is full at times.
    FullDisk,
    /// Heartbeats come over their quota.
    Quota,
    /// Verdicts come late.
    LateVerdict,
    /// The policy says anything at all.
    Erratic,
    /// Operators pause, resume, stop and command agents.
    Operator,
    /// Executors fail.
    Executor,
    /// The fleet is larger than the budget.
    Budget,
    /// Agents compete for leases.
    Lease,
    /// The gateway has no journal: whatever it knew is lost when it is killed. No leases then, as
    /// nothing could keep their tokens rising.
    Ephemeral,
}

/// Every fault with its word.
const FAULTS: [(Fault, &str); 23] = [
    (Fault::Loss, "loss"),
    (Fault::Burst, "burst"),
    (Fault::Duplicates, "duplicates"),
    (Fault::Reorder, "reorder"),
    (Fault::Slow, "slow"),
    (Fault::Partition, "partition"),
    (Fault::Crash, "crash"),
    (Fault::Pause, "pause"),
    (Fault::Surge, "surge"),
    (Fault::MassRestart, "mass-restart"),
    (Fault::Kill, "kill"),
    (Fault::Stall, "stall"),
    (Fault::Drift, "drift"),
    (Fault::SlowDisk, "slow-disk"),
    (Fault::FullDisk, "full-disk"),
    (Fault::Quota, "quota"),
    (Fault::LateVerdict, "late-verdict"),
    (Fault::Erratic, "erratic"),
    (Fault::Operator, "operator"),
    (Fault::Executor, "executor"),
    (Fault::Budget, "budget"),
    (Fault::Lease, "lease"),
    (Fault::Ephemeral, "ephemeral"),
];

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of everything that is drawn.
    pub seed: u64,
    /// Agents; 1 to [`AGENTS_MAX`].
    pub agents: u32,
    /// How long faults go on, in minutes of virtual time; 1 to [`MINUTES_MAX`].
    pub minutes: u32,
    /// Faults that are on, in order.
    pub faults: Vec<Fault>,
}

/// A line that is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPlan(String);

/// Most agents of a plan.
pub const AGENTS_MAX: u32 = 1_000_000;
/// Most minutes of a plan: some years.
pub const MINUTES_MAX: u32 = 2_000_000;

impl Plan {
    /// A run in which the seed decides everything. Each fault is on in a third of all runs, so that
    /// both many and few of them meet; a small fleet, for hours.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, "plan");
        let agents = 1 + random.below(30) as u32;
        let minutes = 30 + random.below(450) as u32;
        let share = [0.1, 0.35, 0.7][random.below(3) as usize];
        let drawn = FAULTS.iter().filter(|_| random.happens(share));
        let faults = drawn.map(|(fault, _)| *fault).collect();
        Self { seed, agents, minutes, faults }
    }

    /// Whether a fault is on.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// How long faults go on.
    #[must_use]
    pub fn lasts(&self) -> Micros {
        Micros::from(self.minutes) * MINUTE
    }

    /// Whether a fault is on that can keep an attempt from arriving in time, or an agent from
    /// sending it.
    #[must_use]
    pub fn excuses(&self) -> bool {
        use Fault::{Burst, Kill, Loss, Partition, Pause, Reorder, Slow, Stall};
        [Loss, Burst, Reorder, Slow, Partition, Pause, Kill, Stall].iter().any(|f| self.has(*f))
    }

    fn chance(&self, fault: Fault) -> Option<Random> {
        self.has(fault).then(|| Random::new(self.seed, fault.as_str()))
    }

    /// The world of this run.
    #[must_use]
    pub fn setting(&self) -> Setting {
        Setting {
            seed: self.seed,
            agents: self.agents,
            network: self.network(),
            drift: self.drift(),
            lives: self.lives(),
            script: self.script(),
            leases: self.leases(),
            rivals: 3,
            ..Setting::default()
        }
    }

    fn leases(&self) -> u32 {
        if self.has(Fault::Lease) && !self.has(Fault::Ephemeral) { 1 + self.agents / 4 } else { 0 }
    }

    fn network(&self) -> Network {
        let mut network = Network::default();
        if let Some(mut random) = self.chance(Fault::Loss) {
            network.loss = 0.5 * random.share() * random.share();
        }
        if let Some(mut random) = self.chance(Fault::Burst) {
            let mut mean = |most: u64| SECOND * (1 + random.below(most));
            network.burst = Some(Burst { good: mean(600), bad: mean(60), loss: 0.9 });
        }
        if let Some(mut random) = self.chance(Fault::Duplicates) {
            network.duplicates = 0.5 * random.share();
        }
        if let Some(mut random) = self.chance(Fault::Reorder) {
            network.held_up = 0.3 * random.share();
        }
        if let Some(mut random) = self.chance(Fault::Slow) {
            network.delay_mean = MS * (20 + random.below(800));
        }
        network
    }

    fn drift(&self) -> Drift {
        let Some(mut random) = self.chance(Fault::Drift) else { return Drift::None };
        let ppm = 1 + random.below(Drift::MOST_PPM.into()) as u32;
        [Drift::Linear(ppm), Drift::Stepping(ppm), Drift::Periodic(ppm)][random.below(3) as usize]
    }

    fn lives(&self) -> Lives {
        let mut lives = Lives { have_queue: true, tasks: Some(0), ..Lives::default() };
        if let Some(mut random) = self.chance(Fault::Crash) {
            lives.crashes = Some(Crashes {
                every: MINUTE * random.between(10, 300),
                down: SECOND * random.between(1, 1_200),
                warned: 0.3,
                leaves: 0.3 * random.share(),
            });
        }
        if let Some(mut random) = self.chance(Fault::Pause) {
            lives.pauses = Some(Pauses {
                every: MINUTE * random.between(2, 60),
                median: MS * random.between(100, 30_000),
                sigma: 1.5,
            });
        }
        if let Some(mut random) = self.chance(Fault::Surge) {
            lives.surges = Some(Surges {
                every: MINUTE * random.between(2, 60),
                lasts: SECOND * random.between(10, 900),
                depth: random.between(10, 5_000),
            });
        }
        lives
    }

    /// What happens to everybody.
    fn script(&self) -> Vec<(Micros, Act)> {
        let mut script = Vec::new();
        let ends = self.lasts();
        if let Some(mut random) = self.chance(Fault::Partition) {
            each(&mut random, ends, 40 * MINUTE, |random, at| {
                let way = random.below(3);
                let cut = Partition {
                    share: random.share(),
                    salt: random.next(),
                    to_server: way != 1,
                    to_agents: way != 0,
                };
                let lasts = after(random, 3 * MINUTE);
                script.push((at, Act::Cut(cut)));
                script.push((at + lasts, Act::Mend));
                lasts
            });
        }
        if let Some(mut random) = self.chance(Fault::MassRestart) {
            each(&mut random, ends, 90 * MINUTE, |random, at| {
                let within = after(random, 10 * SECOND);
                script.push((at, Act::Restart { share: random.share(), within }));
                within
            });
        }
        if let Some(mut random) = self.chance(Fault::Kill) {
            let gap = [10 * SECOND, MINUTE, 20 * MINUTE, 2 * HOUR][random.below(4) as usize];
            let down = [100 * MS, 5 * SECOND, 2 * MINUTE][random.below(3) as usize];
            each(&mut random, ends, gap, |random, at| {
                let lasts = after(random, down);
                if random.happens(0.5) {
                    script.push((at, Act::Kill(lasts)));
                } else {
                    script.push((at, Act::Crash));
                    script.push((at + lasts, Act::Recover));
                }
                lasts
            });
        }
        if let Some(mut random) = self.chance(Fault::Stall) {
            each(&mut random, ends, 30 * MINUTE, |random, at| {
                let lasts = after(random, 20 * SECOND);
                script.push((at, Act::Stall(lasts)));
                lasts
            });
        }
        script
    }

    /// The gateway of this run.
    #[must_use]
    pub fn options(&self, mistake: Option<Mistake>) -> Options {
        let mut core = Config::default();
        if let Some(mut random) = self.chance(Fault::Budget) {
            // From a tenth of what the fleet would send to all of it.
            let wants = f64::from(self.agents) / 30.0;
            core.budget_per_second = wants * (0.1 + 0.9 * random.share());
        }
        let policies = match (self.has(Fault::Erratic), self.has(Fault::Surge)) {
            (true, _) => Policies::Erratic,
            // With rules for early heartbeats, in Wasm as in the gateway.
            (false, true) => Policies::reference("steady", "queue-pressure", "ladder"),
            (false, false) => Policies::Builtin,
        };
        let share = |fault, most: f64| self.chance(fault).map_or(0.0, |mut r| most * r.share());
        Options {
            seed: self.seed,
            agents: self.agents,
            leases: self.leases(),
            core,
            classes: vec![ClassId(1), ClassId(0), ClassId(1), ClassId(2)],
            policies,
            disk: (!self.has(Fault::Ephemeral)).then(|| self.disk()),
            executors: Some(Executors {
                fails: share(Fault::Executor, 0.9),
                ..Executors::default()
            }),
            limited: share(Fault::Quota, 0.3),
            late_verdicts: share(Fault::LateVerdict, 0.3),
            operator: self.chance(Fault::Operator).map(|mut r| SECOND * r.between(10, 600)),
            checked: true,
            mistake,
        }
    }

    fn disk(&self) -> Disk {
        let mut disk = Disk::default();
        if let Some(mut random) = self.chance(Fault::SlowDisk) {
            disk.commit = MS * random.between(1, 400);
            disk.slow = 0.2 * random.share();
        }
        if let Some(mut random) = self.chance(Fault::FullDisk) {
            disk.full_every = Some(MINUTE * random.between(5, 120));
            disk.full_lasts = SECOND * random.between(1, 600);
        }
        disk
    }
}

/// Lets something happen again and again, each time for as long as it says.
fn each(
    random: &mut Random,
    ends: Micros,
    gap: Micros,
    mut happen: impl FnMut(&mut Random, Micros) -> Micros,
) {
    let mut at = after(random, gap);
    while at < ends {
        let lasts = happen(random, at);
        at += lasts + after(random, gap);
    }
}

fn after(random: &mut Random, mean: Micros) -> Micros {
    1 + random.exponential(mean as f64) as Micros
}

impl Fault {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        FAULTS.iter().find(|(fault, _)| *fault == self).map_or("", |(_, word)| word)
    }

    /// Every word.
    #[must_use]
    pub fn words() -> Vec<&'static str> {
        FAULTS.iter().map(|(_, word)| *word).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, agents, minutes, faults } = self;
        let words: Vec<&str> = faults.iter().map(|fault| fault.as_str()).collect();
        let faults = if words.is_empty() { "none".to_owned() } else { words.join(",") };
        write!(f, "--seed {seed} --agents {agents} --minutes {minutes} --faults {faults}")
    }
}

impl FromStr for Fault {
    type Err = BadPlan;

    fn from_str(word: &str) -> Result<Self, BadPlan> {
        let found = FAULTS.iter().find(|(_, known)| *known == word);
        let (fault, _) = found.ok_or_else(|| {
            BadPlan(format!("no fault is called {word}; there are {}", Fault::words().join(", ")))
        })?;
        Ok(*fault)
    }
}

impl FromStr for Plan {
    type Err = BadPlan;

    /// Reads what [`Plan`] writes.
    fn from_str(line: &str) -> Result<Self, BadPlan> {
        let mut plan = Self { seed: 0, agents: 0, minutes: 0, faults: Vec::new() };
        let mut words = line.split_whitespace();
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| BadPlan(format!("{flag} needs a value")))?;
            let number = || value.parse().map_err(|_| BadPlan(format!("{flag}: {value}")));
            match flag {
                "--seed" => {
                    plan.seed = value.parse().map_err(|_| BadPlan(format!("{flag}: {value}")))?;
                }
                "--agents" => plan.agents = number()?,
                "--minutes" => plan.minutes = number()?,
                "--faults" if value == "none" => {}
                "--faults" => {
                    plan.faults = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                _ => return Err(BadPlan(format!("unknown: {flag}"))),
            }
        }
        let fits =
            (1..=AGENTS_MAX).contains(&plan.agents) && (1..=MINUTES_MAX).contains(&plan.minutes);
        if fits { Ok(plan) } else { Err(BadPlan(format!("no plan: {line}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_what_it_writes() {
        for seed in 0..200 {
            let plan = Plan::draw(seed);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert!("--seed 1 --agents 0 --minutes 1 --faults none".parse::<Plan>().is_err());
        assert!("--seed 1 --agents 1 --minutes 1 --faults fire".parse::<Plan>().is_err());
        assert!("--seed".parse::<Plan>().is_err());
    }

    #[test]
    fn every_fault_is_drawn_and_leaving_one_out_changes_no_other() {
        let drawn: Vec<Fault> = (0..100).flat_map(|seed| Plan::draw(seed).faults).collect();
        assert!(FAULTS.iter().all(|(fault, _)| drawn.contains(fault)));
        let all: Vec<Fault> = FAULTS.iter().map(|(fault, _)| *fault).collect();
        let with = Plan { seed: 3, agents: 5, minutes: 500, faults: all.clone() };
        let faults = all.into_iter().filter(|fault| *fault != Fault::Partition).collect();
        let without = Plan { faults, ..with.clone() };
        let kills = |plan: &Plan| {
            let script = plan.setting().script.into_iter();
            script.filter(|(_, act)| matches!(act, Act::Crash | Act::Kill(_))).collect::<Vec<_>>()
        };
        assert!(!kills(&with).is_empty());
        assert_eq!(kills(&with), kills(&without));
    }
}
