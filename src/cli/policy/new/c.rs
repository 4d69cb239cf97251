//! A policy in C: for any clang, with bindings that are generated here and a C library of a page,
//! so that nothing but a compiler is needed and nothing is imported.

use std::path::Path;

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::{Resolve, SourceMap};

use super::project::{File, Project, WIT, WORLD};

pub(super) fn files(project: &Project) -> Result<Vec<File>, String> {
    let policy = project.render(include_str!("templates/c/policy.c.jinja"))?;
    let makefile = project.render(include_str!("templates/c/Makefile.jinja"))?;
    let header = project.render(include_str!("templates/c/pulsegate.h.jinja"))?;
    let component = project.render(include_str!("templates/c/component.c.jinja"))?;
    let world = project.render(WORLD)?;
    let mut files = vec![
        File::new("policy.c", policy, "the policy: plain functions"),
        File::new("Makefile", makefile, "builds it"),
        File::new("sdk/pulsegate.h", header, "what `policy.c` includes"),
        File::new("sdk/component.c", component, "makes a component of `policy.c`"),
        File::part("sdk/configure.h", include_str!("templates/c/configure.h")),
        File::new(
            "sdk/configure.c",
            include_str!("templates/c/configure.c"),
            "reads what the gateway tells an instance",
        ),
        File::part("sdk/libc/stdlib.h", include_str!("templates/c/libc/stdlib.h")),
        File::part("sdk/libc/string.h", include_str!("templates/c/libc/string.h")),
        File::new(
            "sdk/libc/libc.c",
            include_str!("templates/c/libc/libc.c"),
            "as much of the C library as there is",
        ),
    ];
    files.extend(bindings(&world)?);
    files.push(File::new("wit/world.wit", world, "what it exports; beside it the contract"));
    files.extend(Project::wit("wit/deps/pulsegate-policy"));
    Ok(files)
}

/// What wit-bindgen makes of the world.
fn bindings(world: &str) -> Result<Vec<File>, String> {
    let mut resolve = Resolve::default();
    let mut contract = SourceMap::new();
    for (name, text) in WIT {
        contract.push_str(name, text);
    }
    let contract = contract.parse().map_err(|(_, error)| error.to_string())?;
    resolve.push_group(contract).map_err(|error| error.to_string())?;
    let package = resolve.push_source("world.wit", world).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], None).map_err(|error| format!("{error:#}"))?;
    let mut made = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut made).map_err(|error| format!("{error:#}"))?;
    let what = |path: &str| match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("h") => Some("the words of the contract"),
        _ => None,
    };
    let file = |(path, bytes): (&str, &[u8])| {
        let path = format!("bindings/{path}");
        File { what: what(&path), path, bytes: bytes.to_vec() }
    };
    Ok(made.iter().map(file).collect())
}
