//! Running other programs, step by step, each with its duration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Why a chore stopped, as one sentence for people.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

/// What a chore comes to.
pub(crate) type Outcome = Result<(), Failed>;

/// The root of the workspace, wherever the chore is started from.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The same cargo that runs this chore, started at the root of the workspace.
pub(crate) fn cargo<S: AsRef<str>>(args: &[S]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args.iter().map(AsRef::as_ref)).current_dir(root());
    command
}

/// Runs a command to its end, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Outcome {
    println!("$ {}", line(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed(format!("`{}` ended with {status}", line(command)))),
        Err(error) => Err(Failed(format!("`{}` did not start: {error}", line(command)))),
    }
}

/// What a command prints; `None` when it does not start or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as somebody would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let settings = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}={:?}", key.to_string_lossy(), value?.to_string_lossy()))
    });
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    settings.chain(std::iter::once(name)).chain(args).collect::<Vec<_>>().join(" ")
}

/// A list of named steps; stops at the first that fails and says how long each took.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs one step.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Outcome,
    ) -> Result<(), Failed> {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        self.done.push((name, took));
        match outcome {
            Ok(()) => {
                println!("== {name}: passed in {:.1} s", took.as_secs_f64());
                Ok(())
            }
            Err(Failed(why)) => {
                self.summary();
                Err(Failed(format!("{name} failed after {:.1} s: {why}", took.as_secs_f64())))
            }
        }
    }

    /// Prints every step with its duration.
    pub(crate) fn summary(&self) {
        println!("\n{:<12} {:>8}", "step", "seconds");
        for (name, took) in &self.done {
            println!("{name:<12} {:>8.1}", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("{:<12} {:>8.1}", "total", total.as_secs_f64());
    }
}
