//! Misbehaving policies, each enforced for all agents, beside the built-in one: what heartbeats
//! wait for it, and whether any is lost.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pulsegate_policy::fixtures;

use super::child::Child;
use super::{Bench, Pace, all_good};

/// The limit of a call, as the gateway is shipped.
const LIMIT: Duration = Duration::from_millis(3);
/// Those that a gateway refuses to start with, and those that pace nobody.
const UNFIT: [&str; 5] =
    ["describes-badly", "describes-hugely", "exports-nothing", "returns-many-rungs", "judges"];

/// How much, in requests at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    rate: f64,
    requests: u64,
}

impl Load {
    /// Ten seconds of what a fleet of 60,000 sends.
    pub(super) const FULL: Self = Self { rate: 2_000.0, requests: 20_000 };
    /// Shows that everything works.
    pub(super) const TINY: Self = Self { rate: 2_000.0, requests: 200 };
}

/// Writes the component of a policy where a gateway can read it; gone with its handle.
struct Component(PathBuf);

impl Component {
    fn of(name: &str, bytes: &[u8]) -> io::Result<Self> {
        let file = format!("pulsegate-bench-{}-{name}.wasm", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, bytes)?;
        Ok(Self(path))
    }

    /// The configuration in which it paces everybody.
    fn config(&self) -> String {
        let file = self.0.display();
        format!(
            "[[policies]]\nname = \"it\"\nfile = \"{file}\"\n[[routes]]\nhealth = \"builtin\"\n\
             cadence = \"it\"\n"
        )
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bench {
    /// Alternates between the built-in policy and each misbehaving one.
    pub(super) fn habits(&mut self, load: Load) -> io::Result<()> {
        let builtin = "[[routes]]\nhealth = \"builtin\"\ncadence = \"builtin\"\n";
        let seconds = load.requests as f64 / load.rate;
        println!(
            "misbehaving policies, enforced for all: {:.0} heartbeats/s for {seconds:.1} s, \
             latency from due, us\n{:<24} {:>8} {:>8} {:>8} {:>8} {:>10} {:>6}",
            load.rate, "policy", "p50", "p99", "p99.9", "max", "allowed", "lost"
        );
        for (name, bytes) in fixtures::ALL.iter().filter(|(name, _)| !UNFIT.contains(name)) {
            let [_, p99, ..] = self.habit("builtin", builtin, None, load)?;
            let component = Component::of(name, bytes)?;
            let allowed = 2 * p99 + LIMIT;
            self.habit(name, &component.config(), Some(allowed), load)?;
        }
        println!();
        Ok(())
    }

    /// One gateway with this configuration; a heartbeat that is not answered well is a failure.
    fn habit(
        &mut self,
        name: &str,
        config: &str,
        allowed: Option<Duration>,
        load: Load,
    ) -> io::Result<[Duration; 4]> {
        let gateway = Child::gateway_with(config)?;
        let mut tally = self.beats(&gateway, Pace::Open(load.rate, load.requests))?;
        let lost = load.requests - tally.good;
        let shares = [0.5, 0.99, 0.999, 1.0].map(|share| tally.percentile(share));
        let [p50, p99, p999, max] = shares.map(|latency| latency.as_micros());
        let allowed = allowed.map_or(String::new(), |allowed| allowed.as_micros().to_string());
        println!("{name:<24} {p50:>8} {p99:>8} {p999:>8} {max:>8} {allowed:>10} {lost:>6}");
        all_good(&gateway, tally)?;
        Ok(shares)
    }
}
