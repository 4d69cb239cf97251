//! Projects as `pulsegate policy new` makes them, in every language: built with that language's
//! own tools, loaded, and asked their own cases.
//!
//! The tools come from the usual registries into a folder under the target folder, once. Where a
//! language is not on this machine, or its tools cannot be had, its tests are skipped and say so;
//! a build that fails fails.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pulsegate_policy::{Error, Pool};

use crate::cases::{self, Loaded};
use crate::process::{pulsegate, stderr, stdout};

const ALL: &str = "health,cadence,recovery";

/// A project in a folder of its own, which is made anew.
struct Project {
    folder: PathBuf,
    told: serde_json::Value,
}

impl Project {
    fn new(name: &str, lang: &str, exports: &str) -> Self {
        let folder = under_target(&format!("templates/{lang}-{name}"));
        let _absent = fs::remove_dir_all(&folder);
        let path = folder.to_str().unwrap();
        let made = pulsegate(&[
            "policy",
            "new",
            name,
            "--lang",
            lang,
            "--exports",
            exports,
            "--path",
            path,
            "--json",
        ]);
        assert!(made.status.success(), "{}", stderr(&made));
        Self { folder, told: serde_json::from_str(&stdout(&made)).unwrap() }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }

    /// A command in the folder of the project.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = clean(program.as_ref());
        command.current_dir(&self.folder);
        command
    }

    /// What the build left where the command said that it would.
    fn built(&self) -> Vec<u8> {
        fs::read(self.told["policy"].as_str().unwrap()).expect("the build leaves it there")
    }

    /// Loads the policy and asks its cases.
    fn holds(&self, pool: Pool) -> Loaded {
        let loaded = cases::load(self.built(), pool).unwrap_or_else(|error| panic!("{error}"));
        let asked = cases::hold(&loaded, &self.read("cases.toml"));
        assert!(asked >= 3, "{asked} cases");
        loaded
    }
}

#[test]
fn a_policy_in_rust_builds_from_the_sdk_that_it_carries_and_holds_its_cases() {
    for (name, exports) in [("queue-watch", ALL), ("only-cadence", "cadence"), ("heal", "recovery")]
    {
        let project = Project::new(name, "rust", exports);
        // The crates that this workspace was built with, which are there without a network.
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
        fs::copy(lock, project.folder.join("Cargo.lock")).unwrap();
        let mut build = project.command(env!("CARGO"));
        build.args(["build", "--offline", "--release", "--target", "wasm32-unknown-unknown"]);
        // The folder of the others too, so that the SDK is built once.
        let target = under_target("templates/rust-target");
        let built = succeed(build.env("CARGO_TARGET_DIR", &target).arg("--quiet"));
        built.unwrap_or_else(|why| panic!("{why}"));
        let _absent = fs::remove_dir_all(project.folder.join("target"));
        symlink(&target, project.folder.join("target")).unwrap();
        let loaded = project.holds(Pool::Native);
        assert_eq!(loaded.answers(), exports, "{name}");
    }
}

#[test]
fn the_functions_of_a_policy_in_rust_are_tested_without_a_gateway() {
    let project = Project::new("plain", "rust", ALL);
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    fs::copy(lock, project.folder.join("Cargo.lock")).unwrap();
    let mut test = project.command(env!("CARGO"));
    test.args(["test", "--offline", "--quiet"]);
    let output = test.env("CARGO_TARGET_DIR", under_target("templates/rust-target"));
    let said = succeed(output).unwrap_or_else(|why| panic!("{why}"));
    assert!(said.contains("3 passed"), "{said}");
}

#[test]
fn a_policy_in_python_holds_its_cases_in_the_pool_of_interpreted_ones() {
    let Some(python) = python() else { return };
    let project = Project::new("queue-watch", "python", ALL);
    build(project.command(python).args(["-B", "build.py"]));
    let refused = cases::load(project.built(), Pool::Native).map(drop).expect_err("18 MB");
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    assert!(refused.to_string().contains("pool = \"interpreted\""), "{refused}");
    let loaded = project.holds(Pool::Interpreted);
    assert_eq!(loaded.answers(), ALL);
    cases::is_the_same_on_fresh_instances(&loaded);
    loaded.refuses_unknown_settings();
}

#[test]
fn a_policy_in_javascript_holds_its_cases_in_the_pool_of_interpreted_ones() {
    let Some(modules) = node_modules() else { return };
    for (name, exports) in [("queue-watch", ALL), ("heal", "recovery")] {
        let project = Project::new(name, "javascript", exports);
        symlink(&modules, project.folder.join("node_modules")).unwrap();
        build(project.command("npm").args(["run", "--silent", "build"]));
        let loaded = project.holds(Pool::Interpreted);
        assert_eq!(loaded.answers(), exports, "{name}");
        cases::is_the_same_on_fresh_instances(&loaded);
        loaded.refuses_unknown_settings();
    }
}

#[test]
fn a_policy_in_c_holds_its_cases_and_needs_no_library() {
    let mut compilers = Vec::new();
    if is_there("clang", "--version") && is_there("wasm-ld", "--version") {
        compilers.push("clang".to_owned());
    }
    if is_there("zig", "version") {
        compilers.push("zig cc".to_owned());
    }
    if compilers.is_empty() || !is_there("make", "--version") {
        return skip("make, clang and wasm-ld", "C");
    }
    for compiler in compilers {
        for (name, exports) in [("queue-watch", ALL), ("only-health", "health")] {
            let project = Project::new(name, "c", exports);
            let flags = "CFLAGS=-std=c11 -O2 -Wall -Wextra -Werror";
            build(project.command("make").args(["--silent", &format!("CC={compiler}"), flags]));
            let loaded = project.holds(Pool::Native);
            assert_eq!(loaded.answers(), exports, "{name}");
            cases::is_the_same_on_fresh_instances(&loaded);
            loaded.refuses_unknown_settings();
        }
    }
}

#[test]
fn a_module_becomes_a_component_on_the_command_line_as_well() {
    let project = Project::new("module", "c", "recovery");
    if !(is_there("clang", "--version") && is_there("make", "--version")) {
        return skip("make and clang", "C");
    }
    build(project.command("make").arg("--silent"));
    let module = project.told["policy"].as_str().unwrap();
    let component = project.folder.join("module.component.wasm");
    let component = component.to_str().unwrap();
    let made = pulsegate(&["policy", "component", module, component]);
    assert!(made.status.success(), "{}", stderr(&made));
    let bytes = fs::read(component).unwrap();
    assert_eq!(bytes[4..8], [13, 0, 1, 0], "the layer of components");
    let loaded = cases::load(bytes, Pool::Native).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.answers(), "recovery");
    let source = project.folder.join("policy.c");
    let source = source.to_str().unwrap();
    // A component is copied as it is.
    for (input, reason) in
        [(component, ""), (source, "is no WebAssembly"), ("/none", "cannot be read")]
    {
        let made = pulsegate(&["policy", "component", input, component]);
        assert_eq!(made.status.success(), reason.is_empty(), "{input}: {}", stderr(&made));
        assert!(stderr(&made).contains(reason), "{}", stderr(&made));
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let project = Project::new("mine", "javascript", "health");
    fs::write(project.folder.join("policy.js"), "mine").unwrap();
    let path = project.folder.to_str().unwrap();
    let again = pulsegate(&["policy", "new", "mine", "--lang", "c", "--path", path]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is not empty"), "{}", stderr(&again));
    assert_eq!(project.read("policy.js"), "mine");
    assert!(!project.folder.join("policy.c").exists());

    let file = project.folder.join("package.json");
    let onto = pulsegate(&["policy", "new", "mine", "--path", file.to_str().unwrap()]);
    assert_eq!(onto.status.code(), Some(1));
    assert!(stderr(&onto).contains("is no folder"), "{}", stderr(&onto));

    let wrong = pulsegate(&["policy", "new", "Not-A-Name", "--path", "never"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(!Path::new("never").exists());
}

#[test]
fn what_is_printed_says_how_to_build_test_and_install() {
    let folder = under_target("templates/printed");
    let _absent = fs::remove_dir_all(&folder);
    let path = folder.to_str().unwrap();
    let made = pulsegate(&["policy", "new", "printed", "--lang", "python", "--path", path]);
    let said = stdout(&made);
    for wanted in [
        "printed is a policy in Python that judges agents",
        "python3 build.py",
        "pulsegate policy test printed.wasm cases.toml",
        "[[policies]]",
        "pool = \"interpreted\"",
        "recovery = \"printed\"",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for wanted in ["`python3 build.py`", "| `policy.py` |", "[[routes]]\nhealth = \"printed\"\n"] {
        assert!(readme.contains(wanted), "{wanted}\n{readme}");
    }
}

/// A folder of this name under the target folder.
fn under_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A command that sees nothing of the tests' own build.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RUSTFLAGS", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn is_there(program: &str, version: &str) -> bool {
    clean(Path::new(program)).arg(version).output().is_ok_and(|output| output.status.success())
}

fn skip(what: &str, language: &str) {
    eprintln!("SKIPPED: {what} cannot be had here, so nobody has built a policy in {language}");
}

fn build(command: &mut Command) {
    succeed(command).unwrap_or_else(|why| panic!("{why}"));
}

/// Runs a command to its end; what it said is the answer, or the error.
fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = said(&output);
    if output.status.success() { Ok(said) } else { Err(format!("{command:?}: {said}")) }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Makes something in a folder unless it is there for the same wish. Any number of processes may
/// ask for it; what was cut short is made anew.
fn once(
    folder: &Path,
    wish: &str,
    make: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    fs::create_dir_all(folder.parent().unwrap()).map_err(|error| error.to_string())?;
    let lock = File::create(folder.with_extension("lock")).map_err(|error| error.to_string())?;
    // Freed with the file, however this ends.
    lock.lock().map_err(|error| error.to_string())?;
    let marker = folder.join("made-of");
    if fs::read_to_string(&marker).is_ok_and(|made| made == wish) {
        return Ok(());
    }
    let _absent = fs::remove_dir_all(folder);
    make()?;
    fs::write(marker, wish).map_err(|error| error.to_string())
}

/// The Python of a virtual environment that has what a project in Python asks for.
fn python() -> Option<PathBuf> {
    if !is_there("python3", "--version") {
        skip("python3", "Python");
        return None;
    }
    let wish = Project::new("wish", "python", "health").read("requirements.txt");
    let folder = under_target("templates-python");
    let python = folder.join("bin/python");
    let made = once(&folder, &wish, || {
        succeed(clean(Path::new("python3")).args(["-m", "venv"]).arg(&folder))?;
        let mut pip = clean(&python);
        pip.args(["-m", "pip", "--disable-pip-version-check", "install", "--no-input", "--quiet"]);
        succeed(pip.arg(wish.trim())).map(drop)
    });
    match made {
        Ok(()) => Some(python),
        Err(why) => {
            skip(&format!("{} ({why})", wish.trim()), "Python");
            None
        }
    }
}

/// The modules that a project in JavaScript asks for.
fn node_modules() -> Option<PathBuf> {
    if !is_there("npm", "--version") || !is_there("node", "--version") {
        skip("node and npm", "JavaScript");
        return None;
    }
    let wish = Project::new("wish", "javascript", "health").read("package.json");
    let folder = under_target("templates-node");
    let made = once(&folder, &wish, || {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        fs::write(folder.join("package.json"), &wish).map_err(|error| error.to_string())?;
        let mut npm = clean(Path::new("npm"));
        npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--silent"]);
        succeed(&mut npm).map(drop)
    });
    match made {
        Ok(()) => Some(folder.join("node_modules")),
        Err(why) => {
            skip(&format!("componentize-qjs ({why})"), "JavaScript");
            None
        }
    }
}
