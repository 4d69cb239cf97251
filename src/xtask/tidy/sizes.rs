//! Sizes that a reader can hold: files, functions, lines.

use super::Finding;
use super::lexer::{Source, close, is_word};

/// Most lines of a file.
const FILE_LINES: usize = 800;
/// Most lines of a function, its signature included.
const FUNCTION_LINES: usize = 70;
/// Most columns of a line, as rustfmt keeps them where it can.
const COLUMNS: usize = 100;

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        let why = format!("the file has {lines} lines; at most {FILE_LINES}");
        findings.push(Finding::new(&source.path, lines, why));
    }
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS && !line.contains("https://") {
            let why = format!("the line has {columns} columns; at most {COLUMNS}");
            findings.push(Finding::new(&source.path, index + 1, why));
        }
    }
    for (name, first, last) in functions(source) {
        let lines = last - first + 1;
        if lines > FUNCTION_LINES {
            let why = format!("fn {name} has {lines} lines; at most {FUNCTION_LINES}");
            findings.push(Finding::new(&source.path, first, why));
        }
    }
    findings
}

/// Name, first and last line of every function that has a body.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let code = &source.code;
    let mut found = Vec::new();
    for start in source.words("fn") {
        let after = code[start + 2..].trim_start();
        let name: String = after.chars().take_while(|character| is_word(*character)).collect();
        if name.is_empty() {
            continue;
        }
        let signature = code.len() - after.len() + name.len();
        if let Some(open) = body(code, signature) {
            let last = source.line(close(code, open) - 1);
            found.push((name, source.line(start), last));
        }
    }
    found
}

/// Where the body of the function begins whose arguments follow `from`; `None` without one.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let next = at + code[at..].find(['(', '[', '{', ';'])?;
        match code.as_bytes()[next] {
            b'{' => return Some(next),
            b';' => return None,
            _ => at = close(code, next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(&Source::new("a.rs", text)).into_iter().map(|f| f.to_string()).collect()
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(found(&"\n".repeat(800)), Vec::<String>::new());
        assert_eq!(found(&"\n".repeat(801)), ["a.rs:801: the file has 801 lines; at most 800"]);
    }

    #[test]
    fn a_long_line_is_found_unless_it_holds_an_address() {
        assert_eq!(found(&"x".repeat(100)), Vec::<String>::new());
        assert_eq!(found(&"x".repeat(101)), ["a.rs:1: the line has 101 columns; at most 100"]);
        assert!(found(&format!("// https://{}", "x".repeat(100))).is_empty());
    }

    #[test]
    fn a_long_function_is_found() {
        let function = |lines: usize| format!("\nfn f(x: [u8; 2]) {{{}}}", "\n".repeat(lines - 1));
        assert_eq!(found(&function(70)), Vec::<String>::new());
        assert_eq!(found(&function(71)), ["a.rs:2: fn f has 71 lines; at most 70"]);
    }

    #[test]
    fn what_has_no_body_is_no_function() {
        let text = format!("trait T {{ fn a(&self) -> [u8; 3]; {} }}", "\n".repeat(80));
        assert!(found(&text).is_empty());
        let text = format!("struct S {{ f: fn(u8) -> u8, {} }}", "\n".repeat(80));
        assert!(found(&text).is_empty());
    }
}
