//! `pulsegate sim`: the simulator.
//!
//! A run is told by one line, which is printed first: give it again, and the same happens.

mod hunt;
mod science;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pulsegate_sim::hunt::{AGENTS_MAX, Fault, MINUTES_MAX, Plan, Progress};
use pulsegate_sim::science::Size;
use pulsegate_sim::server::{MINUTE, Micros};

use super::{Exit, Failure, Outcome};

/// Arguments of `pulsegate sim`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without --agents, --minutes and --faults the seed draws them too. A run \
                        ends with 1 if a rule was broken, and then says which run is the \
                        smallest that still breaks it.\n\nExamples:\n  pulsegate sim --seed 7\n  \
                        pulsegate sim --seed 7 --agents 4 --minutes 90 --faults kill,slow-disk\n  \
                        pulsegate sim --hunt 10")]
pub(super) struct Args {
    /// Seed of everything that is drawn; one seed is one history [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Agents, up to a million
    #[arg(long, value_name = "N", value_parser = up_to(AGENTS_MAX), conflicts_with = "instead")]
    agents: Option<u32>,
    /// Virtual minutes for which faults go on
    #[arg(long, value_name = "N", value_parser = up_to(MINUTES_MAX), conflicts_with = "instead")]
    minutes: Option<u32>,
    /// Faults, separated by commas, or `none`
    #[arg(long, value_name = "LIST", value_parser = faults, conflicts_with = "instead")]
    faults: Option<Faults>,
    /// Look for seeds that fail, for so many real minutes, from --seed on
    #[arg(long, value_name = "MINUTES", group = "instead")]
    hunt: Option<f64>,
    /// Let an optimiser play so many plays for each objective against the cadence guard
    #[arg(long, value_name = "PLAYS", group = "instead", group = "text")]
    adversary: Option<u64>,
    /// Measure this gateway and its peers in one scenario of the science page; a wrong name lists
    /// them
    #[arg(long, value_name = "NAME", group = "instead", group = "text")]
    scenario: Option<String>,
    /// Measure everything and write the science page to this file: a quarter of an hour, two cores
    #[arg(long, value_name = "FILE", group = "instead", group = "text")]
    science: Option<PathBuf>,
    /// Make the fleets of the science page so many times smaller, to try it
    #[arg(long, value_name = "N", requires = "science", hide = true)]
    shrunk: Option<u32>,
    /// Print one JSON document and nothing else
    #[arg(long, conflicts_with = "text")]
    json: bool,
}

fn up_to(most: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(most))
}

/// A list of faults.
#[derive(Clone, Debug)]
struct Faults(Vec<Fault>);

fn faults(list: &str) -> Result<Faults, String> {
    if list == "none" {
        return Ok(Faults(Vec::new()));
    }
    let faults: Result<Vec<Fault>, _> = list.split(',').map(str::parse).collect();
    let mut faults = faults.map_err(|error: pulsegate_sim::hunt::BadPlan| error.to_string())?;
    faults.sort_unstable();
    faults.dedup();
    Ok(Faults(faults))
}

/// Runs what was asked for.
pub(super) fn run(args: &Args) -> Outcome {
    let seed = args.seed.unwrap_or(1);
    if let Some(name) = &args.scenario {
        return science::scenario(name, seed);
    }
    if let Some(plays) = args.adversary {
        return hunt::adversary(seed, plays);
    }
    if let Some(path) = &args.science {
        return science::page(path, args.size(seed));
    }
    match args.hunt {
        Some(minutes) => hunt::hunt(args, minutes),
        None => hunt::one(args),
    }
}

impl Args {
    fn size(&self, seed: u64) -> Size {
        match self.shrunk {
            Some(shrunk) => Size { shrunk, heartbeats: 2_000_000, seed },
            None => Size { seed, ..Size::default() },
        }
    }

    fn plan(&self) -> Plan {
        let drawn = Plan::draw(self.seed.unwrap_or(1));
        Plan {
            agents: self.agents.unwrap_or(drawn.agents),
            minutes: self.minutes.unwrap_or(drawn.minutes),
            faults: self.faults.clone().map_or(drawn.faults, |faults| faults.0),
            seed: drawn.seed,
        }
    }
}

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// A line on a terminal that says how far a run is.
struct Bar {
    shown: bool,
    began: Instant,
    shown_at: Instant,
}

impl Bar {
    fn new(json: bool) -> Self {
        let now = Instant::now();
        Self { shown: !json && std::io::stderr().is_terminal(), began: now, shown_at: now }
    }

    /// Shows a line in the place of the one before, not too often.
    fn show(&mut self, line: impl FnOnce() -> String) {
        if self.shown && self.shown_at.elapsed() >= SHOWN_EVERY {
            self.shown_at = Instant::now();
            eprint!("\r\x1b[K{}", line());
            // A terminal that takes nothing is nobody's loss.
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

impl Progress for Bar {
    fn passed(&mut self, now: Micros, of: Micros) {
        let took = self.began.elapsed();
        self.show(|| {
            let share = now as f64 / of.max(1) as f64;
            let left = took.mul_f64((1.0 - share) / share.max(1e-9));
            format!(
                "{} of {} virtual minutes, {:.0} s left",
                now / MINUTE,
                of / MINUTE,
                left.as_secs_f64()
            )
        });
    }
}
