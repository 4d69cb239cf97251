//! Rust source, split into what the compiler sees and what people read.
//!
//! Not a parser: it knows comments, strings and characters, so that a rule that looks for a word
//! finds it only where it is code.

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Path from the root of the workspace, with `/`.
    pub(super) path: String,
    /// The text as it stands.
    pub(super) text: String,
    /// The same lines, with a space for every character of comments, strings and characters.
    pub(super) code: String,
    /// Comments, one for each line that has one.
    pub(super) comments: Vec<Comment>,
}

/// A comment, or one line of a longer one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment {
    /// Line, from 1.
    pub(super) line: usize,
    /// Text without its marks.
    pub(super) text: String,
    /// Whether it is documentation.
    pub(super) is_doc: bool,
}

impl Source {
    /// Splits a text.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let mut split = Split::default();
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            at = split.next(&chars, at);
        }
        let code = split.code;
        Self { path: path.to_owned(), text: text.to_owned(), code, comments: split.comments }
    }

    /// Line, from 1, of an offset into `code`.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.code[..offset].bytes().filter(|byte| *byte == b'\n').count()
    }

    /// Offsets in `code` where this word stands by itself.
    pub(super) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
            let before = self.code[..*offset].chars().next_back();
            let after = self.code[offset + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    }
}

/// Whether a character can be part of a name.
pub(super) fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// Offset behind the bracket that closes the one at `open`; the end of `code` if none does.
pub(super) fn close(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, character) in code[open..].char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return open + offset + character.len_utf8();
        }
    }
    code.len()
}

#[derive(Default)]
struct Split {
    code: String,
    comments: Vec<Comment>,
    line: usize,
}

impl Split {
    /// Takes what begins at `at`; says where the next begins.
    fn next(&mut self, chars: &[char], at: usize) -> usize {
        let rest = &chars[at..];
        match rest {
            ['/', '/', ..] => self.comment(rest, rest.iter().position(|c| *c == '\n')) + at,
            ['/', '*', ..] => self.comment(rest, block_end(rest)) + at,
            ['"', ..] => self.literal(rest, (1, 1), quoted_end(rest, '"')) + at,
            ['r', '"' | '#', ..] if begins_literal(chars, at) => match raw_end(rest) {
                Some((open, end)) => self.literal(rest, (open, open - 1), end) + at,
                None => self.keep(rest[0]) + at,
            },
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => {
                self.literal(rest, (1, 1), quoted_end(rest, '\'')) + at
            }
            _ => self.keep(rest[0]) + at,
        }
    }

    fn keep(&mut self, character: char) -> usize {
        self.line += usize::from(character == '\n');
        self.code.push(character);
        1
    }

    /// A literal of `len` characters: its marks at both ends stay, its content becomes spaces.
    fn literal(&mut self, rest: &[char], marks: (usize, usize), len: usize) -> usize {
        for (index, character) in rest[..len].iter().enumerate() {
            let is_mark = index < marks.0 || index + marks.1 >= len;
            self.keep(if is_mark || *character == '\n' { *character } else { ' ' });
        }
        len
    }

    fn comment(&mut self, rest: &[char], len: Option<usize>) -> usize {
        let len = len.unwrap_or(rest.len());
        let text: String = rest[..len].iter().collect();
        let plain = text.starts_with("////") || text.starts_with("/***") || text == "/**/";
        let is_doc = !plain && ["///", "//!", "/**", "/*!"].iter().any(|m| text.starts_with(m));
        for (index, line) in text.lines().enumerate() {
            let text = line.trim().trim_start_matches(['/', '*', '!']).trim_end_matches("*/");
            let line = self.line + index + 1;
            self.comments.push(Comment { line, text: text.trim().to_owned(), is_doc });
        }
        for character in &rest[..len] {
            self.keep(if *character == '\n' { '\n' } else { ' ' });
        }
        len
    }
}

/// Length of a block comment; they nest.
fn block_end(rest: &[char]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Length of a literal that knows `\` as escape.
fn quoted_end(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether the `r` at `at` is no end of a name such as `for`.
fn begins_literal(chars: &[char], at: usize) -> bool {
    match chars[..at] {
        [.., before, 'b' | 'c'] => !is_word(before),
        [.., before] => !is_word(before),
        [] => true,
    }
}

/// Lengths of the opening marks and of the whole of a raw string; `None` for a raw name.
fn raw_end(rest: &[char]) -> Option<(usize, usize)> {
    let hashes = rest[1..].iter().take_while(|character| **character == '#').count();
    let open = 1 + hashes + 1;
    if rest.get(open - 1) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| {
        rest[*at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|character| **character == '#').count()
                == hashes
    };
    let end = (open..rest.len()).find(closes)?;
    Some((open, end + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs", text).code
    }

    #[test]
    fn strings_and_characters_are_no_code() {
        assert_eq!(code(r#"f("a\"b{", '{', '\'')"#), r#"f("     ", ' ', '  ')"#);
        assert_eq!(code("r#\"{\"}\"#;"), "r#\"   \"#;");
        assert_eq!(code("b\"{\" for x in r\"{\""), "b\" \" for x in r\" \"");
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        assert_eq!(code("fn f<'a>(x: &'a str) -> r#type"), "fn f<'a>(x: &'a str) -> r#type");
    }

    #[test]
    fn comments_nest_and_keep_their_lines() {
        let source = Source::new("a.rs", "a /* b /* c */ d */ e\n/// doc\n// why\nf");
        assert_eq!(source.code, "a                   e\n       \n      \nf");
        let seen: Vec<_> = source.comments.iter().map(|c| (c.line, c.is_doc)).collect();
        assert_eq!(seen, [(1, false), (2, true), (3, false)]);
        assert_eq!(source.comments[2].text, "why");
    }

    #[test]
    fn a_word_inside_another_is_not_found() {
        let source = Source::new("a.rs", "fn fnord() {}");
        assert_eq!(source.words("fn").collect::<Vec<_>>(), [0]);
    }
}
