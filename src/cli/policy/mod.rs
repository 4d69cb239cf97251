//! `pulsegate policy`: policies as their authors work on them.

mod registry;

use super::{Exit, Failure, Outcome, pulled, text};

/// Arguments of `pulsegate policy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Pull a policy from a registry, and print the digest to pin.
    Pull(registry::PullArgs),
    /// Push a policy to a registry.
    Push(registry::PushArgs),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Pull(args) => registry::pull(args),
        Command::Push(args) => registry::push(args),
    }
}
