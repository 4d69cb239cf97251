//! What a project is made of, whatever its language.

use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::Lang;

/// The contract, as it stands in `wit/`.
pub(super) const WIT: [(&str, &str); 7] = [
    ("cadence.wit", include_str!("../../../../wit/cadence.wit")),
    ("health.wit", include_str!("../../../../wit/health.wit")),
    ("log.wit", include_str!("../../../../wit/log.wit")),
    ("manifest.wit", include_str!("../../../../wit/manifest.wit")),
    ("recovery.wit", include_str!("../../../../wit/recovery.wit")),
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("worlds.wit", include_str!("../../../../wit/worlds.wit")),
];
/// The world of one policy, which names what it exports.
pub(super) const WORLD: &str = include_str!("templates/world.wit.jinja");
const CASES: &str = include_str!("templates/cases.toml.jinja");
const README: &str = include_str!("templates/README.md.jinja");

/// A question that a policy may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Export {
    Health,
    Cadence,
    Recovery,
}

impl Export {
    const ALL: [Self; 3] = [Self::Health, Self::Cadence, Self::Recovery];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Cadence => "cadence",
            Self::Recovery => "recovery",
        }
    }

    const fn summary(self) -> &'static str {
        match self {
            Self::Health => "judges agents by their errors",
            Self::Cadence => "paces agents by their queue",
            Self::Recovery => "plans recovery",
        }
    }

    /// Names and texts of its reasons.
    const fn reasons(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Health => &[
                ("FINE", "all is well"),
                ("REPORTED", "the agent says so"),
                ("ERRORS", "many errors in the window"),
                ("SLOW", "its work is slow"),
                ("OVERDUE", "no progress for longer than the agent allows"),
            ],
            Self::Cadence => &[
                ("USUAL", "as usual"),
                ("TROUBLE", "in trouble: watched closely"),
                ("QUEUE", "the queue is long, or will be within a minute"),
                ("IDLE", "idle: beats half as often"),
            ],
            Self::Recovery => &[
                ("STEPS", "every step, the gentlest first"),
                ("AGAIN", "it failed again and again: without the gentlest step"),
                ("NOTHING", "no executor is configured"),
            ],
        }
    }

    /// Settings with the values that a configuration would begin with.
    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Health => &[("many_errors", "20"), ("slow_ms", "2000")],
            Self::Cadence => &[("long_queue", "500")],
            Self::Recovery => &[("skip_after", "3")],
        }
    }
}

/// A file of a project.
pub(super) struct File {
    /// Path within the project.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    /// What it is, for the table in the README; `None` for what belongs to another.
    pub(super) what: Option<&'static str>,
}

impl File {
    pub(super) fn new(path: &str, text: impl Into<Vec<u8>>, what: &'static str) -> Self {
        Self { path: path.to_owned(), bytes: text.into(), what: Some(what) }
    }

    pub(super) fn part(path: &str, text: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), bytes: text.into(), what: None }
    }
}

/// A project to make.
pub(super) struct Project {
    pub(super) name: String,
    pub(super) lang: Lang,
    /// In the order of the contract, each once, at least one.
    exports: Vec<Export>,
}

impl Project {
    pub(super) fn new(name: &str, lang: Lang, asked: &[Export]) -> Self {
        let exports = Export::ALL.into_iter().filter(|export| asked.contains(export)).collect();
        Self { name: name.to_owned(), lang, exports }
    }

    /// What it does, as the end of a sentence.
    pub(super) fn summary(&self) -> String {
        let parts: Vec<&str> = self.exports.iter().map(|export| export.summary()).collect();
        match parts.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        }
    }

    /// Every file of it.
    pub(super) fn files(&self) -> Result<Vec<File>, String> {
        let mut files = match self.lang {
            Lang::Rust => super::rust::files(self)?,
            Lang::Python => super::python::files(self)?,
            Lang::Javascript => super::javascript::files(self)?,
            Lang::C => super::c::files(self)?,
        };
        files.push(File::new("cases.toml", self.render(CASES)?, "what it must answer"));
        files.push(File::part(".gitignore", self.lang.ignored()));
        let contents: Vec<_> = files
            .iter()
            .filter_map(|file| Some(context! { path => file.path, what => file.what? }))
            .collect();
        files.push(File::part("README.md", self.fill(README, context! { contents })?));
        Ok(files)
    }

    /// The WIT files of the contract below a folder.
    pub(super) fn wit(folder: &str) -> impl Iterator<Item = File> {
        WIT.iter().map(move |(name, text)| File::part(&format!("{folder}/{name}"), *text))
    }

    /// A template, filled in.
    pub(super) fn render(&self, template: &str) -> Result<String, String> {
        self.fill(template, context! {})
    }

    /// Where the build leaves the policy, from the project's folder.
    pub(super) fn artefact(&self) -> String {
        match self.lang {
            Lang::Rust => {
                let module = self.name.replace('-', "_");
                format!("target/wasm32-unknown-unknown/release/{module}.wasm")
            }
            _ => format!("{}.wasm", self.name),
        }
    }

    /// The command that tests it.
    pub(super) fn test(&self) -> String {
        format!("pulsegate policy test {} cases.toml", self.artefact())
    }

    /// The entries of a configuration that install it.
    pub(super) fn configuration(&self, folder: &str) -> String {
        let Self { name, .. } = self;
        let mut text = format!("[[policies]]\nname = \"{name}\"\n");
        text.push_str(&format!("file = {:?}\n", format!("{folder}{}", self.artefact())));
        if self.lang.is_interpreted() {
            text.push_str("pool = \"interpreted\"\n");
        }
        let settings = self.exports.iter().flat_map(|export| export.settings());
        let settings: Vec<String> =
            settings.map(|(name, value)| format!("{name} = {value}")).collect();
        text.push_str(&format!("settings = {{ {} }}\n\n[[routes]]\n", settings.join(", ")));
        for export in &self.exports {
            text.push_str(&format!("{} = \"{name}\"\n", export.as_str()));
        }
        text
    }

    fn fill(&self, template: &str, more: Value) -> Result<String, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(true);
        let values = context! { ..self.values(), ..more };
        environment.render_str(template, values).map_err(|error| format!("{error:#}"))
    }

    fn values(&self) -> Value {
        let has = |export| self.exports.contains(&export);
        let reasons: Vec<(&str, &str)> =
            self.exports.iter().flat_map(|export| export.reasons()).copied().collect();
        let constants: Vec<&str> = reasons.iter().map(|(name, _)| *name).collect();
        let reasons: Vec<_> = reasons.iter().map(|(name, text)| context! { name, text }).collect();
        let settings = self.exports.iter().flat_map(|export| export.settings());
        context! {
            name => self.name,
            language => self.lang.title(),
            summary => self.summary(),
            exports => self.exports.iter().map(|export| export.as_str()).collect::<Vec<_>>(),
            health => has(Export::Health),
            cadence => has(Export::Cadence),
            recovery => has(Export::Recovery),
            observes => has(Export::Health) || has(Export::Cadence),
            reasons,
            constants,
            names_of_settings => settings.map(|(name, _)| *name).collect::<Vec<_>>(),
            imports => listed(&self.lang.imports(&self.exports)),
            build => self.lang.build(),
            test => self.test(),
            needs => self.lang.needs(),
            notes => self.lang.notes(),
            configuration => self.configuration(""),
        }
    }
}

/// Words with commas between them, in one line that fits behind `use pulsegate_sdk::`, or in as
/// many indented ones as it takes.
fn listed(words: &[&str]) -> String {
    const COLUMNS: usize = 100;
    let one = words.join(", ");
    if one.len() + "use pulsegate_sdk::{};".len() <= COLUMNS {
        return one;
    }
    let mut text = String::from("\n   ");
    let mut column = 3;
    for word in words {
        if column + word.len() + 2 > COLUMNS {
            text.push_str("\n   ");
            column = 3;
        }
        text.push_str(&format!(" {word},"));
        column += word.len() + 2;
    }
    text.push('\n');
    text
}
