//! `pulsegate journal`: looking at a journal, checking it, copying it, putting a copy back.

mod copy;
mod export;
mod replay;
mod stats;
mod verify;

use std::path::PathBuf;

use pulsegate_journal::OpenError;
use pulsegate_journal::offline::Offline;

use super::{Exit, Failure, Outcome, serve};

/// Arguments of `pulsegate journal`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All but `backup` of a running gateway read the data directory themselves, so no \
                  gateway may have it open; a backup can be looked at instead, as --data DIR.\n\
                  Example: pulsegate journal verify --data /var/lib/pulsegate"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Recompute from the records alone that no agent was suspected or failed early.
    Verify(verify::Args),
    /// Print every event as JSON, a line each.
    Export(export::Args),
    /// Count what is there.
    Stats(stats::Args),
    /// Rebuild the durable state of all agents, and print its digest.
    Replay(replay::Args),
    /// Copy the journal of a running gateway, or one that no gateway has open.
    Backup(copy::BackupArgs),
    /// Put a backup into an empty data directory.
    Restore(copy::RestoreArgs),
}

/// Where the journal is.
#[derive(Debug, clap::Args)]
struct Data {
    /// Data directory, or a backup of one; default: where `pulsegate serve` keeps it
    #[arg(long, env = "PULSEGATE_JOURNAL_DATA_DIR", value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Data {
    fn directory(&self) -> Result<PathBuf, Failure> {
        self.data.clone().map_or_else(serve::data_directory, Ok)
    }

    fn open(&self) -> Result<Offline, Failure> {
        Offline::open(&self.directory()?).map_err(|error| refused(&error))
    }
}

/// A journal that cannot be opened, as a command ends.
fn refused(error: &OpenError) -> Failure {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Failure::new(Exit::Refused, message)
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Verify(args) => verify::run(args),
        Command::Export(args) => export::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Backup(args) => copy::backup(args),
        Command::Restore(args) => copy::restore(args),
    }
}
