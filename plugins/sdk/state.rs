//! The configuration of a running instance.

use alloc::boxed::Box;
use alloc::string::String;

use once_cell::race::OnceBox;
use serde::de::DeserializeOwned;

use crate::Config;

/// Holds what `configure` was given, for as long as the instance lives.
#[derive(Debug)]
pub struct State<Settings>(OnceBox<Config<Settings>>);

impl<Settings: DeserializeOwned> State<Settings> {
    /// Nothing yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it stands in a static")]
    pub const fn new() -> Self {
        Self(OnceBox::new())
    }

    /// Takes the configuration.
    ///
    /// # Errors
    /// A text for the operator; nothing is kept.
    pub fn configure(&self, json: &str) -> Result<(), String> {
        let config = Config::read(json)?;
        self.0.set(Box::new(config)).map_err(|_| "this instance is configured already".into())
    }

    /// The configuration.
    ///
    /// # Panics
    /// When the host calls a policy that it has not configured, against the contract.
    #[must_use]
    pub fn config(&self) -> &Config<Settings> {
        self.0.get().expect("the host configures before it calls")
    }
}
