//! `pulsegate policy`: the policies of a running gateway.

mod live;

use super::{Exit, Failure, Outcome, block_on, operator, text};

/// Arguments of `pulsegate policy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Live(live::Command),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Live(command) => live::run(command),
    }
}
