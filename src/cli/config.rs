//! `pulsegate config`: the annotated defaults, and a check without starting.

use std::path::PathBuf;

use pulsegate_gateway::config::{Config, Overrides, template};

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
    #[command(after_help = "Exit codes: 0 fit, 64 problems. Example: pulsegate config check \
                            /etc/pulsegate/pulsegate.toml")]
    Check {
        /// The file, in TOML
        file: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Template => text::print(&template()),
        Command::Check { file } => {
            Config::load(Some(file), &Overrides::default())
                .map_err(|error| Failure::new(Exit::Usage, problems(&error)))?;
            text::print(&format!("{}: fit\n", file.display()));
        }
    }
    Ok(())
}

/// All problems, one a line.
pub(super) fn problems(error: &pulsegate_gateway::config::Error) -> String {
    let count = error.problems().len();
    let noun = if count == 1 { "problem" } else { "problems" };
    format!("the configuration has {count} {noun}\n{error}")
}
