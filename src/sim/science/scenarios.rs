//! The scenarios, and who is measured in them.

use crate::gateway::{Disk, Gateway, Options, Policies};
use crate::lives::{Crashes, Lives, Pauses, Surges};
use crate::network::{Burst, Network, Partition};
use crate::peers::eureka::Eureka;
use crate::peers::fixed::Fixed;
use crate::peers::nomad::Nomad;
use crate::peers::phi::{AkkaSettings, PhiAkka, PhiCassandra};
use crate::server::{DAY, HOUR, MINUTE, Micros, SECOND, Server};
use crate::world::{Act, Setting, World};

use super::meter::{Measured, Meter};

/// A scenario of the science page.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its word on the command line.
    pub name: &'static str,
    /// What happens in it, for the page.
    pub what: &'static str,
    /// Its world, but for the seed.
    setting: Setting,
    /// How long it lasts.
    lasts: Micros,
    /// Traffic is counted from here on.
    from: Micros,
    /// The gateway is killed in it, and needs a journal to come back from.
    needs_journal: bool,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// Fixed interval in seconds, failed after three.
    Fixed(u64),
    /// Fixed 30 s with retries, and the graces of a normal agent.
    FixedRetries,
    /// Nomad's rate-scaled TTL.
    Nomad,
    /// Eureka with self-preservation.
    Eureka,
    /// Phi accrual as in Akka's cluster, at 30 s.
    Akka,
    /// Phi accrual as in Cassandra, at 30 s.
    Cassandra,
    /// This gateway, with `steady` in Wasm.
    Steady,
    /// This gateway, with `steady` and `queue-pressure` in Wasm.
    QueuePressure,
}

impl Detector {
    /// Everybody, the peers first.
    pub const ALL: [Self; 9] = [
        Self::Fixed(30),
        Self::Fixed(10),
        Self::FixedRetries,
        Self::Nomad,
        Self::Eureka,
        Self::Akka,
        Self::Cassandra,
        Self::Steady,
        Self::QueuePressure,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed(10) => "fixed 10 s × 3",
            Self::Fixed(_) => "fixed 30 s × 3",
            Self::FixedRetries => "fixed 30 s, retries, graces",
            Self::Nomad => "Nomad, rate-scaled TTL",
            Self::Eureka => "Eureka, self-preservation",
            Self::Akka => "φ accrual as Akka, 30 s",
            Self::Cassandra => "φ accrual as Cassandra, 30 s",
            Self::Steady => "**pulsegate**, `steady`",
            Self::QueuePressure => "**pulsegate**, `queue-pressure`",
        }
    }
}

/// Everything but what a scenario is about: busy agents that crash once in two days.
fn usual(agents: u32) -> Setting {
    let crashes = Crashes { every: 2 * DAY, down: HOUR, warned: 0.0, leaves: 0.0 };
    Setting {
        agents,
        start_within: 30 * SECOND,
        lives: Lives {
            crashes: Some(crashes),
            have_queue: true,
            tasks: Some(1),
            ..Lives::default()
        },
        ..Setting::default()
    }
}

/// Every scenario, smaller by `shrunk` for tests; 1 is the size of the page.
#[must_use]
pub fn all(shrunk: u32) -> Vec<Scenario> {
    let thousand = (1_000 / shrunk).max(10);
    let lossy = |loss| Network { loss, ..Network::default() };
    let plain = |name, what, setting| Scenario {
        name,
        what,
        setting,
        lasts: 3 * DAY,
        from: 2 * HOUR,
        needs_journal: false,
    };
    let mut all = vec![
        plain("steady", "Nothing is lost.", usual(thousand)),
        plain(
            "loss-1",
            "One message in a hundred is lost, each way.",
            Setting { network: lossy(0.01), ..usual(thousand) },
        ),
        plain(
            "loss-1-idle",
            "The same, and agents have nothing to do.",
            Setting { network: lossy(0.01), lives: idle(), ..usual(thousand) },
        ),
        plain(
            "loss-5",
            "Five messages in a hundred are lost, each way.",
            Setting { network: lossy(0.05), ..usual(thousand) },
        ),
        plain(
            "bursts",
            "Losses come together (Gilbert–Elliott): of each agent's way, every 20 min on average, \
             nine in ten messages are lost for 15 s on average.",
            Setting { network: bursty(), ..usual(thousand) },
        ),
        plain(
            "pauses",
            "Agents stand still once an hour, as in a garbage collection: lognormal, median 5 s, \
             one in a hundred longer than 160 s.",
            Setting { lives: pausing(), ..usual(thousand) },
        ),
        plain(
            "surges",
            "Queues jump from 0 to 2,000 once in two hours, and are empty again after 6 min on \
             average.",
            Setting { lives: surging(), ..usual(thousand) },
        ),
    ];
    all.extend(upheavals(shrunk));
    all
}

/// Scenarios in which something befalls everybody.
fn upheavals(shrunk: u32) -> Vec<Scenario> {
    let thousand = (1_000 / shrunk).max(10);
    let fleet = (100_000 / shrunk).max(1_000);
    let still = |agents| Setting { lives: working(), ..usual(agents) };
    let at = |name, what, agents, script: Vec<(Micros, Act)>, needs_journal| Scenario {
        name,
        what,
        setting: Setting { script, ..still(agents) },
        lasts: 3 * HOUR,
        from: HOUR,
        needs_journal,
    };
    let restart = Act::Restart { share: 1.0, within: 10 * SECOND };
    let cut = Partition { share: 0.4, salt: 7, to_server: true, to_agents: true };
    let mut mass = at(
        "mass-restart",
        "100,000 agents start anew within 10 s.",
        fleet,
        vec![(HOUR, restart)],
        false,
    );
    mass.lasts = HOUR + 15 * MINUTE;
    vec![
        mass,
        at(
            "partition",
            "Four agents in ten are cut off for ten minutes. All of them live.",
            thousand,
            vec![(2 * HOUR, Act::Cut(cut)), (2 * HOUR + 10 * MINUTE, Act::Mend)],
            false,
        ),
        at(
            "outage",
            "The gateway is killed, and back after ten minutes. All agents live.",
            thousand,
            vec![(2 * HOUR, Act::Crash), (2 * HOUR + 10 * MINUTE, Act::Recover)],
            true,
        ),
    ]
}

fn idle() -> Lives {
    Lives { tasks: Some(0), ..usual(1).lives }
}

/// Agents that work and never crash.
fn working() -> Lives {
    Lives { crashes: None, ..usual(1).lives }
}

fn bursty() -> Network {
    let burst = Burst { good: 20 * MINUTE, bad: 15 * SECOND, loss: 0.9 };
    Network { burst: Some(burst), ..Network::default() }
}

fn pausing() -> Lives {
    let pauses = Pauses { every: HOUR, median: 5 * SECOND, sigma: 1.5 };
    Lives { pauses: Some(pauses), ..usual(1).lives }
}

fn surging() -> Lives {
    let surges = Surges { every: 2 * HOUR, lasts: 5 * MINUTE, depth: 2_000 };
    Lives { surges: Some(surges), ..usual(1).lives }
}

impl Scenario {
    /// Measures a detector in this scenario.
    ///
    /// # Errors
    /// What is wrong with a policy.
    pub fn measure(
        &self,
        detector: Detector,
        seed: u64,
    ) -> Result<Measured, pulsegate_policy::Error> {
        let setting = Setting { seed, ..self.setting.clone() };
        Ok(match detector {
            Detector::Fixed(seconds) => self.run(&setting, Fixed::missed(seconds * SECOND, 3)),
            Detector::FixedRetries => self.run(&setting, Fixed::with_retries()),
            Detector::Nomad => self.run(&setting, Nomad::new(seed)),
            Detector::Eureka => self.run(&setting, Eureka::new(seed)),
            Detector::Akka => self.run(&setting, PhiAkka::new(AkkaSettings::cluster(30 * SECOND))),
            Detector::Cassandra => self.run(&setting, PhiCassandra::new(30 * SECOND)),
            Detector::Steady => self.run(&setting, self.gateway(&setting, "steady", "steady")?),
            Detector::QueuePressure => {
                self.run(&setting, self.gateway(&setting, "steady", "queue-pressure")?)
            }
        })
    }

    fn gateway(
        &self,
        setting: &Setting,
        health: &str,
        cadence: &str,
    ) -> Result<Gateway, pulsegate_policy::Error> {
        Gateway::new(Options {
            seed: setting.seed,
            agents: setting.agents,
            policies: Policies::reference(health, cadence, ""),
            disk: self.needs_journal.then(Disk::default),
            ..Options::default()
        })
    }

    fn run(&self, setting: &Setting, server: impl Server) -> Measured {
        let meter = Meter::new(setting.agents, self.from);
        let mut world = World::new(setting, server, meter);
        world.run_until(self.from);
        let warming = world.turns();
        world.run_until(self.lasts);
        let turns = world.turns() - warming;
        world.observer.finish(self.lasts, turns)
    }
}
