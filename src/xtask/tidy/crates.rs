//! The walls between crates: what each manifest may name.

use super::Finding;

/// What one crate may depend on. What only its tests use is its own business.
struct Wall {
    /// Folder of its manifest.
    folder: &'static str,
    /// Crates of this project that it may use.
    ours: &'static [&'static str],
    /// Other crates.
    others: Others,
}

/// Other crates that a crate may depend on.
enum Others {
    /// These and no more: a wall that keeps a crate small.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

const WALLS: &[Wall] = &[
    Wall {
        folder: "",
        ours: &[
            "wire", "core", "policy", "journal", "gateway", "client", "sim", "cases", "replay",
            "registry",
        ],
        others: Others::AllBut(&["wasmtime", "prometheus"]),
    },
    Wall { folder: "src/wire", ours: &[], others: Others::Only(&["prost", "serde", "serde_json"]) },
    Wall {
        folder: "src/core",
        ours: &["wire"],
        others: Others::Only(&["hashbrown", "siphasher", "thiserror"]),
    },
    Wall {
        folder: "src/policy",
        ours: &["wire", "core"],
        others: Others::AllBut(&["tokio", "hyper", "axum", "prometheus"]),
    },
    Wall {
        folder: "src/journal",
        ours: &["wire", "core"],
        others: Others::AllBut(&["tokio", "hyper", "axum", "quinn", "wasmtime", "prometheus"]),
    },
    Wall {
        folder: "src/gateway",
        ours: &["wire", "core", "policy", "journal", "registry"],
        others: Others::AllBut(&["wasmtime"]),
    },
    Wall {
        folder: "src/client",
        ours: &["wire"],
        others: Others::AllBut(&["wasmtime", "axum", "prometheus"]),
    },
    Wall {
        folder: "src/sim",
        ours: &["wire", "core", "policy"],
        others: Others::Only(&["prost", "serde_json", "thiserror"]),
    },
    Wall {
        folder: "src/cases",
        ours: &["wire", "core"],
        others: Others::Only(&["serde_json", "thiserror", "toml"]),
    },
    Wall {
        folder: "src/replay",
        ours: &["wire", "core", "policy", "journal"],
        others: Others::Only(&["serde", "serde_json", "thiserror"]),
    },
    Wall {
        folder: "src/registry",
        ours: &[],
        others: Others::AllBut(&[
            "wasmtime",
            "axum",
            "prometheus",
            "quinn",
            "reqwest",
            "openssl",
            "native-tls",
            "ring",
        ]),
    },
    Wall { folder: "src/xtask", ours: &[], others: Others::Only(&[]) },
    // What is a policy's own stays small; only `testing` brings the cases, never into Wasm.
    Wall {
        folder: "plugins/sdk",
        ours: &["wire", "core", "cases"],
        others: Others::AllBut(&["wasmtime", "tokio"]),
    },
    Wall {
        folder: "plugins/steady",
        ours: &["sdk"],
        others: Others::AllBut(&["wasmtime", "tokio"]),
    },
    Wall {
        folder: "plugins/queue-pressure",
        ours: &["sdk"],
        others: Others::AllBut(&["wasmtime", "tokio"]),
    },
    Wall {
        folder: "plugins/ladder",
        ours: &["sdk"],
        others: Others::AllBut(&["wasmtime", "tokio"]),
    },
    Wall {
        folder: "plugins/misbehaving",
        ours: &["sdk"],
        others: Others::AllBut(&["wasmtime", "tokio"]),
    },
    Wall {
        folder: "tests/fuzz",
        ours: &["wire", "core", "policy", "journal", "gateway", "registry"],
        others: Others::Only(&["libfuzzer-sys", "prost", "serde_json", "tokio", "wat"]),
    },
];

/// Checks manifests, given by path and text.
pub(super) fn check(manifests: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in manifests {
        let folder = path.trim_end_matches("Cargo.toml").trim_end_matches('/');
        match WALLS.iter().find(|wall| wall.folder == folder) {
            Some(wall) => findings.extend(check_one(wall, path, text)),
            None => findings.push(Finding::new(
                path,
                1,
                "this crate has no place in the table of walls (xtask/tidy/crates.rs)",
            )),
        }
    }
    findings
}

fn check_one(wall: &Wall, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut section = "";
    let mut has_lints = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            has_lints |= section == "lints";
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let name = key.trim().split('.').next().unwrap_or(key).trim_matches('"');
        let of_crate = section.ends_with("dependencies") && !section.starts_with("workspace");
        if !of_crate || line.starts_with('#') {
            continue;
        }
        // A crate that asks itself for a feature in its tests has no version to state.
        let is_itself = value.contains("path = \".\"");
        if !key.contains(".workspace") && !value.contains("workspace = true") && !is_itself {
            let why = format!("{name}: its version belongs into the workspace");
            findings.push(Finding::new(path, index + 1, why));
        }
        if !section.ends_with("dev-dependencies") && !wall.allows(name) {
            let why = format!("{name} is on the other side of this crate's wall");
            findings.push(Finding::new(path, index + 1, why));
        }
    }
    if !has_lints && !wall.folder.starts_with("plugins/") {
        findings.push(Finding::new(path, 1, "the lints of the workspace are not taken over"));
    }
    findings
}

impl Wall {
    fn allows(&self, name: &str) -> bool {
        match name.strip_prefix("pulsegate-") {
            Some(ours) => self.ours.contains(&ours),
            None => match self.others {
                Others::Only(allowed) => allowed.contains(&name),
                Others::AllBut(refused) => !refused.contains(&name),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let lints = "[lints]\nworkspace = true\n";
        let manifest = (path.to_owned(), format!("{lints}{text}"));
        check(&[manifest]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dependency_behind_the_wall_is_found() {
        let tokio = "[dependencies]\ntokio.workspace = true\n";
        let why = "src/core/Cargo.toml:4: tokio is on the other side of this crate's wall";
        assert_eq!(found("src/core/Cargo.toml", tokio), [why]);
        assert_eq!(found("src/policy/Cargo.toml", tokio).len(), 1);
        assert!(found("src/gateway/Cargo.toml", tokio).is_empty());
        let core = "[dependencies]\npulsegate-core = { workspace = true }\n";
        assert_eq!(found("src/client/Cargo.toml", core).len(), 1);
        let build = "[build-dependencies]\nserde.workspace = true\n";
        assert_eq!(found("src/xtask/Cargo.toml", build).len(), 1);
    }

    #[test]
    fn what_only_tests_use_is_free() {
        let tokio = "[dev-dependencies]\ntokio.workspace = true\n";
        assert!(found("src/core/Cargo.toml", tokio).is_empty());
    }

    #[test]
    fn a_version_outside_the_workspace_is_found() {
        assert_eq!(found("src/gateway/Cargo.toml", "[dependencies]\nbytes = \"1\"\n").len(), 1);
        let itself = "[dev-dependencies]\npulsegate-policy = { path = \".\" }\n";
        assert!(found("src/policy/Cargo.toml", itself).is_empty());
    }

    #[test]
    fn a_crate_without_a_place_or_without_lints_is_found() {
        assert_eq!(found("src/attic/Cargo.toml", "").len(), 1);
        let manifest = ("src/wire/Cargo.toml".to_owned(), "[dependencies]\n".to_owned());
        assert_eq!(check(&[manifest]).len(), 1);
    }
}
