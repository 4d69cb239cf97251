//! `cargo xtask fuzz [TARGET] [--seconds N]`: libFuzzer over the targets of `tests/fuzz`, longer
//! than the tests, which run the same targets over their corpora and a fixed set of mutations.
//!
//! What it finds that reaches new code is kept under `target/fuzz`, so that the next run goes on
//! from there; the corpora of the project stay as small as they are.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::shell::{self, Failed, Outcome, cargo};

/// Time for each target when nothing else is asked for, in seconds. Source: chosen; a coffee for
/// all of them.
const SECONDS: u64 = 60;
/// The package of the targets.
const FOLDER: &str = "tests/fuzz";
/// An input that takes longer is a finding, in seconds. Source: chosen, far above the slowest, a
/// component that spins in each of its functions.
const TIMEOUT: &str = "-timeout=30";

/// Runs one target, or all of them, and says how many inputs each was given.
pub(crate) fn run(args: &[String]) -> Outcome {
    let manifest = shell::root().join(FOLDER).join("Cargo.toml");
    let manifest = std::fs::read_to_string(&manifest)
        .map_err(|error| Failed(format!("cannot read {}: {error}", manifest.display())))?;
    let asked = Asked::read(args, &targets(&manifest))?;
    if shell::output(&mut cargo(&["fuzz", "--version"])).is_none() {
        let why = "cargo-fuzz is not there: cargo install cargo-fuzz";
        return Err(Failed(why.to_owned()));
    }
    let mut reports = Vec::new();
    for target in &asked.targets {
        println!("\n== {target}, {} s", asked.seconds);
        reports.push((target, fuzz(target, asked.seconds)?));
    }
    println!("\n{:<20} {:>12}", "target", "executions");
    for (target, report) in &reports {
        println!("{target:<20} {:>12}  {}", report.executions, report.summary());
    }
    let failed: Vec<&str> = reports
        .iter()
        .filter(|(_, report)| !report.is_good)
        .map(|(target, _)| target.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failed(format!("failed: {}; what to repeat stands above", failed.join(", "))))
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    targets: Vec<String>,
    seconds: u64,
}

impl Asked {
    fn read(args: &[String], known: &[String]) -> Result<Self, Failed> {
        let mut asked = Self { targets: Vec::new(), seconds: SECONDS };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--seconds" {
                let seconds = args.next().and_then(|text| text.parse().ok());
                // libFuzzer takes 0 for no end.
                let seconds = seconds.filter(|seconds| *seconds > 0);
                let why = || Failed("--seconds needs a whole number from 1".to_owned());
                asked.seconds = seconds.ok_or_else(why)?;
            } else if known.contains(arg) {
                asked.targets.push(arg.clone());
            } else {
                let known = known.join(", ");
                return Err(Failed(format!("no target is called {arg}; there are {known}")));
            }
        }
        if asked.targets.is_empty() {
            asked.targets = known.to_vec();
        }
        Ok(asked)
    }
}

/// Names of the programs of a manifest.
fn targets(manifest: &str) -> Vec<String> {
    let bins = manifest.split("[[bin]]").skip(1);
    bins.filter_map(|bin| bin.split('"').nth(1)).map(str::to_owned).collect()
}

/// What came of one target.
#[derive(Debug, Default)]
struct Report {
    executions: u64,
    /// The input that failed.
    kept: Option<String>,
    is_good: bool,
}

impl Report {
    /// Takes a line of libFuzzer.
    fn take(&mut self, line: &str) {
        let value = |mark: &str| line.split_once(mark).map(|(_, value)| value.trim());
        if let Some(count) = value("stat::number_of_executed_units:") {
            self.executions = count.parse().unwrap_or(self.executions);
        }
        if let Some(path) = value("Test unit written to ") {
            self.kept = Some(path.to_owned());
        }
    }

    fn summary(&self) -> String {
        match (&self.kept, self.is_good) {
            (Some(path), _) => format!("FAILED on the input kept in {path}"),
            (None, false) => "FAILED without an input".to_owned(),
            (None, true) => String::new(),
        }
    }
}

fn fuzz(target: &str, seconds: u64) -> Result<Report, Failed> {
    let found = format!("target/fuzz/{target}");
    std::fs::create_dir_all(shell::root().join(&found))
        .map_err(|error| Failed(format!("cannot make {found}: {error}")))?;
    let mut command = command(target, &found, seconds);
    println!("$ {}", shell::line(&command));
    let failed = |error| Failed(format!("cargo fuzz did not start: {error}"));
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut report = Report::default();
    for line in child.stderr.take().into_iter().flat_map(|said| BufReader::new(said).split(b'\n')) {
        let line = line.map_err(failed)?;
        let line = String::from_utf8_lossy(&line);
        report.take(&line);
        // Each new input has a line, and each word that helped; there are thousands.
        if !line.starts_with(['#', '"']) {
            eprintln!("{line}");
        }
    }
    report.is_good = child.wait().map_err(failed)?.success() && report.executions > 0;
    Ok(report)
}

/// The new inputs go into the first folder; the project's own corpus is only read.
///
/// Without a sanitizer: no unsafe code of this project is run by a target, and so it needs no
/// unstable compiler, and reaches about twice as many inputs. Without `cfg(fuzzing)`: what is tried
/// is what is shipped, dependencies included.
fn command(target: &str, found: &str, seconds: u64) -> Command {
    let corpus = format!("{FOLDER}/corpus/{target}");
    let time = format!("-max_total_time={seconds}");
    let build = ["--sanitizer", "none", "--no-cfg-fuzzing", "--features", "libfuzzer"];
    let mut command = cargo(&["fuzz", "run", "--fuzz-dir", FOLDER]);
    command.args(build).args([target, found, corpus.as_str()]);
    command.args(["--", time.as_str(), TIMEOUT, "-print_final_stats=1"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_targets_of_this_project_are_found() {
        let manifest = shell::root().join(FOLDER).join("Cargo.toml");
        let targets = targets(&std::fs::read_to_string(manifest).unwrap());
        assert!(targets.contains(&"heartbeat_json".to_owned()), "{targets:?}");
        for target in targets {
            assert!(shell::root().join(FOLDER).join("corpus").join(&target).is_dir(), "{target}");
        }
    }

    #[test]
    fn all_targets_run_for_a_minute_unless_something_else_is_asked_for() {
        let known = words("config cursors");
        let read = |text: &str| Asked::read(&words(text), &known).map_err(|Failed(why)| why);
        assert_eq!(read(""), Ok(Asked { targets: known.clone(), seconds: 60 }));
        let asked = Asked { targets: words("cursors"), seconds: 5 };
        assert_eq!(read("cursors --seconds 5"), Ok(asked));
        for wrong in ["nothing", "--seconds", "--seconds 0", "cursors --seconds x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let mut report = Report::default();
        report.take("#1024\tpulse  cov: 5 ft: 6 corp: 1/2b lim: 4 exec/s: 512 rss: 40Mb");
        report.take("stat::number_of_executed_units: 74241");
        assert_eq!((report.executions, &report.kept), (74_241, &None));
        report.take("artifact_prefix='a/'; Test unit written to a/crash-5ba93c9d");
        assert_eq!(report.summary(), "FAILED on the input kept in a/crash-5ba93c9d");
    }
}
