//! The top level of the house: what a newcomer sees first stays short.

use super::Finding;

/// What stands there; names that begin with a dot are what tools force.
const TOP_LEVEL: [&str; 13] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "clippy.toml",
    "plugins",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "src",
    "tests",
    "wit",
];

/// Results of builds.
const BUILT: &str = "target";

pub(super) fn check(names: &[String]) -> Vec<Finding> {
    names
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with('.') && *name != BUILT && !TOP_LEVEL.contains(name))
        .map(|name| Finding::new(name, 1, "has no place at the top level"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_is_found() {
        let names = ["src", "target", ".ci", "notes.txt"].map(str::to_owned);
        let found: Vec<String> = check(&names).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["notes.txt:1: has no place at the top level"]);
    }
}
