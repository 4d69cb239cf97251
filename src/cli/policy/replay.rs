//! `pulsegate policy replay`: what a policy would have done to recorded heartbeats.

mod describe;
mod when;

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use pulsegate_gateway::config::{self, Config, Overrides};
use pulsegate_journal::offline::{Header, Offline};
use pulsegate_policy::{Limits, Source};
use pulsegate_replay::{Candidate, Filter, Options, Replay, Report};

use super::super::text::{self, print, print_json};
use super::super::{Exit, Failure, Outcome, config as problems, serve};
use when::When;

/// Largest component that is read. Source: the gateway's own limit.
const COMPONENT_BYTES: u64 = 64 << 20;
/// How often progress is shown. Source: `pulsegate sim`.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `pulsegate policy replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The exact part is what the policy answers to each recorded observation; \
                        the estimate is what would have come of it, with bounds. WHEN is an \
                        instant (2026-11-23T18:00:00Z), a day (2026-11-23, its beginning in UTC), \
                        or a time before the newest record (90m, 6h, 2d).\n\n\
                        Exit code 1 when nothing was recorded, or the journal cannot be read to \
                        its end.\n\n\
                        Example: pulsegate policy replay busy-bees.component.wasm --journal \
                        /var/lib/pulsegate --since 12h --html last-night.html")]
pub(super) struct Args {
    /// The policy: a component
    file: PathBuf,
    /// Data directory that no gateway has open, or a backup of one; default: where `pulsegate
    /// serve` keeps it
    #[arg(long, env = "PULSEGATE_JOURNAL_DATA_DIR", value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Leave out what was received before; default: the oldest record
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Leave out what was received from then on; default: the newest record is the last
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Replay agents of this class alone, such as critical
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Replay agents of this tenant alone
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Settings of the policy, a JSON object such as {"full_depth": 500}; default: none
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// Configuration of the gateway that recorded: its classes, cadence and limits; default: the
    /// defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the whole report as one JSON document
    #[arg(long)]
    json: bool,
    /// Write the report with plots to this file, one page of HTML that needs no other
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show on standard error how far it is
    #[arg(long, value_enum, default_value_t = Shown::Auto)]
    progress: Shown,
}

/// When progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// Where standard error is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

pub(super) fn run(args: &Args) -> Outcome {
    let configured = args.load_config()?;
    let source = args.source()?;
    let limits = &configured.policy_limits;
    let limits = Limits {
        call: Duration::from_millis(limits.call_ms.into()),
        memory_bytes: limits.memory_bytes as usize,
        ..Limits::default()
    };
    let candidate = Candidate::load(source, &configured.classes, limits)
        .map_err(|error| Failure::new(Exit::Refused, error))?;
    // A page that cannot be written is better known before than after an hour.
    let page = args.html.as_deref().map(create).transpose()?;
    let journal = args.open()?;
    let filter = args.filter(&journal.header(), &configured)?;
    let options = options(&configured, &journal.header(), filter.clone());
    let mut replay = Replay::new(candidate, options);
    let mut bar = Bar::new(args.progress);
    let told = pulsegate_replay::read(&journal, &mut replay, |progress| bar.show(progress));
    bar.clear();
    if let Err(error) = &told {
        replay.handle_loss(error.to_string());
    }
    let report = replay.finish();
    if report.scope.heartbeats == 0 {
        let unreadable = told.err().map(|error| error.to_string());
        return Err(nothing(&journal.header(), &report, unreadable));
    }
    if let Some((mut file, path)) = page {
        let page = pulsegate_replay::page(&report, &text::instant);
        let written = file.write_all(page.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| unwritten(&path, &error))?;
    }
    if args.json {
        print_json(&report);
    } else {
        print(&describe::describe(&report));
    }
    told.map_err(|error| Failure::new(Exit::Refused, error))
}

/// Nothing was replayed: why, and what to do about it.
fn nothing(header: &Header, report: &Report, unreadable: Option<String>) -> Failure {
    let scope = &report.scope;
    let message = if let Some(reason) = unreadable {
        reason
    } else if scope.damaged > 0 && scope.filtered == 0 {
        format!("no recorded heartbeat can be read: {} records are damaged", scope.damaged)
    } else if scope.filtered > 0 {
        format!(
            "none of {} recorded heartbeats is of this time, class and tenant; they are of {} to \
             {}",
            scope.filtered,
            text::instant(scope.oldest_wall_ms),
            text::instant(scope.newest_wall_ms)
        )
    } else if header.heartbeats > 0 {
        format!(
            "the {} heartbeats that were recorded are gone: [journal] heartbeats_max_age_ms and \
             heartbeats_max_bytes say how long they are kept",
            header.heartbeats
        )
    } else {
        "no heartbeat was recorded: [journal] heartbeats = \"sample\" (about a thousand agents) or \
         \"all\" records them, and the policies of yesterday can be compared tomorrow"
            .to_owned()
    };
    Failure::new(Exit::Refused, message)
}

fn create(path: &Path) -> Result<(File, PathBuf), Failure> {
    let file = File::create(path).map_err(|error| unwritten(path, &error))?;
    Ok((file, path.to_owned()))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Refused, format!("{} cannot be written: {error}", path.display()))
}

fn options(config: &Config, header: &Header, filter: Filter) -> Options {
    Options {
        core: config.core(1),
        early_gap_ms: config.directives.early_min_gap_ms,
        hash_key: header.hash_key,
        tenants: config.tenants.names().to_vec(),
        filter,
    }
}

impl Args {
    fn load_config(&self) -> Result<Config, Failure> {
        let Some(path) = &self.config else { return Ok(Config::default()) };
        Config::load(Some(path), &Overrides::default())
            .map_err(|error: config::Error| Failure::new(Exit::Usage, problems::problems(&error)))
    }

    /// The component, under the name of its file up to the first dot.
    fn source(&self) -> Result<Source, Failure> {
        let refused = |why: String| {
            Failure::new(
                Exit::Refused,
                format!("{} cannot be replayed: {why}", self.file.display()),
            )
        };
        let mut bytes = Vec::new();
        let file = File::open(&self.file).map_err(|error| refused(error.to_string()))?;
        let read = file.take(COMPONENT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| refused(error.to_string()))?;
        if bytes.len() as u64 > COMPONENT_BYTES {
            return Err(refused(format!("it has more than {COMPONENT_BYTES} bytes")));
        }
        let name = self.file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default().to_owned();
        let pool = Limits::default().pool_for(bytes.len());
        Ok(Source { name, bytes, settings: self.settings()?, pool })
    }

    fn settings(&self) -> Result<serde_json::Value, Failure> {
        let Some(text) = &self.settings else { return Ok(serde_json::Value::Null) };
        let wrong = |why: &str| Failure::new(Exit::Usage, format!("--settings: {why}"));
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        if value.is_object() { Ok(value) } else { Err(wrong("must be a JSON object")) }
    }

    fn open(&self) -> Result<Offline, Failure> {
        let directory = self.journal.clone().map_or_else(serve::data_directory, Ok)?;
        Offline::open(&directory).map_err(|error| {
            let mut message = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                message.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            Failure::new(Exit::Refused, message)
        })
    }

    fn filter(&self, header: &Header, config: &Config) -> Result<Filter, Failure> {
        let at = |when: Option<When>| when.map(|when| when.before(header.wall_ms));
        let (since_ms, until_ms) = (at(self.since), at(self.until));
        let usage = |message: String| Err(Failure::new(Exit::Usage, message));
        if let (Some(since), Some(until)) = (since_ms, until_ms)
            && since >= until
        {
            let [since, until] = [since, until].map(text::instant);
            return usage(format!("--since {since} is not before --until {until}"));
        }
        if let Some(class) = &self.class
            && config.classes.find(class).is_none()
        {
            let known: Vec<&str> =
                config.classes.iter().map(|(_, class)| class.name.as_str()).collect();
            return usage(format!("no class is called {class}; there are {}", known.join(", ")));
        }
        let (class, tenant) = (self.class.clone(), self.tenant.clone());
        Ok(Filter { since_ms, until_ms, class, tenant })
    }
}

/// A line on a terminal that says how far it is.
struct Bar {
    is_shown: bool,
    began: Instant,
    shown_at: Option<Instant>,
}

impl Bar {
    fn new(shown: Shown) -> Self {
        let is_shown = match shown {
            Shown::Auto => std::io::stderr().is_terminal(),
            Shown::Always => true,
            Shown::Never => false,
        };
        Self { is_shown, began: Instant::now(), shown_at: None }
    }

    /// Shows a line in the place of the one before, not too often.
    fn show(&mut self, progress: pulsegate_replay::Progress) {
        let is_due = self.shown_at.is_none_or(|at| at.elapsed() >= SHOWN_EVERY);
        if !self.is_shown || !is_due {
            return;
        }
        self.shown_at = Some(Instant::now());
        let share = progress.done as f64 / progress.of.max(1) as f64;
        let left = self.began.elapsed().mul_f64((1.0 - share).max(0.0) / share.max(1e-9));
        let left = if share > 0.0 { format!(", {} s left", left.as_secs()) } else { String::new() };
        let [done, of] = [progress.done, progress.of].map(describe::whole);
        eprint!("\r\x1b[K{done} of {of} heartbeats{left}");
        // A terminal that takes nothing is nobody's loss.
        let _ = std::io::stderr().flush();
    }

    fn clear(&self) {
        if self.shown_at.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
