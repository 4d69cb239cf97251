//! `pulsegate config`: the annotated defaults, and a check without starting.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use pulsegate_gateway::config::{Config, Error, Overrides, template};

use super::pulled::{Looker, Puller};
use super::{Exit, Failure, Outcome, text};

/// Arguments of `pulsegate config`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print every option with its meaning, unit, range and default
    Template,
    /// Report everything that is wrong with a file, with line and key
    #[command(
        after_help = "Policies in registries are only looked for in the store, unless --pull \
                            is given.\nExit codes: 0 fit, 64 problems. Example: pulsegate config \
                            check /etc/pulsegate/pulsegate.toml"
    )]
    Check {
        /// The file, in TOML
        file: PathBuf,
        /// Pull its policies into the store, and check their signatures, as `serve` would
        #[arg(long)]
        pull: bool,
    },
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Template => text::print(&template()),
        Command::Check { file, pull } => {
            let lines = if *pull { pulled(file) } else { looked_for(file) };
            let lines = lines.map_err(|error| Failure::new(Exit::Usage, problems(&error)))?;
            text::print(&format!("{}: fit\n", file.display()));
            for line in lines {
                text::print(&format!("{line}\n"));
            }
        }
    }
    Ok(())
}

/// Checks a file without asking a registry, and says where its policies are.
fn looked_for(file: &Path) -> Result<Vec<String>, Error> {
    let looker = Looker::default();
    Config::load_with(Some(file), &overrides(), &looker)?;
    Ok(looker.into_lines())
}

/// Checks a file with the policies that it names, and says where they came from.
fn pulled(file: &Path) -> Result<Vec<String>, Error> {
    let puller = Puller::default();
    Config::load_with(Some(file), &overrides(), &puller)?;
    Ok(puller.into_said().iter().map(ToString::to_string).collect())
}

/// Where the store is, the environment may say as well; nothing else of it counts in a check.
fn overrides() -> Overrides {
    let is_store = |name: &OsString| {
        let name = name.to_str().unwrap_or_default();
        name.starts_with("PULSEGATE_POLICY_REGISTRY_") || name == "PULSEGATE_JOURNAL_DATA_DIR"
    };
    Overrides::from_environment(std::env::vars_os().filter(|(name, _)| is_store(name)))
}

/// All problems, one a line.
pub(super) fn problems(error: &Error) -> String {
    let count = error.problems().len();
    let noun = if count == 1 { "problem" } else { "problems" };
    format!("the configuration has {count} {noun}\n{error}")
}
