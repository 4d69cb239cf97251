//! `cargo xtask ci`, and `test` and `demo`, which are parts of it.
//!
//! The order puts what is cheap and fails often first. Three builds of the dependencies are
//! needed and no more: as metadata (clippy, then documentation), in the dev profile (every kind
//! of test) and in release (the demo, as a user starts it).

use crate::shell::{Outcome, Steps, cargo, run as execute};
use crate::{setup, tidy};

/// How the demo runs here: short, and with a result that a machine can read.
const DEMO: [&str; 4] = ["demo", "--seconds", "20", "--json"];

/// Everything that a change must pass.
pub(crate) fn run() -> Outcome {
    let mut steps = Steps::default();
    steps.step("setup", setup::run)?;
    steps.step("fmt", || execute(&mut cargo(&["fmt", "--all", "--check"])))?;
    steps.step("tidy", tidy::run)?;
    steps.step("wasm32", || {
        let target = "wasm32-unknown-unknown";
        execute(&mut cargo(&["check", "--locked", "-p", "pulsegate-core", "--target", target]))
    })?;
    steps.step("clippy", || {
        let args = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        execute(&mut cargo(&args))
    })?;
    steps.step("doc", || {
        let mut doc = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
        execute(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.step("test", || tests(&[]))?;
    steps.step("demo", || execute(&mut demo_command(&DEMO)))?;
    steps.summary();
    Ok(())
}

/// Sets up, then runs every test; arguments go to `cargo test`.
pub(crate) fn test(args: &[String]) -> Outcome {
    setup::run()?;
    tests(args)
}

/// Sets up, then runs the demo in release; arguments go to `pulsegate demo`.
pub(crate) fn demo(args: &[String]) -> Outcome {
    setup::run()?;
    let args: Vec<&str> = std::iter::once("demo").chain(args.iter().map(String::as_str)).collect();
    execute(&mut demo_command(&args))
}

fn demo_command(args: &[&str]) -> std::process::Command {
    let mut command = cargo(&["run", "--release", "--quiet", "--package", "pulsegate", "--"]);
    command.args(args);
    command
}

/// Benches run tiny when cargo does not ask them to measure; they are part of `--all-targets`.
fn tests(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return execute(cargo(&["test", "--workspace"]).args(args));
    }
    execute(&mut cargo(&["test", "--workspace", "--all-targets"]))?;
    execute(&mut cargo(&["test", "--workspace", "--doc"]))
}
