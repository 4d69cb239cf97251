//! `cargo xtask setup`: the toolchain that `rust-toolchain.toml` names, its components and the
//! Wasm target. Quick when everything is there; safe to run again.

use std::path::Path;
use std::process::Command;

use crate::shell::{self, Failed, Outcome};

/// What `rust-toolchain.toml` asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    channel: String,
    components: Vec<String>,
    targets: Vec<String>,
}

/// Installs what is missing, and says so.
pub(crate) fn run() -> Outcome {
    let path = shell::root().join("rust-toolchain.toml");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failed(format!("cannot read {}: {error}", path.display())))?;
    let wanted = Wanted::parse(&text)
        .ok_or_else(|| Failed("rust-toolchain.toml names no channel".into()))?;
    c_compiler()?;
    if is_complete(&wanted) {
        println!("setup: Rust {} with {} is there", wanted.channel, wanted.targets.join(", "));
        return Ok(());
    }
    if shell::output(Command::new("rustup").arg("--version")).is_none() {
        return Err(Failed(format!(
            "Rust {} with the target {} is needed, and rustup, which could install it, is not \
             there: see https://rustup.rs (Debian: apt install rustup)",
            wanted.channel,
            wanted.targets.join(", ")
        )));
    }
    println!("setup: installing Rust {} with {}", wanted.channel, wanted.targets.join(", "));
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", &wanted.channel, "--profile", "minimal"]);
    for component in &wanted.components {
        install.args(["--component", component]);
    }
    for target in &wanted.targets {
        install.args(["--target", target]);
    }
    install.arg("--no-self-update").current_dir(shell::root());
    shell::run(&mut install)
}

/// TLS is compiled from C.
fn c_compiler() -> Outcome {
    let named = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    match shell::output(Command::new(&named).arg("--version")) {
        Some(_) => Ok(()),
        None => Err(Failed(format!(
            "the C compiler `{named}` is needed for the TLS library and is not there (Debian: \
             apt install build-essential)"
        ))),
    }
}

/// Whether the compiler that cargo uses here is the wanted one, with everything that it needs.
fn is_complete(wanted: &Wanted) -> bool {
    let rustc =
        |args: &[&str]| shell::output(Command::new("rustc").args(args).current_dir(shell::root()));
    let Some(version) = rustc(&["--version"]) else { return false };
    let Some(sysroot) = rustc(&["--print", "sysroot"]) else { return false };
    let sysroot = Path::new(sysroot.trim());
    let target_there =
        |target: &String| sysroot.join("lib/rustlib").join(target).join("lib").is_dir();
    let component_there = |component: &String| {
        let program = if component == "clippy" { "cargo-clippy" } else { component };
        sysroot.join("bin").join(program).is_file()
    };
    version.split(' ').nth(1) == Some(wanted.channel.as_str())
        && wanted.targets.iter().all(target_there)
        && wanted.components.iter().all(component_there)
}

impl Wanted {
    /// Reads the few keys that the file has; each stands on a line of its own.
    fn parse(text: &str) -> Option<Self> {
        let mut wanted = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let words: Vec<String> =
                value.split('"').skip(1).step_by(2).map(str::to_owned).collect();
            match key.trim() {
                "channel" => wanted.channel = words.first()?.clone(),
                "components" => wanted.components = words,
                "targets" => wanted.targets = words,
                _ => {}
            }
        }
        (!wanted.channel.is_empty()).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_file_of_this_project_is_understood() {
        let text = std::fs::read_to_string(shell::root().join("rust-toolchain.toml")).unwrap();
        let wanted = Wanted::parse(&text).unwrap();
        assert_eq!(wanted.components, ["clippy", "rustfmt"]);
        assert_eq!(wanted.targets, ["wasm32-unknown-unknown"]);
        assert!(wanted.channel.starts_with("1."), "{}", wanted.channel);
    }

    #[test]
    fn a_file_without_a_channel_is_refused() {
        assert_eq!(Wanted::parse("[toolchain]\nprofile = \"minimal\"\n"), None);
    }
}
