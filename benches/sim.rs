//! How fast virtual time passes: `cargo bench --bench sim`.
//!
//! Heartbeats handled a second on one core, each with its way there and back: timers, network,
//! core, answer. Beside it a server that only answers a fixed interval, which is what the
//! simulator itself costs. Rounds alternate; median and range. Without `--bench` (under
//! `cargo test --benches`) everything runs tiny and only once, so that it never rots.
#![allow(clippy::print_stdout, reason = "a bench prints a table")]

use std::time::Instant;

use pulsegate_sim::gateway::{Disk, Gateway, Options, Policies};
use pulsegate_sim::peers::fixed::Fixed;
use pulsegate_sim::server::{HOUR, Micros, SECOND, Server};
use pulsegate_sim::world::{Setting, World};

/// How much to do.
struct Scale {
    rounds: usize,
    /// Heartbeats of a round, about.
    heartbeats: u64,
}

const TINY: Scale = Scale { rounds: 1, heartbeats: 2_000 };
const FULL: Scale = Scale { rounds: 5, heartbeats: 4_000_000 };

/// What is measured.
type Case = (&'static str, u32, fn(u32) -> Box<dyn FnMut(Micros) -> u64>);

fn main() {
    let is_full = std::env::args().any(|argument| argument == "--bench");
    let scale = if is_full { FULL } else { TINY };
    let cases: [Case; 6] = [
        ("a fixed answer, 100 agents", 100, |agents| world(agents, Fixed::missed(30 * SECOND, 3))),
        ("core, built-in policy, 100 agents", 100, |agents| world(agents, gateway(agents, false))),
        ("the same, everything checked", 100, |agents| world(agents, checked(agents))),
        ("core, `steady` in Wasm, 100 agents", 100, |agents| world(agents, gateway(agents, true))),
        ("core, built-in, 10,000 agents", 10_000, |agents| world(agents, gateway(agents, false))),
        ("core, built-in, 1,000,000 agents", 1_000_000, |agents| {
            world(agents, gateway(agents, false))
        }),
    ];
    println!("{:<40} {:>14} {:>24}", "", "heartbeats/s", "range");
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for _ in 0..scale.rounds {
        for (index, (_, agents, make)) in cases.iter().enumerate() {
            if is_full || *agents <= 100 {
                rates[index].push(rate(make(*agents), *agents, scale.heartbeats));
            }
        }
    }
    for ((name, ..), rates) in cases.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (rates.first(), rates.last()) else { continue };
        let median = rates[rates.len() / 2];
        println!("{name:<40} {median:>14.0} {:>24}", format!("{low:.0}-{high:.0}"));
    }
}

/// A world that runs on for a while, and says how many heartbeats it has handled.
fn world(agents: u32, server: impl Server + 'static) -> Box<dyn FnMut(Micros) -> u64> {
    let setting = Setting { agents, ..Setting::default() };
    let mut world = World::new(&setting, server, ());
    Box::new(move |until| {
        world.run_until(until);
        world.handled()
    })
}

fn gateway(agents: u32, wasm: bool) -> Gateway {
    let policies =
        if wasm { Policies::reference("steady", "steady", "") } else { Policies::Builtin };
    options(Options { agents, policies, ..Options::default() })
}

fn checked(agents: u32) -> Gateway {
    let disk = Some(Disk::default());
    options(Options { agents, disk, checked: true, ..Options::default() })
}

fn options(options: Options) -> Gateway {
    Gateway::new(options).expect("the reference policies load")
}

/// Heartbeats a second, after everybody has registered.
fn rate(mut run: Box<dyn FnMut(Micros) -> u64>, agents: u32, heartbeats: u64) -> f64 {
    let warm = 120 * SECOND;
    let before = run(warm);
    let hours = heartbeats as f64 / (f64::from(agents) * 126.0);
    let began = Instant::now();
    let after = run(warm + (hours * HOUR as f64) as Micros);
    (after - before) as f64 / began.elapsed().as_secs_f64()
}
