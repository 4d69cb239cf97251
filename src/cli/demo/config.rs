//! The demo gateway's configuration: the defaults, with every time divided by the speed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use pulsegate_core::Classes;
use pulsegate_gateway::config::{Config, Overrides};

use crate::cli::{Exit, Failure};

/// Cadence that a fleet without a gateway such as this one would keep. Source: what people know
/// and configure.
const FIXED: Duration = Duration::from_secs(30);

/// Queue at which an agent of the demo is full: a surge of the scenario reaches half of it at once,
/// and most reach all of it.
const FULL_DEPTH: f64 = 600.0;

/// How much faster than life the demo runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed(pub(super) f64);

impl Speed {
    /// A time of real life, as the demo has it.
    pub(super) fn scale(self, time: Duration) -> Duration {
        time.div_f64(self.0)
    }

    /// The same in milliseconds, not below what the configuration takes.
    fn ms(self, milliseconds: u32, least: u32) -> u32 {
        ((f64::from(milliseconds) / self.0).round() as u32).max(least)
    }

    /// The fixed cadence to compare with.
    pub(super) fn fixed(self) -> Duration {
        self.scale(FIXED)
    }

    /// A sentence about it.
    pub(super) fn sentence(self) -> String {
        if self.0 == 1.0 {
            return "speed 1: real time, every default as it stands".to_owned();
        }
        format!(
            "speed {0}: the gateway's times are their defaults / {0}; compared with a fixed 30 s / \
             {0} = {1}",
            self.0,
            crate::cli::text::duration(self.fixed().as_millis() as u64)
        )
    }
}

/// The configuration, and its text.
pub(super) fn build(
    speed: Speed,
    agents: usize,
    listen: SocketAddr,
    restart: &[String],
) -> Result<Config, Failure> {
    let text = text(speed, agents, listen, restart);
    let overrides = Overrides::default();
    Config::parse("demo", &text, std::path::Path::new("."), &overrides)
        .map_err(|error| Failure::new(Exit::Usage, crate::cli::config::problems(&error)))
}

fn text(speed: Speed, agents: usize, listen: SocketAddr, restart: &[String]) -> String {
    let mut text = format!("listen = \"{listen}\"\n[journal]\nephemeral = true\n");
    for (_, class) in Classes::default().iter() {
        let [interval, suspect, fail, act] =
            [class.interval_ms, class.suspect_grace_ms, class.fail_grace_ms, class.act_grace_ms]
                .map(|time| speed.ms(time, 100));
        let detect = speed.ms(class.detect_within_ms, 1_000);
        let _ = write!(
            text,
            "[classes.{}]\ninterval_ms = {interval}\ndetect_within_ms = {detect}\n\
             suspect_grace_ms = {suspect}\nfail_grace_ms = {fail}\nact_grace_ms = {act}\n\
             floor_weight = {}\n",
            class.name, class.floor_weight
        );
    }
    // A busy machine answers no faster for the demo's speed: an attempt gets 300 ms at least.
    let retries = [1_000, 2_000, 4_000, 8_000].map(|delay| speed.ms(delay, 300));
    let argv = serde_json::Value::from(restart.to_vec());
    let _ = write!(
        text,
        "[cadence]\nmin_ms = {min}\nmax_ms = {max}\ndwell_ms = {dwell}\nturn_period_ms = {turn}\n\
         [detection]\nstartup_grace_ms = {startup}\n\
         [limits]\nagent_rate_per_second = {rate:.1}\nunknown_burst = {burst}\n\
         [directives]\nretry_ms = {retries:?}\nearly_min_gap_ms = {gap}\n\
         early_spread_ms = {spread}\n\
         [recovery]\nconcurrency = 16\n\
         [recovery.executors.command]\nkind = \"command\"\ncommand = \"restart\"\n\
         wait_ms = {wait}\n\
         [recovery.executors.restart]\nkind = \"exec\"\nargv = {argv}\nwait_ms = {wait}\n\
         timeout_ms = 10000\n\
         [[policies]]\nname = \"queue-pressure\"\nreference = \"queue-pressure\"\n\
         settings = {{ full_depth = {FULL_DEPTH:.1}, fastest_ms = {fastest:.1} }}\n\
         [[policies]]\nname = \"steady\"\nreference = \"steady\"\n\
         settings = {{ alarm_interval_ms = {fastest} }}\n\
         [[routes]]\nhealth = \"steady\"\ncadence = \"queue-pressure\"\nrecovery = \"ladder\"\n",
        min = speed.ms(1_000, 100),
        max = speed.ms(300_000, 1_000),
        dwell = speed.ms(60_000, 0),
        turn = speed.ms(1_200_000, 1_000),
        startup = speed.ms(120_000, 1_000),
        rate = speed.0,
        burst = agents.max(10_000),
        gap = speed.ms(5_000, 100),
        spread = speed.ms(1_000, 0),
        wait = speed.ms(60_000, 100),
        fastest = speed.ms(5_000, 100),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speed_gives_a_configuration_that_fits() {
        for speed in [1.0, 2.5, 10.0] {
            let argv = ["/bin/p\"ulse".to_owned(), "demo-restart".to_owned()];
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let config = build(Speed(speed), 200, listen, &argv);
            let config = config.map_err(|failure| failure.message).expect("it fits");
            let normal = &config.classes[config.classes.normal()];
            assert_eq!(f64::from(normal.interval_ms), 30_000.0 / speed);
        }
    }
}
