//! Builds the policies in `plugins/` for Wasm, makes components of them, and hands them to the
//! crate to embed, so that the binary works alone.
//!
//! A cargo of its own does it, in a target directory of its own: the outer cargo holds the lock
//! of the usual one, and its flags (coverage, clippy, native processor features) are not meant
//! for Wasm.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "how a build script speaks")]
#![allow(clippy::disallowed_methods, reason = "and how cargo speaks to it")]

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";
/// The profile of policies, in the root `Cargo.toml`.
const PROFILE: &str = "policy";
const REFERENCE: [&str; 3] = ["steady", "queue-pressure", "ladder"];
const FIXTURES: [&str; 29] = [
    "spins",
    "traps",
    "eats-memory",
    "returns-nan",
    "returns-infinite",
    "returns-negative",
    "returns-huge",
    "returns-oversized-rows",
    "returns-short-rows",
    "returns-unknown-reason",
    "returns-many-rungs",
    "flaps",
    "logs-endlessly",
    "exports-nothing",
    "describes-badly",
    "judges",
    "remembers",
    "slow-under-load",
    "describes-hugely",
    "traps-rarely",
    "spins-rarely",
    "counts-calls",
    "leans-on-the-last",
    "mixes-rows",
    "traps-later",
    "plans-by-turns",
    "describes-anew",
    "full-contract",
    "busy-bees",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let fixtures = env::var_os("CARGO_FEATURE_FIXTURES").is_some();
    watch(&root, fixtures);
    require_target()?;

    let packages: Vec<_> =
        REFERENCE.iter().flat_map(|name| ["-p".into(), format!("pulsegate-{name}")]).collect();
    let built = build(&root, &out, &packages)?;
    let modules: Vec<_> = REFERENCE
        .iter()
        .map(|name| (*name, built.join(format!("pulsegate_{}.wasm", name.replace('-', "_")))))
        .collect();
    fs::write(out.join("empty.wasm"), wat::parse_file(root.join("src/policy/empty.wat"))?)?;
    embed(&out, "reference.rs", "Names and components of the reference policies.", &modules)?;

    if fixtures {
        let packages = ["-p", "pulsegate-misbehaving", "--examples"].map(String::from);
        let built = build(&root, &out, &packages)?.join("examples");
        let modules: Vec<_> = FIXTURES
            .iter()
            .map(|name| (*name, built.join(format!("{}.wasm", name.replace('-', "_")))))
            .collect();
        embed(&out, "fixtures.rs", "Names and components of the fixtures.", &modules)?;
    }
    Ok(())
}

/// Only what the components are made of makes this run again.
fn watch(root: &Path, fixtures: bool) {
    let mut paths = vec!["wit", "plugins/sdk", "Cargo.lock", "rust-toolchain.toml"];
    paths.extend(["plugins/steady", "plugins/queue-pressure", "plugins/ladder"]);
    if fixtures {
        paths.push("plugins/misbehaving");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=empty.wat");
    for path in paths {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
}

/// Says what to do when the compiler cannot build for Wasm.
fn require_target() -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let there = asked.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(path.trim()).is_dir()
    });
    if there {
        return Ok(());
    }
    Err(format!(
        "the reference policies need the Rust target {TARGET}: \
         run `cargo xtask setup` (or `rustup target add {TARGET}`)"
    )
    .into())
}

/// Runs a cargo of its own; answers the directory of what it built.
fn build(root: &Path, out: &Path, packages: &[String]) -> Result<PathBuf> {
    let target_dir = out.join("wasm");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--quiet", "--profile", PROFILE, "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .args(packages);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the policies do not build for {TARGET}:\n{said}").into());
    }
    Ok(target_dir.join(TARGET).join(PROFILE))
}

/// Variables that steer the outer build and would change or break the inner one. What says where
/// crates come from (`CARGO_HOME`, `CARGO_NET_*`, `CARGO_HTTP_*`, `CARGO_REGISTR*`,
/// `CARGO_SOURCE_*`) stays, and so does the jobserver.
fn is_of_the_outer_build(name: &str) -> bool {
    const STAY: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    const GO: [&str; 10] = [
        "CARGO_",
        "RUSTFLAGS",
        "RUSTDOC",
        "RUSTC",
        "CLIPPY_",
        "__CARGO",
        "TARGET",
        "HOST",
        "OPT_LEVEL",
        "PROFILE",
    ];
    GO.iter().any(|prefix| name.starts_with(prefix))
        && !STAY.iter().any(|prefix| name.starts_with(prefix))
}

/// Makes components of modules and writes the list that the crate includes.
fn embed(out: &Path, file: &str, doc: &str, modules: &[(&str, PathBuf)]) -> Result<()> {
    let mut list = format!("/// {doc}\npub const ALL: &[(&str, &[u8])] = &[\n");
    for (name, module) in modules {
        let bytes = fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
        let component = ComponentEncoder::default()
            .module(&bytes)
            .and_then(|encoder| encoder.validate(true).encode())
            .map_err(|error| format!("{name} is no component: {error:#}"))?;
        fs::write(out.join(format!("{name}.wasm")), component)?;
        writeln!(
            list,
            "    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.wasm\"))),"
        )?;
    }
    list.push_str("];\n");
    fs::write(out.join(file), list)?;
    Ok(())
}
