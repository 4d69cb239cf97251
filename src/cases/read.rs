//! Reads a file: every problem is kept with its line and key, none stops the reading.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use pulsegate_core::{Class, Classes};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::steps::{self, plain};
use crate::{
    Asked, CASES_MAX, Case, ClassChoice, Error, Expect, Expected, FILE_BYTES, Field, File, Problem,
    STEPS_MAX, Step, Trouble,
};

/// Most problems that are reported; a file of a wrong kind has thousands. Source: chosen.
const PROBLEMS_MAX: usize = 50;
/// Keys of a step, which a case of one step may have itself.
const STEP: [&str; 5] = ["observation", "incident", "metrics", "repeat", "expect"];
/// Keys of the file and of a case that say what the policy is started with.
const SETUP: [&str; 3] = ["class", "settings", "executors"];

impl File {
    /// Reads the cases of a text; `name` stands in problems.
    ///
    /// # Errors
    /// Everything that is wrong, with line and key.
    pub fn read(name: &str, text: &str) -> Result<Self, Error> {
        let mut reader = Reader::new(name, text);
        if text.len() > FILE_BYTES {
            reader.problem(0, "", format!("{} bytes, at most {FILE_BYTES}", text.len()));
            return Err(reader.finish());
        }
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(0, |span| reader.line(span.start));
            reader.problem(line, "", error.message().replace('\n', ", "));
        }
        let cases = if errors.is_empty() { reader.file(document.get_ref()) } else { Vec::new() };
        if reader.problems.is_empty() && cases.is_empty() {
            reader.problem(0, "", "holds no case: a case begins with [[case]]");
        }
        if reader.problems.is_empty() {
            Ok(Self { name: name.to_owned(), cases })
        } else {
            Err(reader.finish())
        }
    }
}

/// What a policy is started with.
#[derive(Clone)]
struct Setup {
    class: ClassChoice,
    settings: Value,
    executors: Vec<(String, u32)>,
}

struct Reader<'a> {
    name: &'a str,
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
}

/// A table of the file: its keys as this crate spells them, each with its line.
struct Table<'a> {
    path: String,
    line: usize,
    entries: Vec<(String, usize, &'a DeValue<'a>)>,
}

impl Table<'_> {
    fn find(&self, key: &str) -> Option<(usize, &DeValue<'_>)> {
        let (_, line, value) = self.entries.iter().find(|(known, ..)| known == key)?;
        Some((*line, *value))
    }

    fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'a> Reader<'a> {
    fn new(name: &'a str, text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = starts.map(|(index, _)| index + 1).collect();
        Self { name, line_starts, problems: Vec::new() }
    }

    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at) + 1
    }

    fn problem(&mut self, line: usize, key: &str, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            let (file, key) = (self.name.to_owned(), key.to_owned());
            self.problems.push(Problem { file, line, key, message: message.into() });
        }
    }

    fn finish(mut self) -> Error {
        self.problems.sort_by_key(|problem| problem.line);
        Error { problems: self.problems }
    }

    fn table<'t>(&mut self, path: &str, line: usize, table: &'t DeTable<'t>) -> Table<'t> {
        let mut entries: Vec<(String, usize, &DeValue<'_>)> = Vec::new();
        for (key, value) in table.iter() {
            let (name, line) = (plain(key.get_ref()), self.line(key.span().start));
            if entries.iter().any(|(known, ..)| *known == name) {
                self.problem(line, &join(path, &name), "stands here twice, spelled in two ways");
            }
            entries.push((name, line, value.get_ref()));
        }
        entries.sort_by_key(|(_, line, _)| *line);
        Table { path: path.to_owned(), line, entries }
    }

    /// A value that must be a table; `None` where a problem was reported.
    fn enter<'t>(&mut self, of: &'t Table<'_>, key: &str) -> Option<Table<'t>> {
        let (line, value) = of.find(key)?;
        let path = of.name(key);
        match value {
            DeValue::Table(table) => Some(self.table(&path, line, table)),
            _ => {
                self.problem(line, &path, "must be a table");
                None
            }
        }
    }

    /// Reads one value; what is wrong with it is reported.
    fn value<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let (line, value) = table.find(key)?;
        match read(&json(value)) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(line, &table.name(key), message);
                None
            }
        }
    }

    fn refuse_rest(&mut self, table: &Table<'_>, known: &[&str]) {
        for (key, line, _) in &table.entries {
            if !known.contains(&key.as_str()) {
                self.problem(*line, &table.name(key), nearest(key, known));
            }
        }
    }

    fn file(&mut self, root: &DeTable<'_>) -> Vec<Case> {
        let root = self.table("", 0, root);
        self.refuse_rest(&root, &["class", "settings", "executors", "case"]);
        let class = ClassChoice::Named { name: "normal".into(), line: 0 };
        let settings = Value::Object(serde_json::Map::new());
        let setup = self.setup(&root, &Setup { class, settings, executors: Vec::new() });
        let mut names = BTreeSet::new();
        let tables = self.list(&root, "case", CASES_MAX);
        let cases = tables.iter().map(|table| {
            let case = self.case(table, &setup);
            if !case.name.is_empty() && !names.insert(case.name.clone()) {
                self.problem(table.line, &table.name("name"), "another case has this name");
            }
            case
        });
        cases.collect()
    }

    /// The tables of a list.
    fn list<'t>(&mut self, of: &'t Table<'_>, key: &str, most: usize) -> Vec<Table<'t>> {
        let Some((line, value)) = of.find(key) else { return Vec::new() };
        let path = of.name(key);
        let DeValue::Array(items) = value else {
            self.problem(line, &path, format!("must be a list of tables: begin with [[{path}]]"));
            return Vec::new();
        };
        if items.len() > most {
            self.problem(line, &path, format!("{} tables, at most {most}", items.len()));
        }
        let mut tables = Vec::new();
        for (index, item) in items.iter().take(most).enumerate() {
            let (path, line) = (format!("{path}[{index}]"), self.line(item.span().start));
            match item.get_ref() {
                DeValue::Table(table) => tables.push(self.table(&path, line, table)),
                _ => self.problem(line, &path, "must be a table"),
            }
        }
        tables
    }

    fn setup(&mut self, table: &Table<'_>, base: &Setup) -> Setup {
        let settings = self.value(table, "settings", |value| {
            let message = "must be a table";
            if value.is_object() { Ok(value.clone()) } else { Err(message.to_owned()) }
        });
        Setup {
            class: self.class(table).unwrap_or_else(|| base.class.clone()),
            settings: settings.unwrap_or_else(|| base.settings.clone()),
            executors: self
                .value(table, "executors", steps::executors)
                .unwrap_or_else(|| base.executors.clone()),
        }
    }

    fn class(&mut self, table: &Table<'_>) -> Option<ClassChoice> {
        let (line, value) = table.find("class")?;
        if let DeValue::String(name) = value {
            return Some(ClassChoice::Named { name: name.to_string(), line });
        }
        let written = self.enter(table, "class")?;
        let known = ["interval_ms", "detect_within_ms", "suspect_grace_ms", "fail_grace_ms"];
        self.refuse_rest(&written, &[&["name"], &known[..]].concat());
        let named = self.value(&written, "name", |value| match value.as_str() {
            Some(name) if !name.is_empty() && name.len() <= 63 => Ok(name.to_owned()),
            _ => Err("must be a text of 1 to 63 bytes".to_owned()),
        });
        let classes = Classes::default();
        let name = named.unwrap_or_else(|| "normal".to_owned());
        let base = classes.find(&name).unwrap_or_else(|| classes.normal());
        let mut class = Class { name, ..classes[base].clone() };
        let places = [
            &mut class.interval_ms,
            &mut class.detect_within_ms,
            &mut class.suspect_grace_ms,
            &mut class.fail_grace_ms,
        ];
        for (key, place) in known.into_iter().zip(places) {
            let most = f64::from(u32::MAX);
            if let Some(read) = self.value(&written, key, |value| steps::whole(value, 0.0, most)) {
                *place = read as u32;
            }
        }
        Some(ClassChoice::Written(class))
    }

    fn case(&mut self, table: &Table<'_>, base: &Setup) -> Case {
        let known = [&["name", "step"], &SETUP[..], &STEP[..]].concat();
        self.refuse_rest(table, &known);
        let name = self.value(table, "name", |value| match value.as_str() {
            Some(name) if !name.trim().is_empty() && !name.contains(char::is_control) => {
                Ok(name.to_owned())
            }
            _ => Err("must be a text of one line".to_owned()),
        });
        if !table.has("name") {
            self.problem(table.line, &table.name("name"), "is needed: what the case claims");
        }
        let setup = self.setup(table, base);
        let steps = if table.has("step") {
            for key in STEP.into_iter().filter(|key| table.has(key)) {
                let line = table.find(key).map_or(table.line, |(line, _)| line);
                let message = "belongs into a step, since this case has steps";
                self.problem(line, &table.name(key), message);
            }
            let tables = self.list(table, "step", STEPS_MAX);
            for step in &tables {
                self.refuse_rest(step, &STEP);
            }
            tables.iter().map(|step| self.step(step)).collect()
        } else {
            vec![self.step(table)]
        };
        if steps.iter().all(|step| step.expect.all.is_empty()) && !self.is_known_bad(table) {
            self.problem(table.line, &table.path, "expects nothing: it could not fail");
        }
        Case {
            name: name.unwrap_or_default(),
            line: table.line,
            class: setup.class,
            settings: setup.settings,
            executors: setup.executors,
            steps,
        }
    }

    /// Whether a problem of this table, or of one within it, was reported already.
    fn is_known_bad(&self, table: &Table<'_>) -> bool {
        self.problems.iter().any(|problem| problem.key.starts_with(&table.path))
    }

    fn step(&mut self, table: &Table<'_>) -> Step {
        let most = STEPS_MAX as f64;
        let repeat = self.value(table, "repeat", |value| steps::whole(value, 1.0, most));
        let asked = match (table.find("incident"), table.find("observation")) {
            (Some((line, _)), Some(_)) => {
                self.problem(
                    line,
                    &table.name("incident"),
                    "a step has either this or observation",
                );
                None
            }
            (Some(_), None) => self.incident(table),
            _ => Some(self.heartbeat(table)),
        };
        let usual = Asked::Heartbeat { fields: Vec::new(), metrics: BTreeMap::new() };
        let asked = asked.unwrap_or(usual);
        let expect = self.expect(table, matches!(asked, Asked::Incident(_)));
        Step { line: table.line, repeat: repeat.map_or(1, |repeat| repeat as u32), asked, expect }
    }

    fn heartbeat(&mut self, table: &Table<'_>) -> Asked {
        let mut fields = Vec::new();
        if let Some(observation) = self.enter(table, "observation") {
            for (key, line, value) in &observation.entries {
                match Field::read(key, &json(value)) {
                    Ok(Some(field)) => fields.push(field),
                    Ok(None) => {
                        self.problem(*line, &observation.name(key), Field::unknown(key));
                    }
                    Err(message) => self.problem(*line, &observation.name(key), message),
                }
            }
        }
        let mut metrics = BTreeMap::new();
        if let Some(custom) = self.enter_as_written(table, "metrics") {
            for (key, line, value) in &custom.entries {
                match steps::number(&json(value), f64::MIN, f64::MAX) {
                    Ok(number) => {
                        metrics.insert(key.clone(), number);
                    }
                    Err(message) => self.problem(*line, &custom.name(key), message),
                }
            }
        }
        Asked::Heartbeat { fields, metrics }
    }

    /// The same as [`Reader::enter`], for names that are not this crate's.
    fn enter_as_written<'t>(&mut self, of: &'t Table<'_>, key: &str) -> Option<Table<'t>> {
        let mut table = self.enter(of, key)?;
        let (_, DeValue::Table(written)) = of.find(key)? else { return None };
        table.entries.clear();
        for (key, value) in written.iter() {
            let line = self.line(key.span().start);
            table.entries.push((key.get_ref().to_string(), line, value.get_ref()));
        }
        Some(table)
    }

    fn incident(&mut self, table: &Table<'_>) -> Option<Asked> {
        if let Some((line, _)) = table.find("metrics") {
            self.problem(line, &table.name("metrics"), "an incident has none");
        }
        let incident = self.enter(table, "incident")?;
        let mut trouble = Trouble::default();
        for (key, line, value) in &incident.entries {
            match trouble.set(key, &json(value)) {
                Ok(true) => {}
                Ok(false) => self.problem(*line, &incident.name(key), Trouble::unknown(key)),
                Err(message) => self.problem(*line, &incident.name(key), message),
            }
        }
        Some(Asked::Incident(trouble))
    }

    fn expect(&mut self, table: &Table<'_>, of_incident: bool) -> Expect {
        const OF_HEARTBEAT: [&str; 5] =
            ["health", "score", "health_reason", "interval_ms", "interval_reason"];
        const OF_INCIDENT: [&str; 2] = ["plan", "plan_reason"];
        let mut expect = Expect::default();
        let Some(expected) = self.enter(table, "expect") else { return expect };
        let known: &[&str] = if of_incident { &OF_INCIDENT } else { &OF_HEARTBEAT };
        self.refuse_rest(&expected, known);
        for (key, _, _) in &expected.entries {
            let read = self.value(&expected, key, |value| expectation(key, value));
            expect.all.extend(read.flatten());
        }
        if expected.entries.is_empty() {
            self.problem(expected.line, &expected.path, "names nothing");
        }
        expect
    }
}

/// One expectation; `None` where there is none of this name.
fn expectation(key: &str, value: &Value) -> Result<Option<Expected>, String> {
    let text = || value.as_str().map(str::to_owned).ok_or("must be a text".to_owned());
    Ok(Some(match key {
        "health" => Expected::Health(steps::healths(value)?),
        "score" => Expected::Score(steps::bounds(value)?),
        "health_reason" => Expected::HealthReason(text()?),
        "interval_ms" => Expected::Interval(steps::bounds(value)?),
        "interval_reason" => Expected::IntervalReason(text()?),
        "plan" => Expected::Plan(steps::rungs(value)?),
        "plan_reason" => Expected::PlanReason(text()?),
        _ => return Ok(None),
    }))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A value of the file as JSON; a number that JSON has not is a text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| integer.to_string().into(), Value::from),
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::from(number),
            _ => float.to_string().into(),
        },
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(Spanned::get_ref).map(json).collect(),
        DeValue::Table(entries) => {
            let pairs = entries.iter();
            let pairs =
                pairs.map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
            Value::Object(pairs.collect())
        }
    }
}

/// What to say of an unknown key: the known one that was probably meant, or all of them.
pub(crate) fn nearest(key: &str, known: &[&str]) -> String {
    let close = known.iter().map(|name| (distance(key, name), name)).min();
    match close {
        Some((distance, name)) if distance * 3 <= name.len() => {
            format!("unknown key; did you mean {name}?")
        }
        _ => format!("unknown key; known here: {}", known.join(", ")),
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
