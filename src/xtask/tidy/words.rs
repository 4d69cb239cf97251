//! Words that must not stay: unfinished work, silenced lints without a reason, code in comments.

use super::Finding;
use super::lexer::{Source, close};

/// Macros of unfinished or temporary work.
const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// Notes of unfinished work.
const NOTES: [&str; 3] = ["TODO", "FIXME", "XXX"];
/// Crates that must not lean on the standard library: they also run where there is none.
const NO_STD: [&str; 2] = ["src/wire/", "src/core/"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    [macros(source), attributes(source), comments(source), no_std(source)].concat()
}

fn macros(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in MACROS {
        for offset in source.words(name) {
            if source.code[offset + name.len()..].starts_with('!') {
                let why = format!("{name}! stands for work that is not done");
                findings.push(Finding::new(&source.path, source.line(offset), why));
            }
        }
    }
    findings
}

/// `#[allow]`, `#[expect]` and `#[ignore]` say why.
fn attributes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (offset, mark) in source.code.match_indices("#[").chain(source.code.match_indices("#![")) {
        let open = offset + mark.len() - 1;
        let body = &source.code[open + 1..close(&source.code, open)];
        let silences = ["allow(", "expect("].iter().any(|word| body.starts_with(word));
        let mut why = None;
        if silences && !body.contains("reason") {
            why = Some("a silenced lint needs a reason");
        }
        if body == "ignore]" {
            why = Some("an ignored test needs a reason");
        }
        if let Some(why) = why {
            findings.push(Finding::new(&source.path, source.line(offset), why));
        }
    }
    findings
}

fn comments(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for comment in &source.comments {
        let mut words = comment.text.split(|character: char| !character.is_alphanumeric());
        if words.any(|word| NOTES.contains(&word)) {
            let why = "a note of unfinished work: finish it, or open an issue";
            findings.push(Finding::new(&source.path, comment.line, why));
        } else if !comment.is_doc && is_code(&comment.text) {
            let why = "code in a comment: delete it, history keeps it";
            findings.push(Finding::new(&source.path, comment.line, why));
        }
    }
    findings
}

/// Whether a line reads like a statement rather than like a sentence.
fn is_code(line: &str) -> bool {
    let ends = [";", "{", "},", ");"].iter().any(|end| line.ends_with(end));
    let looks = ["let ", "use ", "pub ", "fn ", "return ", "if ", "for ", "match "]
        .iter()
        .any(|start| line.starts_with(start))
        || [" = ", "::", "();", ".unwrap(", "!("].iter().any(|part| line.contains(part));
    line == "}" || (ends && looks)
}

/// The standard library stays out of `no_std` crates, but for their tests.
fn no_std(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !NO_STD.iter().any(|room| source.path.starts_with(room)) {
        return findings;
    }
    if source.path.ends_with("/lib.rs") && !source.code.contains("#![no_std]") {
        findings.push(Finding::new(&source.path, 1, "this crate must stay no_std"));
    }
    for offset in source.words("extern crate std") {
        let before = source.code[..offset].trim_end();
        if !before.ends_with("#[cfg(test)]") && !source.path.ends_with("/tests.rs") {
            let why = "std in a no_std crate: only its tests may use it";
            findings.push(Finding::new(&source.path, source.line(offset), why));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unfinished_work_is_found() {
        assert_eq!(found("a.rs", "fn f() {\n todo!()\n}"), [2]);
        assert_eq!(found("a.rs", "fn f() { unimplemented!(\"later\") }"), [1]);
        assert_eq!(found("a.rs", "let x = dbg!(1);"), [1]);
        assert_eq!(found("a.rs", "// TODO: more"), [1]);
        assert_eq!(found("a.rs", "/// FIXME later"), [1]);
        assert!(found("a.rs", "let todo = 1; // what is to do\nlet s = \"todo!()\";").is_empty());
    }

    #[test]
    fn a_silenced_lint_without_a_reason_is_found() {
        assert_eq!(found("a.rs", "#[allow(dead_code)]\nfn f() {}"), [1]);
        assert_eq!(found("a.rs", "#![expect(\n    clippy::all\n)]"), [1]);
        assert_eq!(found("a.rs", "#[test]\n#[ignore]\nfn f() {}"), [2]);
        assert!(found("a.rs", "#[allow(dead_code, reason = \"a table\")]").is_empty());
        assert!(found("a.rs", "#[ignore = \"needs a network\"]").is_empty());
    }

    #[test]
    fn code_in_a_comment_is_found() {
        assert_eq!(found("a.rs", "// let x = 1;"), [1]);
        assert_eq!(found("a.rs", "// if x.is_empty() {\n// }"), [1, 2]);
        assert_eq!(found("a.rs", "// foo::bar();"), [1]);
        assert!(found("a.rs", "// This comes first; that follows, for a reason.").is_empty());
        assert!(found("a.rs", "/// let x = 1;").is_empty());
    }

    #[test]
    fn std_in_a_no_std_crate_is_found() {
        assert_eq!(found("src/core/lib.rs", "#![no_std]\nextern crate std;"), [2]);
        assert_eq!(found("src/core/lib.rs", "extern crate alloc;"), [1]);
        assert!(found("src/core/a.rs", "#[cfg(test)]\nextern crate std;").is_empty());
        assert!(found("src/core/a/tests.rs", "extern crate std;").is_empty());
        assert!(found("src/gateway/a.rs", "extern crate std;").is_empty());
    }
}
