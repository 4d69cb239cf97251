//! Reads tables of a file option by option and keeps every problem with its place.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::overrides::Overrides;
use super::problem::Problem;
use super::section::{Opt, Section};
use super::setting::{Setting, expected};

/// Most problems that are reported; a file of a wrong kind has thousands.
const MAX_PROBLEMS: usize = 100;

/// What reading one file found so far.
pub(super) struct Reader<'o> {
    file: String,
    line_starts: Vec<usize>,
    overrides: &'o Overrides,
    problems: Vec<Problem>,
    places: BTreeMap<String, String>,
}

/// One table of the file, or an absent one.
pub(super) struct Table<'r, 'd> {
    reader: &'r mut Reader<'d>,
    path: String,
    entries: Option<&'r DeTable<'r>>,
    taken: Vec<String>,
}

impl<'o> Reader<'o> {
    pub(super) fn new(file: &str, text: &str, overrides: &'o Overrides) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = starts.map(|(index, _)| index + 1).collect();
        Self {
            file: file.to_owned(),
            line_starts,
            overrides,
            problems: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// The place of these bytes of the file.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let line = self.line_starts.partition_point(|start| *start <= span.start) + 1;
        format!("{}:{line}", self.file)
    }

    /// Reports a problem of an option, at the place where it was set: the option's own, or that
    /// of the nearest table around it, or the file.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let mut around = key;
        let place = loop {
            if let Some(place) = self.places.get(around) {
                break place.clone();
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = &around[..end],
                None => break self.file.clone(),
            }
        };
        self.problem_at(place, key, message);
    }

    /// Reports a problem of a place.
    pub(super) fn problem_at(&mut self, place: String, key: &str, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { place, key: key.to_owned(), message: message.into() });
        }
    }

    /// All problems, in the order of their lines.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let line = |problem: &Problem| {
            let number = problem.place.rsplit_once(':').map(|(_, line)| line.parse::<u32>());
            number.and_then(Result::ok).unwrap_or(u32::MAX)
        };
        self.problems.sort_by_key(line);
        self.problems
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn remember(&mut self, key: String, span: &Range<usize>) {
        let place = self.place(span);
        self.places.insert(key, place);
    }
}

impl<'r, 'd> Table<'r, 'd> {
    /// The whole file.
    pub(super) fn root(reader: &'r mut Reader<'d>, entries: &'r DeTable<'r>) -> Self {
        Self { reader, path: String::new(), entries: Some(entries), taken: Vec::new() }
    }

    /// Full name of an option of this table.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a problem of an option of this table; of the table itself where `key` is empty.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let name = if key.is_empty() { self.path.clone() } else { self.name(key) };
        self.reader.problem(&name, message);
    }

    /// Whether an option stands in this table.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether an option was set anywhere: in the file, by a flag or in the environment.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.reader.places.contains_key(name)
    }

    /// Whether an option of this table was taken already.
    pub(super) fn was_taken(&self, key: &str) -> bool {
        self.taken.iter().any(|taken| taken == key)
    }

    fn entry(&self, key: &str) -> Option<(Range<usize>, &'r Spanned<DeValue<'r>>)> {
        let (name, value) = self.entries?.get_key_value(key)?;
        Some((name.span(), value))
    }

    /// Takes one value as it stands, and remembers its place.
    pub(super) fn take(&mut self, key: &str) -> Option<&'r Spanned<DeValue<'r>>> {
        self.taken.push(key.to_owned());
        let (span, value) = self.entry(key)?;
        let name = self.name(key);
        self.reader.remember(name, &span);
        Some(value)
    }

    /// Takes an option that has no definition of its own kind.
    pub(super) fn value<T: Setting>(&mut self, key: &str) -> Option<T> {
        match T::from_toml(self.take(key)?.get_ref()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(key, message);
                None
            }
        }
    }

    /// Takes a defined option: from a flag, the environment or the file, or else `base`.
    pub(super) fn option<T: Setting>(&mut self, opt: Option<&'static Opt>, base: T) -> T {
        let Some(opt) = opt else { return base };
        let name = self.name(opt.key);
        let from_file = self.take(opt.key).map(|value| T::from_toml(value.get_ref()));
        let given = self.reader.overrides.find(&name);
        let read = match given {
            Some((place, text)) => {
                self.reader.places.insert(name.clone(), place);
                Some(text.and_then(|text| T::from_text(&text)))
            }
            None => from_file,
        };
        match read.map(|value| value.and_then(|value| in_range(opt, value))) {
            None => base,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.reader.problem(&name, message);
                base
            }
        }
    }

    /// Reads a table of this one as a section.
    pub(super) fn section<S: Section>(&mut self, key: &str, base: S) -> S {
        self.within(key, |table| {
            let section = S::read(table, base);
            table.refuse_rest();
            section
        })
    }

    /// Reads a table of this one, absent or not.
    pub(super) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Table<'_, '_>) -> T) -> T {
        let value = self.take(key);
        let path = self.name(key);
        self.enter(path, value, read)
    }

    /// Names of everything in this table, in the order of the file.
    pub(super) fn names(&self) -> Vec<String> {
        let mut entries: Vec<_> = self.entries.iter().flat_map(|entries| entries.keys()).collect();
        entries.sort_by_key(|name| name.span().start);
        entries.into_iter().map(|name| name.get_ref().to_string()).collect()
    }

    /// Reads every table of a list of tables.
    pub(super) fn each<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Table<'_, '_>) -> T,
    ) -> Vec<T> {
        let path = self.name(key);
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.problem(key, expected("a list of tables", value.get_ref()));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, value) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.reader.remember(path.clone(), &value.span());
            all.push(self.enter(path, Some(value), &mut read));
        }
        all
    }

    fn enter<T>(
        &mut self,
        path: String,
        value: Option<&'r Spanned<DeValue<'r>>>,
        read: impl FnOnce(&mut Table<'_, '_>) -> T,
    ) -> T {
        let entries = match value.map(Spanned::get_ref) {
            None => None,
            Some(DeValue::Table(entries)) => Some(entries),
            Some(other) => {
                self.reader.problem(&path, expected("a table", other));
                None
            }
        };
        read(&mut Table { reader: self.reader, path, entries, taken: Vec::new() })
    }

    /// Reports every option that nobody took.
    pub(super) fn refuse_rest(&mut self) {
        let Some(entries) = self.entries else { return };
        for (name, _) in entries.iter() {
            let key: &str = name.get_ref();
            if self.was_taken(key) {
                continue;
            }
            let place = self.reader.place(&name.span());
            let known = nearest(key, &self.taken);
            self.reader.problem_at(place, &self.name(key), known);
        }
    }
}

fn in_range<T: Setting>(opt: &Opt, value: T) -> Result<T, String> {
    let fits = |range: (f64, f64)| {
        value.numbers().iter().all(|number| (range.0..=range.1).contains(number))
    };
    match opt.bounds.range {
        Some(range) if !fits(range) => Err(format!("must be {}", opt.bounds.describe())),
        _ => Ok(value),
    }
}

/// What to say of an unknown option: the known one that was probably meant, or all of them.
fn nearest(key: &str, known: &[String]) -> String {
    let close = known.iter().map(|name| (distance(key, name), name)).min();
    match close {
        Some((distance, name)) if distance * 3 <= name.len() => {
            format!("unknown option; did you mean {name}?")
        }
        _ => format!("unknown option; known here: {}", known.join(", ")),
    }
}

/// Levenshtein's edit distance. Source: V. I. Levenshtein, 1966.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
