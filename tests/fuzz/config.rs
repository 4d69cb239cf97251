//! The configuration file.

use std::path::Path;

use pulsegate_gateway::config::{Config, Overrides};

/// Relative paths of a configuration begin here, where there is nothing.
const NOWHERE: &str = "/nowhere";

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = || Config::parse("it.toml", text, Path::new(NOWHERE), &Overrides::default());
    match read() {
        Ok(config) => {
            assert_fits(&config);
            let again = read().expect("it was right before");
            assert!(config.reload(&again).kept.is_empty(), "a reload of the same changes nothing");
            assert_fits(&Config::default().reload(&config).config);
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                let line = problem.place.strip_prefix("it.toml:").map(str::parse::<usize>);
                let has_line = matches!(line, Some(Ok(1..)));
                // Of what is nested too deeply the parser does not say where.
                let is_whole = problem.message == "no TOML: recursion limit";
                assert!(has_line || is_whole || !problem.key.is_empty(), "{problem:?}");
                assert!(!problem.message.is_empty(), "{problem:?}");
            }
        }
    }
}

/// What is promised of a configuration that was taken.
fn assert_fits(config: &Config) {
    let core = config.core(4);
    assert!(core.cadence.min_ms <= core.cadence.max_ms);
    for (_, class) in core.classes.iter() {
        let most = class.cap_ms().min(core.cadence.max_ms);
        assert!((core.cadence.min_ms..=most).contains(&class.interval_ms), "{class:?}");
        assert!(class.fail_grace_ms > class.suspect_grace_ms, "{class:?}");
        assert!(class.act_grace_ms >= class.fail_grace_ms, "{class:?}");
    }
    assert!(!config.policy_limits().call.is_zero());
    assert!(!config.routes.is_empty());
    let sources = &config.policies;
    for route in &config.routes {
        for name in [&route.health, &route.cadence, &route.recovery].into_iter().flatten() {
            let is_there = sources.iter().any(|source| source.name == *name);
            assert!(is_there || name == "builtin", "{name}");
        }
    }
}
