//! What a gateway counted, in a form that transports can be compared in.

use std::collections::BTreeMap;
use std::fmt;

use pulsegate_gateway::server::Gateway;
use pulsegate_gateway::telemetry::Figures;

/// What is not compared: begin of the name, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("process_", "of the process, which all tests share"),
    ("pulsegate_quic_handshakes_total", "only QUIC counts its handshakes"),
    ("pulsegate_pushes_total", "only the compact protocol has pushes"),
    ("pulsegate_clock_held_seconds_total", "of a machine that is busy with other tests"),
    ("pulsegate_policy_log_lines_total", "brought in once a second"),
];

/// Histograms whose number of observations is compared; those of durations say what was timed,
/// which a case of its own asks.
const COUNTED: &str = "pulsegate_directive_interval_seconds_count";

/// Counters by sample; those of the transport in question without its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters(BTreeMap<String, f64>);

impl Counters {
    pub fn of(gateway: &Gateway, transport: &str) -> Self {
        let scrape = gateway.telemetry().scrape(&Figures::default());
        let ours = format!("transport=\"{transport}\"");
        let samples = scrape.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let name = sample.split('{').next()?;
            let is_left_out = LEFT_OUT.iter().any(|(begin, _)| name.starts_with(begin));
            let is_compared = (name.ends_with("_total") && !is_left_out) || name == COUNTED;
            let value: f64 = value.parse().expect("a number");
            is_compared.then(|| (sample.replace(&ours, "transport=\"this one\""), value))
        });
        Self(samples.collect())
    }

    /// What has changed since.
    pub fn since(&self, before: &Self) -> Self {
        let changed = self.0.iter().filter_map(|(sample, now)| {
            let change = now - before.0.get(sample).copied().unwrap_or_default();
            (change != 0.0).then(|| (sample.clone(), change))
        });
        Self(changed.collect())
    }

    /// All but these samples.
    pub fn without(mut self, samples: &[&str]) -> Self {
        self.0.retain(|sample, _| !samples.contains(&sample.as_str()));
        self
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.0.iter().map(|(sample, change)| format!("{sample} +{change}"));
        f.write_str(&samples.collect::<Vec<_>>().join("\n  "))
    }
}
