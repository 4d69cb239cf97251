//! From a journal to a replay: heartbeats and events, in the order of core time.

use std::collections::VecDeque;

use pulsegate_journal::ReplayError;
use pulsegate_journal::offline::Offline;
use pulsegate_wire::Event;

use crate::Replay;

/// Events that are read at once. Source: chosen; two rows of the journal.
const EVENTS: usize = 512;
/// Heartbeats between two looks at how far it is. Source: chosen; some ten milliseconds.
const PROGRESS_EVERY: u64 = 16_384;

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Heartbeats that were looked at.
    pub done: u64,
    /// All that were ever recorded; retention may have removed some.
    pub of: u64,
}

/// Replays what a journal recorded. `tell` is told now and then how far it is.
///
/// # Errors
/// When the journal cannot be read on: what lies before was replayed.
pub fn read(
    journal: &Offline,
    replay: &mut Replay,
    mut tell: impl FnMut(Progress),
) -> Result<(), ReplayError> {
    let mut events = Events::new(journal);
    let mut first = None;
    let of = journal.header().heartbeats;
    let told = journal.recorded(|number, beat| {
        let first = *first.get_or_insert(number);
        if number.is_multiple_of(PROGRESS_EVERY) {
            tell(Progress { done: number - first, of: of.saturating_sub(first - 1) });
        }
        match beat {
            Some(beat) => {
                events.tell_until(beat.at_ms, replay);
                replay.handle_heartbeat(&beat);
            }
            None => replay.handle_damaged(),
        }
        !replay.has_given_up()
    });
    if !replay.has_given_up() {
        events.tell_until(u64::MAX, replay);
    }
    events.failure.map_or(told, Err)
}

/// Reads events beside the heartbeats, a few at a time.
struct Events<'a> {
    journal: &'a Offline,
    next_seq: u64,
    waiting: VecDeque<Event>,
    is_over: bool,
    failure: Option<ReplayError>,
}

impl<'a> Events<'a> {
    fn new(journal: &'a Offline) -> Self {
        let (waiting, next_seq) = (VecDeque::new(), journal.header().oldest_seq);
        Self { journal, next_seq, waiting, is_over: false, failure: None }
    }

    /// Tells all that happened up to an instant of core time.
    fn tell_until(&mut self, at_ms: u64, replay: &mut Replay) {
        loop {
            while let Some(event) = self.waiting.front() {
                if event.at_ms > at_ms {
                    return;
                }
                replay.handle_event(event);
                self.waiting.pop_front();
            }
            if self.is_over || !self.fill() {
                return;
            }
        }
    }

    /// Reads on. Whether there is anything more.
    fn fill(&mut self) -> bool {
        match self.journal.events_from(self.next_seq, EVENTS) {
            Ok(events) => self.waiting.extend(events),
            Err(error) => self.failure = Some(error),
        }
        match self.waiting.back() {
            Some(last) => self.next_seq = last.seq + 1,
            None => self.is_over = true,
        }
        !self.is_over
    }
}
