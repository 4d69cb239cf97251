//! `pulsegate policy`: policies as their authors work on them, and those of a running gateway.

mod bench;
mod check;
mod component;
mod inspect;
mod live;
mod new;
mod registry;
mod replay;
mod run;
mod subject;
mod test;

use super::{Exit, Failure, Outcome, block_on, operator, pulled, text};

/// Arguments of `pulsegate policy`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A policy is the file of a component or of the module that a compiler made, \
                        or steady, queue-pressure or ladder for one that comes with Pulsegate.\n\
                        Examples:\n  pulsegate policy new queue-watch --lang python\n  \
                        pulsegate policy check busy-bees.wasm\n  \
                        pulsegate policy test busy-bees.wasm cases.toml\n  \
                        pulsegate policy run steady --observation errors=7,status=busy"
)]
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
    /// Say whether a gateway would take it: admission, and hundreds of questions asked in several
    /// ways.
    Check(check::Args),
    /// Say what it is and what it wants.
    Inspect(inspect::Args),
    /// Put declared cases to it.
    Test(test::Args),
    /// Measure what a call of it costs.
    Bench(bench::Args),
    /// Put one observation or incident to it.
    Run(run::Args),
    /// Say what a policy would have done to recorded heartbeats.
    Replay(replay::Args),
    /// Pull a policy from a registry, and print the digest to pin.
    Pull(registry::PullArgs),
    /// Push a policy to a registry.
    Push(registry::PushArgs),
    #[command(flatten)]
    Live(live::Command),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::New(args) => new::run(args),
        Command::Component(args) => component::run(args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Test(args) => test::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Pull(args) => registry::pull(args),
        Command::Push(args) => registry::push(args),
        Command::Live(command) => live::run(command),
    }
}

/// A policy that cannot be used, as a command ends.
fn refused(error: &pulsegate_policy::Error) -> Failure {
    Failure::new(Exit::Refused, error)
}
