//! The rooms of the gateway: who may use whom. Data flows one way, and so do imports.

use super::Finding;
use super::lexer::{Source, close, is_word};

/// Every room of `src/gateway`, each with the rooms that it may use, from the ground up: a room
/// uses only rooms that stand above it here.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("config", &["clock"]),
    ("telemetry", &["clock", "config"]),
    ("watch", &["clock", "config", "telemetry"]),
    ("durable", &["clock", "config", "telemetry", "watch"]),
    ("recovery", &["clock", "config", "telemetry", "watch", "durable"]),
    ("witness", &["clock", "config", "telemetry"]),
    ("shard", &["clock", "config", "telemetry", "watch", "durable", "recovery"]),
    ("lease", &["clock", "config", "telemetry", "watch", "durable", "shard"]),
    ("rollout", &["clock", "config", "telemetry", "durable", "shard"]),
    ("admission", &["clock", "config", "telemetry", "shard"]),
    ("dashboard", &["clock", "config", "telemetry"]),
    (
        "api",
        &[
            "clock",
            "config",
            "telemetry",
            "watch",
            "durable",
            "recovery",
            "shard",
            "lease",
            "rollout",
            "admission",
            "dashboard",
        ],
    ),
    (
        "transport",
        &[
            "clock",
            "config",
            "telemetry",
            "watch",
            "durable",
            "shard",
            "admission",
            "dashboard",
            "api",
        ],
    ),
];

/// What stands at the crate's root puts the rooms together, and may use all of them.
const ROOT: [&str; 3] = ["lib.rs", "server.rs", "server"];

const GATEWAY: &str = "src/gateway/";

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix(GATEWAY) else { return Vec::new() };
    let room = inside.split('/').next().unwrap_or(inside);
    if ROOT.contains(&room) {
        return Vec::new();
    }
    let room = room.trim_end_matches(".rs");
    let Some((_, uses)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        let why = format!("room {room} has no place in the table of rooms (xtask/tidy/rooms.rs)");
        return vec![Finding::new(&source.path, 1, why)];
    };
    let is_room = |name: &str| ROOMS.iter().any(|(known, _)| *known == name);
    used(source, depth(inside))
        .into_iter()
        .filter(|(_, name)| name != room && is_room(name) && !uses.contains(&name.as_str()))
        .map(|(offset, name)| {
            let why = format!("{room} must not use {name}: data flows one way");
            Finding::new(&source.path, source.line(offset), why)
        })
        .collect()
}

/// How many modules deep a file of the crate is: `shard.rs` and `shard/mod.rs` one, and so on.
fn depth(inside: &str) -> usize {
    let parts = inside.split('/').count();
    if inside.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// Names at the root of the crate that the file uses, with offsets.
fn used(source: &Source, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for offset in source.words("crate") {
        if source.code[offset..].starts_with("crate::") {
            found.extend(names(&source.code, offset, offset + "crate::".len()));
        }
    }
    for offset in source.words("super") {
        if source.code[..offset].ends_with("::") {
            continue;
        }
        let rest = &source.code[offset..];
        let supers = rest.split("::").take_while(|part| *part == "super").count();
        let behind = offset + supers * "super::".len();
        if supers == depth + inline_modules(&source.code, offset) && behind <= source.code.len() {
            found.extend(names(&source.code, offset, behind));
        }
    }
    found
}

/// How many inline modules are open around an offset.
fn inline_modules(code: &str, offset: usize) -> usize {
    let opened = code[..offset].match_indices("mod ").filter(|(at, _)| {
        let begins = !code[..*at].chars().next_back().is_some_and(is_word);
        let name_end = code[at + 4..].find(|character| !is_word(character));
        let open = name_end.map(|end| at + 4 + end).filter(|end| code[*end..].starts_with(" {"));
        begins && open.is_some_and(|open| close(code, open + 1) > offset)
    });
    opened.count()
}

/// The first names of the paths at `at`: one, or those of a group in braces.
fn names(code: &str, offset: usize, at: usize) -> Vec<(usize, String)> {
    let name = |at: usize| code[at..].chars().take_while(|c| is_word(*c)).collect::<String>();
    if !code[at..].starts_with('{') {
        return vec![(offset, name(at))];
    }
    let mut found = Vec::new();
    let end = close(code, at) - 1;
    let mut next = at + 1;
    while next < end {
        let start = next + (code[next..].len() - code[next..].trim_start().len());
        found.push((start, name(start)));
        next = start;
        while next < end && code.as_bytes()[next] != b',' {
            next = if code.as_bytes()[next] == b'{' { close(code, next) } else { next + 1 };
        }
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|f| f.to_string()).collect()
    }

    #[test]
    fn the_table_has_no_circle() {
        for (index, (room, uses)) in ROOMS.iter().enumerate() {
            for used in *uses {
                let above = ROOMS[..index].iter().any(|(known, _)| known == used);
                assert!(above, "{room} uses {used}, which does not stand above it");
            }
        }
    }

    #[test]
    fn a_backward_import_is_found() {
        let why = "src/gateway/shard/driver.rs:1: shard must not use api: data flows one way";
        assert_eq!(found("src/gateway/shard/driver.rs", "use crate::api::Page;"), [why]);
        assert_eq!(found("src/gateway/shard/driver.rs", "use super::super::api;"), [why]);
        assert_eq!(found("src/gateway/telemetry.rs", "fn f(x: crate::shard::Shards) {}").len(), 1);
        let inline = "mod tests {\n    use super::super::transport::Http;\n}";
        assert_eq!(found("src/gateway/config/mod.rs", inline).len(), 1);
    }

    #[test]
    fn a_backward_import_in_a_group_is_found() {
        let text = "use crate::{\n    config::{Config, api}, clock,\n    transport::Http,\n};";
        let why = "src/gateway/recovery/exec.rs:3: recovery must not use transport: data flows \
                   one way";
        assert_eq!(found("src/gateway/recovery/exec.rs", text), [why]);
    }

    #[test]
    fn forward_imports_and_own_modules_are_fine() {
        let text = "use crate::shard::Shards;\nuse super::api;\nuse crate::{config, Error};";
        assert!(found("src/gateway/admission/body.rs", text).is_empty());
        assert!(found("src/gateway/lib.rs", "use crate::transport;").is_empty());
        assert!(found("src/client/api.rs", "use crate::transport;").is_empty());
        let inline = "mod tests {\n    use super::api;\n}";
        assert!(found("src/gateway/shard/mod.rs", inline).is_empty());
    }

    #[test]
    fn a_room_without_a_place_is_found() {
        assert_eq!(found("src/gateway/attic/mod.rs", "").len(), 1);
    }
}
