//! `pulsegate policy`: policies as their authors work on them.

mod replay;

use super::Outcome;

/// Arguments of `pulsegate policy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what a policy would have done to recorded heartbeats.
    Replay(replay::Args),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Replay(args) => replay::run(args),
    }
}
