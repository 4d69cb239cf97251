//! The project's chores: `cargo xtask setup|demo|test|ci|tidy|bench|science|fuzz`.
//!
//! Only the standard library, so that the first chore on a fresh machine starts within seconds.
//! Every chore says what it runs, so that it can be run by hand as well.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that talks to a terminal")]

mod bench;
mod ci;
mod fuzz;
mod setup;
mod shell;
mod tidy;

use std::process::ExitCode;

use shell::Failed;

const HELP: &str = "\
The project's chores.

Usage: cargo xtask CHORE [ARGUMENTS]

  setup          installs the toolchain and the Wasm target that rust-toolchain.toml names
  demo [ARGS]    setup, then `pulsegate demo ARGS`: a gateway and a fleet on this machine
  test [ARGS]    setup, then every test: unit, integration, tiny benches, documentation
  ci             everything that a change must pass, the quick checks first
  tidy           the house rules: sizes, imports between rooms, dependencies of crates
  bench [WHICH]  core, policy, journal, sim, http, transports or memory; all without WHICH
  science        measures this gateway and its peers in the simulator, and writes the science page
                 of the manual anew: a quarter of an hour on two cores
  fuzz [TARGET] [--seconds N]
                 libFuzzer over the parsers, by cargo-fuzz; every target, a minute each
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("setup") if rest.is_empty() => setup::run(),
        Some("demo") => ci::demo(rest),
        Some("test") => ci::test(rest),
        Some("ci") if rest.is_empty() => ci::run(),
        Some("tidy") if rest.is_empty() => tidy::run(),
        Some("bench") => bench::run(rest),
        Some("science") if rest.is_empty() => bench::science(),
        Some("fuzz") => fuzz::run(rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
