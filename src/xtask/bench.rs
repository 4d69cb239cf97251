//! `cargo xtask bench` and `science`: every figure of the README and the manual, by name.

use crate::shell::{Failed, Outcome, cargo, run as execute};

/// The benches of the root package, as they are asked for.
const BENCHES: [&str; 8] =
    ["core", "policy", "journal", "replay", "sim", "http", "transports", "memory"];

/// Runs one bench, or all of them; what stands behind the name goes to the bench itself.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (which, rest) = match args.split_first() {
        None => (BENCHES.as_slice(), args),
        Some((name, rest)) => match BENCHES.iter().position(|bench| bench == name) {
            Some(index) => (&BENCHES[index..=index], rest),
            None => {
                return Err(Failed(format!(
                    "no bench is called {name}; there are {}",
                    BENCHES.join(", ")
                )));
            }
        },
    };
    for name in which {
        let mut bench = cargo(&["bench", "--package", "pulsegate", "--bench", name]);
        if !rest.is_empty() {
            bench.arg("--").args(rest);
        }
        execute(&mut bench)?;
    }
    Ok(())
}

/// The science page of the manual, from a run of the simulator in release.
pub(crate) fn science() -> Outcome {
    let run = ["run", "--release", "--quiet", "--package", "pulsegate", "--"];
    let mut command = cargo(&run);
    execute(command.args(["sim", "--science", "src/manual/science.md"]))
}
