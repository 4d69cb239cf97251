//! Clients that nobody here wrote: aioquic, led by the scripts in `tests/interop`.
//!
//! The scripts run in a virtual environment of Python under the target folder, which the first
//! test that needs it makes. Without Python they are skipped, and say so; anything else that is
//! missing fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pulsegate_gateway::server::Gateway;

use crate::quic_client::{address, counter};
use crate::quic_limits::{Files, Identity};
use crate::support::start;

/// What the scripts need beside Python.
const REQUIREMENTS: &str = include_str!("../interop/requirements.txt");
/// The gateway that they talk to; a certificate comes on top.
const GATEWAY: &str = include_str!("../interop/gateway.toml");
/// Longest run of a script, each of whose waits ends after 30 s by itself.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn a_client_written_from_the_manual_alone_speaks_the_compact_protocol() {
    run("compact.py", |gateway| {
        assert!(accepted(gateway, "quic_stream") > 100);
        assert!(accepted(gateway, "quic_datagram") > 5);
    });
}

#[test]
fn a_client_of_http3_that_nobody_here_wrote_is_served_as_over_tcp() {
    run("http3.py", |gateway| assert!(accepted(gateway, "http3") > 80));
}

#[test]
fn packages_that_cannot_be_had_are_named_and_never_taken_as_installed() {
    let Some(python) = python() else { return };
    let folder = under_target("interop-without");
    let _gone = fs::remove_dir_all(&folder);
    for _ in 0..2 {
        // A place for packages in which there are none.
        let none = format!("--no-index\n--find-links {}\nnobody-has-this==1.0\n", folder.display());
        let why = environment(python, &folder, &none).expect_err("no such package");
        assert!(why.contains("pip") && why.contains("nobody-has-this==1.0"), "{why}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// Heartbeats that were accepted over a transport.
fn accepted(gateway: &Gateway, transport: &str) -> u64 {
    let labels = format!("transport=\"{transport}\",outcome=\"accepted\"");
    counter(gateway, &format!("pulsegate_heartbeats_total{{{labels}}}"))
}

/// Runs a script against a gateway of its own, and looks at that afterwards.
fn run(script: &str, look: impl FnOnce(&Gateway)) {
    let Some(python) = python() else { return };
    let folder = under_target("interop");
    let python = environment(python, &folder, REQUIREMENTS).unwrap_or_else(|why| panic!("{why}"));
    let files = Files::new(script);
    files.write(&Identity::new());
    let gateway = start(&format!("{GATEWAY}{}", files.toml()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
    let mut command = clean(&python);
    // No bytecode: the folder of the sources stays as it is.
    command.arg("-B").arg(path).arg("--ca").arg(files.certificate());
    command.args(["--https", &gateway.addresses().agents.to_string()]);
    command.args(["--quic", &address(&gateway).to_string()]);
    command.args(["--token", "token-of-the-interop-tenant", "--tenant", "interop"]);
    let output = finish(command);
    let (printed, errors) = texts(&output);
    assert!(output.status.success(), "{script}: {}\n{printed}\n{errors}", output.status);
    // A script that ended early would not have failed.
    let holds = printed.lines().filter(|line| line.starts_with("ok ")).count();
    let last = printed.lines().last();
    assert_eq!(last, Some(format!("all {holds} checks hold").as_str()), "{printed}\n{errors}");
    look(&gateway);
}

/// A folder of this name under the target folder, which other processes may use as well.
fn under_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The command of Python; says so where there is none.
fn python() -> Option<&'static str> {
    let name = "python3";
    let is_there = clean(Path::new(name)).arg("--version").output().is_ok_and(|output| {
        // A name without anything behind it counts as absent too.
        output.status.success()
    });
    if !is_there {
        eprintln!("SKIPPED: {name} is not there, so nobody has tried a client that is not ours");
    }
    is_there.then_some(name)
}

/// Makes a virtual environment with these requirements, unless it is there, and returns its
/// Python. Any number of processes may ask for the same one.
fn environment(python: &str, folder: &Path, requirements: &str) -> Result<PathBuf, String> {
    let lock = File::create(folder.with_extension("lock")).map_err(|error| error.to_string())?;
    // Freed with the file, however this ends.
    lock.lock().map_err(|error| error.to_string())?;
    let inside = folder.join("bin/python");
    let marker = folder.join("requirements.txt");
    let is_whole = fs::read_to_string(&marker).is_ok_and(|made| made == requirements);
    if is_whole && succeed(clean(&inside).args(["-c", "import aioquic"])).is_ok() {
        return Ok(inside);
    }
    let _absent = fs::remove_dir_all(folder);
    succeed(clean(Path::new(python)).args(["-m", "venv"]).arg(folder)).map_err(|why| {
        format!("no virtual environment (Debian: apt install python3-venv): {why}")
    })?;
    let wanted = folder.join("wanted.txt");
    fs::write(&wanted, requirements).map_err(|error| error.to_string())?;
    let mut pip = clean(&inside);
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--requirement",
    ]);
    succeed(pip.arg(&wanted)).map_err(|why| {
        format!(
            "tests/interop/requirements.txt cannot be installed, which takes PyPI, or a mirror \
             that pip knows, and Python 3.11 or newer: {why}"
        )
    })?;
    // Last of all: what was cut short is made anew.
    fs::rename(wanted, marker).map_err(|error| error.to_string())?;
    Ok(inside)
}

/// A command of Python that sees nothing of whoever runs the tests but the settings of pip.
fn clean(python: &Path) -> Command {
    let mut command = Command::new(python);
    for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command; what it said is the error.
fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (printed, errors) = texts(&output);
    Err(format!("{command:?}: {}\n{printed}\n{errors}", output.status))
}

/// Runs a script to its end, or ends it.
fn finish(mut command: Command) -> Output {
    // What it prints fits into a pipe.
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the script starts");
    let started = Instant::now();
    while child.try_wait().expect("waits").is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().expect("it runs");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    child.wait_with_output().expect("what it printed")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
