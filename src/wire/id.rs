//! The name of an agent.

use alloc::string::String;
use core::fmt;

use crate::limits;

/// Name of an agent within its tenant: 1 to 128 of `A-Z a-z 0-9 . _ : @ -`, neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

/// Why a text is no agent id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// It is empty.
    Empty,
    /// It is longer than [`limits::AGENT_ID_BYTES`].
    TooLong,
    /// It has a character outside `A-Z a-z 0-9 . _ : @ -`.
    Character,
    /// It is `.` or `..`, which a path cannot carry.
    Dots,
}

impl AgentId {
    /// Checks whether a text is an agent id.
    ///
    /// # Errors
    /// [`IdError`] says which rule is broken.
    pub fn check(text: &str) -> Result<(), IdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        match text {
            "" => Err(IdError::Empty),
            "." | ".." => Err(IdError::Dots),
            _ if text.len() > limits::AGENT_ID_BYTES => Err(IdError::TooLong),
            _ if !text.bytes().all(allowed) => Err(IdError::Character),
            _ => Ok(()),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AgentId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::check(&text).map(|()| Self(text))
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "must not be empty",
            Self::TooLong => "must be at most 128 bytes long",
            Self::Character => "may hold only letters, digits and . _ : @ -",
            Self::Dots => "must not be . or ..",
        })
    }
}

impl core::error::Error for IdError {}
