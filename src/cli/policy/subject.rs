//! The policy that a command is about, and the gateway that it would run in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pulsegate_core::{Class, ClassId, Classes};
use pulsegate_gateway::config::{Config, Overrides};
use pulsegate_policy::{Engine, Fault, LogLevel, Source, reference};
use serde_json::Value;

use super::{Exit, Failure};
use crate::cli::config::problems;

/// Largest component, in bytes; as the configuration takes it.
const COMPONENT_BYTES: u64 = 64 << 20;
/// Largest file of settings, in bytes. Source: chosen.
const SETTINGS_BYTES: usize = 1 << 20;

/// Which policy, in which gateway.
#[derive(Debug, clap::Args)]
pub(super) struct Subject {
    /// The component, or steady, queue-pressure or ladder
    file: PathBuf,
    #[command(flatten)]
    world: World,
    /// What an operator would write for it: a JSON object such as '{"full_depth": 50}', or a file
    /// of JSON or TOML; default: nothing
    #[arg(long, value_name = "FILE|JSON")]
    settings: Option<String>,
}

/// The gateway that a policy would run in.
#[derive(Debug, clap::Args)]
pub(super) struct World {
    /// Configuration to take classes, executors and limits from; default: what a gateway without
    /// a file has
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A policy and what it runs with.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) config: Config,
    pub(super) source: Source,
}

impl World {
    pub(super) fn config(&self) -> Result<Config, Failure> {
        match &self.config {
            None => Ok(Config::default()),
            Some(path) => Config::load(Some(path), &Overrides::default())
                .map_err(|error| Failure::new(Exit::Usage, problems(&error))),
        }
    }
}

impl Subject {
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        let settings = self.settings.as_deref().map_or(Ok(Value::Null), read_settings)?;
        load(&self.file, &self.world, settings)
    }
}

/// Reads a component and starts an engine for it.
pub(super) fn load(file: &Path, world: &World, settings: Value) -> Result<Loaded, Failure> {
    let config = world.config()?;
    let (name, bytes) = component(file)?;
    let engine = Engine::new(config.policy_limits())
        .map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let pool = config.policy_limits().pool_for(bytes.len());
    Ok(Loaded { engine, config, source: Source { name, bytes, settings, pool } })
}

/// The component of a file, or a reference policy; with a name for messages.
fn component(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    let named = file.to_str().unwrap_or_default();
    let reference = reference::ALL.iter().find(|(name, _)| *name == named);
    if let (Some((name, bytes)), false) = (reference, file.exists()) {
        return Ok(((*name).to_owned(), bytes.to_vec()));
    }
    let wrong =
        |message: String| Failure::new(Exit::Usage, format!("{}: {message}", file.display()));
    let size =
        std::fs::metadata(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if size.len() > COMPONENT_BYTES {
        let size = size.len();
        return Err(wrong(format!("{size} bytes, and a policy has at most {COMPONENT_BYTES}")));
    }
    let bytes = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok((stem.unwrap_or_else(|| named.to_owned()), bytes))
}

/// Settings as they were given: JSON at once, or a file.
fn read_settings(given: &str) -> Result<Value, Failure> {
    let wrong =
        |place: &str, message: String| Failure::new(Exit::Usage, format!("{place}: {message}"));
    let (place, read) = if given.trim_start().starts_with('{') {
        ("--settings", serde_json::from_str(given).map_err(|error| error.to_string()))
    } else {
        let text = std::fs::read_to_string(given)
            .map_err(|error| wrong(given, format!("cannot be read: {error}")))?;
        if text.len() > SETTINGS_BYTES {
            let message =
                format!("{} bytes, and settings have at most {SETTINGS_BYTES}", text.len());
            return Err(wrong(given, message));
        }
        let read: Result<Value, String> = if given.ends_with(".json") {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error| {
                let line = error.span().map_or(0, |span| text[..span.start].lines().count());
                format!("line {}: {}", line.max(1), error.message().replace('\n', ", "))
            })
        };
        (given, read)
    };
    match read {
        Ok(Value::Object(settings)) => Ok(Value::Object(settings)),
        Ok(_) => Err(wrong(place, "settings must be an object, such as {\"depth\": 50}".into())),
        Err(message) => Err(wrong(place, message)),
    }
}

/// The class of this name.
pub(super) fn class<'a>(classes: &'a Classes, name: &str) -> Result<(ClassId, &'a Class), Failure> {
    classes.find(name).map(|id| (id, &classes[id])).ok_or_else(|| {
        let known: Vec<_> = classes.iter().map(|(_, class)| class.name.as_str()).collect();
        let known = known.join(", ");
        Failure::new(Exit::Usage, format!("--class: no class is called {name:?}; known: {known}"))
    })
}

/// How a call failed, in a sentence.
pub(super) fn told(fault: Fault, config: &Config) -> String {
    match fault {
        Fault::Trap => "it trapped: a panic, an unreachable, or too much memory".to_owned(),
        Fault::Timeout => {
            format!("it ran longer than {} ms", config.policy_limits().call.as_millis())
        }
        Fault::BadAnswer => "its answer is none: a reason, health or executor that there is not, \
                             or not as many numbers as there should be"
            .to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// What policies wrote to the log since the last time, a line each.
pub(super) fn written(engine: &Engine) -> Vec<String> {
    let (lines, dropped) = engine.drain_log();
    let word = |level| match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let mut all: Vec<String> =
        lines.iter().map(|line| format!("{}: {}", word(line.level), line.message)).collect();
    if dropped > 0 {
        all.push(format!("and {dropped} lines more, which a gateway drops"));
    }
    all
}

/// A number with commas between its thousands.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as people read them: `64 KiB`, `1.1 MiB`.
pub(super) fn bytes(count: usize) -> String {
    match count {
        0..=1_048_575 => format!("{} KiB", count.div_ceil(1_024)),
        _ => format!("{:.1} MiB", count as f64 / f64::from(1 << 20)),
    }
}

/// A short time as people read it: `850 ns`, `32 µs`, `41.5 ms`, `2.50 s`.
pub(super) fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        short if short < 1e-6 => format!("{:.0} ns", short * 1e9),
        short if short < 1e-3 => format!("{:.0} µs", short * 1e6),
        long if long < 1.0 => format!("{:.1} ms", long * 1e3),
        long => format!("{long:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 65_536, 1 << 20, 1_153_434].map(bytes),
            ["0 KiB", "64 KiB", "1.0 MiB", "1.1 MiB"]
        );
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let said =
            [850, 32_400, 41_500_000, 2_500_000_000].map(|ns| time(Duration::from_nanos(ns)));
        assert_eq!(said, ["850 ns", "32 µs", "41.5 ms", "2.50 s"]);
    }

    #[test]
    fn settings_are_an_object_from_wherever_they_come() {
        let read = |given: &str| read_settings(given).map_err(|failure| failure.message);
        assert_eq!(read(" {\"a\": 1}"), Ok(serde_json::json!({ "a": 1 })));
        assert!(read("{\"a\": }").expect_err("no JSON").starts_with("--settings: expected value"));
        assert!(read("/no/such.toml").expect_err("no file").contains("cannot be read"));
    }
}
