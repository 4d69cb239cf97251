//! Options given by flags and by the environment.

use std::ffi::OsString;

/// Options that are set outside the file. A flag wins over the environment, which wins over the
/// file, which wins over the default.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    flags: Vec<Given>,
    environment: Vec<(String, OsString)>,
}

#[derive(Clone, Debug)]
struct Given {
    flag: String,
    key: String,
    value: String,
}

/// Prefix of the variables that set options.
const PREFIX: &str = "PULSEGATE_";

impl Overrides {
    /// Takes the variables whose name begins with `PULSEGATE_`: `PULSEGATE_CADENCE_MIN_MS` sets
    /// `cadence.min_ms`.
    #[must_use]
    pub fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let environment = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { flags: Vec::new(), environment }
    }

    /// Adds an option given by a flag: `flag("--listen", "listen", "127.0.0.1:0")`.
    #[must_use]
    pub fn flag(mut self, flag: &str, key: &str, value: impl Into<String>) -> Self {
        self.flags.push(Given { flag: flag.into(), key: key.into(), value: value.into() });
        self
    }

    /// What is given for an option, and where.
    pub(super) fn find(&self, key: &str) -> Option<(String, Result<String, String>)> {
        if let Some(given) = self.flags.iter().rev().find(|given| given.key == key) {
            return Some((given.flag.clone(), Ok(given.value.clone())));
        }
        let name = variable(key);
        let (_, value) = self.environment.iter().find(|(known, _)| *known == name)?;
        let value = value.clone().into_string().map_err(|_| "must be UTF-8".to_owned());
        Some((name, value))
    }
}

/// The variable that sets an option.
pub(super) fn variable(key: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    key.chars().fold(PREFIX.to_owned(), |mut name, c| {
        name.push(word(c));
        name
    })
}
