//! What a component imports and exports, by name: registries show it, and what is none is not
//! pushed.

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use crate::error::Error;

/// Names at the outside of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
}

/// Reads the names of a component.
///
/// # Errors
/// [`Error::NotComponent`], when the bytes are no component.
pub(crate) fn names(bytes: &[u8]) -> Result<Names, Error> {
    let not = |why: String| Error::NotComponent { why };
    if !bytes.starts_with(b"\0asm") {
        return Err(not("the file is no WebAssembly".to_owned()));
    }
    let mut names = Names::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| not(format!("the file is no component: {error}")))? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                let why = "the file is a core module; `wasm-tools component new` makes a \
                           component of it";
                return Err(not(why.to_owned()));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|error| not(error.to_string()))?;
                    names.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|error| not(error.to_string()))?;
                    names.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component: magic and version, and nothing in it.
    pub(crate) const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn what_is_no_component_is_not_pushed() {
        for (bytes, why) in [
            (&b""[..], "no WebAssembly"),
            (b"#!/bin/sh", "no WebAssembly"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"\0asm\x0d\0\x01\0\xff", "no component"),
            (b"\0asm", "no component"),
        ] {
            let error = names(bytes).unwrap_err();
            assert!(matches!(error, Error::NotComponent { .. }));
            assert!(error.to_string().contains(why), "{bytes:?}: {error}");
        }
        assert_eq!(names(EMPTY).unwrap(), Names::default());
    }
}
