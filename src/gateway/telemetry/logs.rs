//! Where log lines go, and in which form.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// Why logs could not be set up, or their level not be changed.
#[derive(Debug, thiserror::Error)]
#[error("the log is set up already, or gone")]
pub struct LogError;

/// The log of this process; its level can change.
pub struct Logs {
    level: reload::Handle<Targets, Registry>,
}

impl Logs {
    /// Changes the least important level that is logged.
    ///
    /// # Errors
    /// The log is gone; nothing has changed.
    pub fn set_level(&self, level: LogLevel) -> Result<(), LogError> {
        self.level.reload(targets(level)).map_err(|_| LogError)
    }
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logs")
    }
}

/// Sends the log of this process to standard error.
///
/// # Errors
/// It was set up before; nothing has changed.
pub fn init_logs(log: &Log) -> Result<Logs, LogError> {
    let (filter, level) = reload::Layer::new(targets(log.level));
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Colours are for people; a file or a collector would keep their escapes.
    let is_terminal = std::io::stderr().is_terminal();
    let lines = match log.format {
        LogFormat::Text => lines.with_target(false).with_ansi(is_terminal).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
    registry.try_init().map_err(|_| LogError)?;
    Ok(Logs { level })
}

/// Our own rooms at the level asked for, libraries at WARN and above.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let others = LevelFilter::from_level(level.min(Level::WARN));
    Targets::new().with_default(others).with_target("pulsegate", level)
}
