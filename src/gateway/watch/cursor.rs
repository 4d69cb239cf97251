//! A place in the journal, as watchers name it.

use std::fmt;
use std::str::FromStr;

/// A place in the journal: everything up to and including this event. Opaque to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Start of the gateway that recorded the event.
    pub epoch: u32,
    /// Number of the event.
    pub seq: u64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this watch")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (epoch, seq) = text.split_once('-').ok_or(BadCursor)?;
        let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(epoch) || !is_plain(seq) {
            return Err(BadCursor);
        }
        Ok(Self {
            epoch: epoch.parse().map_err(|_| BadCursor)?,
            seq: seq.parse().map_err(|_| BadCursor)?,
        })
    }
}
