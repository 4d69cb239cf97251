//! The command line: what each command takes, and its exit code.
//!
//! Only this room prints. Answers go to standard output, everything else to standard error;
//! `--json` gives one JSON document and nothing else.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the room that prints")]

mod agents;
mod beat;
mod config;
mod dead_letters;
mod demo;
mod explain;
mod journal;
mod leases;
mod operator;
mod policy;
mod pulled;
mod serve;
mod sim;
mod text;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pulsegate_gateway::server;

/// How a command ended, as shells see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// What was asked for was done.
    Done = 0,
    /// It was refused, or not found.
    Refused = 1,
    /// A flag or the configuration is wrong (EX_USAGE of sysexits.h).
    Usage = 64,
    /// The gateway cannot be reached, or cannot listen (EX_UNAVAILABLE).
    Unavailable = 69,
}

/// An error with the exit code that it ends a command with.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Self { exit, message: message.to_string() }
    }
}

impl From<&server::Error> for Failure {
    fn from(error: &server::Error) -> Self {
        let exit = match error {
            server::Error::Listen { .. } | server::Error::Threads(_) => Exit::Unavailable,
            _ => Exit::Usage,
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self { exit, message }
    }
}

type Outcome = Result<(), Failure>;

/// Heartbeat gateway whose WebAssembly policies pace every agent of a fleet.
#[derive(Debug, Parser)]
#[command(
    name = "pulsegate",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 refused or not found, 2 a wrong flag, 64 a wrong \
                  configuration, 69 the gateway cannot be reached or cannot listen."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; needs no file.
    Serve(serve::Args),
    /// Run a gateway and a fleet of real agents, and watch them.
    Demo(demo::Args),
    /// List the agents that a gateway knows.
    Agents(agents::Args),
    /// Say why an agent beats at its cadence.
    Explain(explain::Args),
    /// List the leases that are held.
    Leases(leases::Args),
    /// Print what happens, as it happens.
    Watch(watch::Args),
    /// List, show, replay or remove what a gateway could not handle.
    DeadLetters(dead_letters::Args),
    /// Send one heartbeat and print the directive.
    Beat(beat::Args),
    /// Print or check a configuration.
    Config(config::Args),
    /// Look at a journal, check it, copy it, put a copy back.
    Journal(journal::Args),
    /// Make, check, test, measure, replay, pull or push a policy; roll one out on a gateway.
    Policy(policy::Args),
    /// Run the simulator: one seed, a scenario, or a hunt for seeds that fail.
    Sim(sim::Args),
    /// One agent of the demo.
    #[command(hide = true)]
    DemoAgent(demo::AgentArgs),
    /// Ask the demo to replace an agent's process.
    #[command(hide = true)]
    DemoRestart(demo::RestartArgs),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Agents(args) => agents::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Leases(args) => leases::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Beat(args) => beat::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::DemoAgent(args) => demo::run_agent(&args),
        Command::DemoRestart(args) => demo::run_restart(&args),
    };
    match outcome {
        Ok(()) => ExitCode::from(Exit::Done as u8),
        Err(failure) => {
            eprintln!("pulsegate: {}", failure.message);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// A small runtime for commands that ask one thing.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, error))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
