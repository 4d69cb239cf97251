//! `pulsegate policy`: making a policy, and looking at one.

mod component;
mod new;

use super::{Exit, Failure, Outcome};

/// Arguments of `pulsegate policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pulsegate policy new queue-watch --lang python")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a project that builds a policy, with an example and its test cases.
    New(new::Args),
    /// Make a component of the module that a compiler made.
    Component(component::Args),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::New(args) => new::run(args),
        Command::Component(args) => component::run(args),
    }
}
