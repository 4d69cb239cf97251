//! `cargo xtask tidy`: the house rules that a machine can check. They also run as a test.
//!
//! A rule is a function from what it looks at to its findings; the bad examples that each must
//! find stand in its tests. Add a rule when a review has said the same thing twice.

mod crates;
mod house;
mod lexer;
mod rooms;
mod sizes;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::shell::{self, Failed, Outcome};
use lexer::Source;

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    why: String,
}

impl Finding {
    fn new(path: &str, line: usize, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, why: why.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.why)
    }
}

/// Folders that hold what this project has written.
const FOLDERS: [&str; 5] = ["src", "plugins", "wit", "tests", "benches"];

/// Checks the whole project.
pub(crate) fn run() -> Outcome {
    let root = shell::root();
    let (files, findings) = check(&root)?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {files} files keep the house rules");
        return Ok(());
    }
    Err(Failed(format!("{} of the house rules' findings stand above", findings.len())))
}

/// How many files were looked at, and what was found, in the order of paths and lines.
fn check(root: &Path) -> Result<(usize, Vec<Finding>), Failed> {
    let unreadable = |error: std::io::Error| Failed(format!("cannot read the project: {error}"));
    let mut paths = vec![root.join("Cargo.toml")];
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        if folder.is_dir() {
            collect(&folder, &mut paths).map_err(unreadable)?;
        }
    }
    let mut findings = house::check(&names(root).map_err(unreadable)?);
    let mut manifests = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                findings.extend(check_source(&Source::new(&name, &text)));
            }
            Some("toml") if name.ends_with("Cargo.toml") => {
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                manifests.push((name, text));
            }
            _ => {}
        }
    }
    findings.extend(crates::check(&manifests));
    findings.sort();
    Ok((paths.len(), findings))
}

/// Every rule about one Rust file.
fn check_source(source: &Source) -> Vec<Finding> {
    [sizes::check(source), words::check(source), rooms::check(source)].concat()
}

/// Files below a folder, in the order of their names; build results and hidden files left out.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<std::io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "target" || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// Names at the top level.
fn names(root: &Path) -> std::io::Result<Vec<String>> {
    std::fs::read_dir(root)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_project_keeps_its_own_rules() {
        let (files, findings) = check(&shell::root()).unwrap();
        let listed: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(listed.is_empty(), "{}", listed.join("\n"));
        assert!(files > 30, "only {files} files were looked at");
    }
}
