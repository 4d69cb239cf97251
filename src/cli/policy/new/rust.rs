//! A policy in Rust, which carries the SDK along: whoever has only the program can build it.

use toml::{Table, Value};

use super::project::{File, Project};

/// The sources of the SDK.
const SDK: [(&str, &str); 9] = [
    ("answers.rs", include_str!("../../../../plugins/sdk/answers.rs")),
    ("bindings.rs", include_str!("../../../../plugins/sdk/bindings.rs")),
    ("config.rs", include_str!("../../../../plugins/sdk/config.rs")),
    ("context.rs", include_str!("../../../../plugins/sdk/context.rs")),
    ("lib.rs", include_str!("../../../../plugins/sdk/lib.rs")),
    ("macros.rs", include_str!("../../../../plugins/sdk/macros.rs")),
    ("rule.rs", include_str!("../../../../plugins/sdk/rule.rs")),
    ("state.rs", include_str!("../../../../plugins/sdk/state.rs")),
    ("Cargo.toml", include_str!("../../../../plugins/sdk/Cargo.toml")),
];
/// What takes the place of lints: the feature `testing` is not there, as it needs more of this
/// repository than a project has, and nobody is warned of it. Cases run with the command's `test`.
const LINTS: &str = "\
[lints.rust.unexpected_cfgs]
level = \"warn\"
check-cfg = [\"cfg(feature, values(\\\"testing\\\"))\"]
";
/// Where the manifest of the SDK has its versions from.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");
/// Where the SDK finds the contract, here and in a project.
const CONTRACT: [&str; 2] = ["path: \"../../wit\"", "path: \"wit\""];

pub(super) fn files(project: &Project) -> Result<Vec<File>, String> {
    let manifest = project.render(include_str!("templates/rust/Cargo.toml.jinja"))?;
    let policy = project.render(include_str!("templates/rust/lib.rs.jinja"))?;
    let mut files = vec![
        File::new("src/lib.rs", policy, "the policy: plain functions"),
        File::part("Cargo.toml", manifest),
        File::part("rust-toolchain.toml", include_str!("templates/rust/rust-toolchain.toml")),
    ];
    for (name, text) in SDK {
        let text = match name {
            "Cargo.toml" => alone(text, WORKSPACE)?,
            _ => text.replace(CONTRACT[0], CONTRACT[1]),
        };
        let path = format!("sdk/{name}");
        let what = (name == "lib.rs").then_some("the SDK of this version of Pulsegate");
        files.push(File { path, bytes: text.into_bytes(), what });
    }
    files.extend(Project::wit("sdk/wit"));
    Ok(files)
}

/// A manifest of the workspace as one that stands alone: what it takes over from the workspace is
/// written out, and what only the workspace can use is left out.
fn alone(manifest: &str, workspace: &str) -> Result<String, String> {
    let read = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let (mut manifest, workspace) = (read(manifest)?, read(workspace)?);
    for section in ["dev-dependencies", "features", "target"] {
        manifest.remove(section);
    }
    manifest.extend(read(LINTS)?);
    for (section, shared) in [("package", "package"), ("dependencies", "dependencies")] {
        let shared = workspace.get("workspace").and_then(|workspace| workspace.get(shared));
        let Some(Value::Table(entries)) = manifest.get_mut(section) else { continue };
        for (name, entry) in entries {
            let Value::Table(own) = entry else { continue };
            if own.remove("workspace").is_none() {
                continue;
            }
            let found = shared.and_then(|shared| shared.get(name));
            *entry = match (found, own.is_empty()) {
                (Some(found), true) => found.clone(),
                (Some(found), false) => Value::Table(merged(found, own)),
                (None, _) => return Err(format!("the workspace has no {name}")),
            };
        }
    }
    toml::to_string(&manifest).map_err(|error| error.to_string())
}

/// A dependency of the workspace with what a crate adds to it.
fn merged(shared: &Value, own: &Table) -> Table {
    let mut all = match shared {
        Value::Table(shared) => shared.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    for (key, value) in own {
        match (all.get_mut(key), value) {
            (Some(Value::Array(features)), Value::Array(more)) => features.extend(more.clone()),
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_whole_sdk_and_the_whole_contract_are_carried_along() {
        let names = |folder: &str, end: &str| -> BTreeSet<String> {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.into_string().unwrap()).filter(|n| n.ends_with(end)).collect()
        };
        let carried = |files: &[(&str, &str)]| -> BTreeSet<String> {
            files.iter().map(|(name, _)| (*name).to_owned()).collect()
        };
        let mut sdk = names("plugins/sdk", "");
        assert!(sdk.remove("testing.rs"), "its feature stays here");
        assert_eq!(carried(&SDK), sdk, "add the file to SDK");
        assert_eq!(carried(&super::super::project::WIT), names("wit", ".wit"), "add it to WIT");
        let bindings = SDK.iter().find(|(name, _)| *name == "bindings.rs").unwrap().1;
        let paths = bindings.matches(CONTRACT[0]).count();
        assert_eq!((bindings.matches("../../").count(), paths), (paths, 5));
    }

    #[test]
    fn a_manifest_stands_alone_with_what_the_workspace_says() {
        let workspace = "[workspace.package]\nversion = \"1.2.3\"\n[workspace.dependencies]\n\
                         plain = \"1\"\nrich = { version = \"2\", features = [\"a\"] }\n";
        let manifest = "[package]\nname = \"x\"\nversion.workspace = true\n[lints]\n\
                        workspace = true\n[dependencies]\nplain.workspace = true\n\
                        rich = { workspace = true, optional = true, features = [\"b\"] }\n\
                        [dev-dependencies]\nother.workspace = true\n";
        let alone = alone(manifest, workspace).unwrap().parse::<Table>().unwrap();
        let expected = "[package]\nname = \"x\"\nversion = \"1.2.3\"\n[dependencies]\n\
                        plain = \"1\"\n\
                        rich = { version = \"2\", features = [\"a\", \"b\"], optional = true }\n";
        let expected = format!("{expected}{LINTS}");
        assert_eq!(alone, expected.parse::<Table>().unwrap());
        let unknown = "[dependencies]\nnone.workspace = true\n";
        assert_eq!(super::alone(unknown, workspace).unwrap_err(), "the workspace has no none");
    }
}
