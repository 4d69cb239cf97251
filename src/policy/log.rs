//! Lines that policies write, kept until the gateway collects them.
//!
//! A policy that logs endlessly costs at most [`LINES_PER_CALL`] copies a call and
//! [`LINES_WAITING`] lines of memory; the rest is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Most lines that one call may write. Source: chosen.
pub(crate) const LINES_PER_CALL: u32 = 8;
/// Most lines that wait to be collected. Source: chosen; 128 KiB at their longest.
pub(crate) const LINES_WAITING: usize = 256;
/// Longest line, in bytes. Source: chosen.
pub(crate) const LINE_BYTES: usize = 512;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Of use to the policy's author.
    Debug,
    /// Of use to an operator.
    Info,
    /// Odd, but handled.
    Warn,
    /// Somebody should look.
    Error,
}

/// One line that a policy wrote. The text is a guest's: it may hold anything but control
/// characters, which are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Name of the policy.
    pub policy: String,
    /// How much it matters.
    pub level: LogLevel,
    /// The text, at most 512 bytes.
    pub message: String,
}

/// Lines that wait, shared by all threads; policies write rarely, so a lock is cheap enough.
#[derive(Debug, Default)]
pub(crate) struct LogRing {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<LogLine>,
    dropped: u64,
}

impl LogRing {
    /// Keeps a line, or counts it if too many wait.
    pub(crate) fn push(&self, line: LogLine) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.len() < LINES_WAITING {
            waiting.lines.push_back(line);
        } else {
            waiting.dropped += 1;
        }
    }

    /// Counts lines that a call wrote beyond its share.
    pub(crate) fn count_dropped(&self, lines: u64) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).dropped += lines;
    }

    /// Takes the lines that wait, and how many were dropped since the last time.
    pub(crate) fn drain(&self) -> (Vec<LogLine>, u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = std::mem::take(&mut waiting.dropped);
        (waiting.lines.drain(..).collect(), dropped)
    }
}

/// Cuts a guest's text to [`LINE_BYTES`] and replaces control characters, so that a policy cannot
/// forge lines of the log it is written to.
pub(crate) fn clean_line(text: &str) -> String {
    let end = text.floor_char_boundary(LINE_BYTES);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> LogLine {
        LogLine { policy: "p".into(), level: LogLevel::Info, message: message.into() }
    }

    #[test]
    fn lines_beyond_the_ring_are_counted_not_kept() {
        let ring = LogRing::default();
        for _ in 0..LINES_WAITING + 3 {
            ring.push(line("x"));
        }
        let (lines, dropped) = ring.drain();
        assert_eq!((lines.len(), dropped), (LINES_WAITING, 3));
        assert_eq!(ring.drain(), (Vec::new(), 0));
    }

    #[test]
    fn a_line_is_cut_at_a_character_and_holds_no_control_characters() {
        let long = "é".repeat(LINE_BYTES);
        assert_eq!(clean_line(&long).len(), LINE_BYTES);
        assert_eq!(clean_line("a\nERROR forged\u{7}"), "a ERROR forged ");
    }
}
