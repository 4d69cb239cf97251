//! Events that are durable, by number.

use prost::Message;
use pulsegate_wire::Event;

use crate::ReadError;
use crate::codec::{self, Damage};
use crate::meta::Gap;
use crate::store::{Result, Room, StoreError, View};

/// The event that a record holds; `None` where it is damaged. It must have the number of its place:
/// where a row lies, and how long its records are, stands outside of its checksums.
fn event(seq: u64, message: std::result::Result<&[u8], Damage>) -> Option<Event> {
    Event::decode(message.ok()?).ok().filter(|event| event.seq == seq)
}

/// Whether the event of a message has the number of its place; everything else in it is skipped.
pub(crate) fn is_in_place(seq: u64, message: &[u8]) -> bool {
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    struct Placed {
        #[prost(uint64, tag = "2")]
        seq: u64,
    }
    Placed::decode(message).is_ok_and(|placed| placed.seq == seq)
}

/// Events after `after_seq`, at most `limit`, and none that comes after a gap.
pub(crate) fn read(
    view: &View,
    after_seq: u64,
    limit: usize,
) -> std::result::Result<Vec<Event>, ReadError> {
    let unavailable = |error: StoreError| ReadError::Unavailable { reason: error.to_string() };
    let meta = view.meta().map_err(unavailable)?;
    if after_seq >= meta.last_seq || limit == 0 {
        return Ok(Vec::new());
    }
    if after_seq + 1 < meta.first_seq {
        return Err(ReadError::Gone { oldest: meta.first_seq });
    }
    let mut events = Vec::with_capacity(limit.min(1_024));
    let mut next = after_seq + 1;
    let mut gone = None;
    let start = view.row_before(Room::Events, next).map_err(unavailable)?.unwrap_or(next);
    let result = view.rows(Room::Events, (start, u64::MAX), |first, row| {
        for (seq, message) in (first..).zip(codec::messages(row)) {
            match event(seq, message) {
                Some(event) if seq == next => {
                    events.push(event);
                    next += 1;
                }
                // The first that can be read again after what is lost.
                Some(_) if seq > next && gone.is_none() => gone = Some(seq),
                _ => {}
            }
            if events.len() == limit || gone.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    });
    match (events.is_empty(), result) {
        (false, _) => Ok(events),
        (true, Err(error)) => Err(unavailable(error)),
        (true, Ok(())) => Err(ReadError::Gone { oldest: gone.unwrap_or(meta.last_seq + 1) }),
    }
}

/// Events from `from_seq` on, in order, up to about `limit` and a row more, whatever is lost
/// between them.
pub(crate) fn some(view: &View, from_seq: u64, limit: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    let start = view.row_before(Room::Events, from_seq)?.unwrap_or(from_seq);
    view.rows(Room::Events, (start, u64::MAX), |first, row| {
        let numbered = (first..).zip(codec::messages(row)).filter(|(seq, _)| *seq >= from_seq);
        events.extend(numbered.filter_map(|(seq, message)| event(seq, message)));
        Ok(events.len() < limit)
    })?;
    Ok(events)
}

/// Every event from `from_seq` to `to_seq`, in order; what is lost is left out and told to `lost`
/// gap by gap.
pub(crate) fn scan(
    view: &View,
    (from_seq, to_seq): (u64, u64),
    mut visit: impl FnMut(Event),
    mut lost: impl FnMut(Gap),
) -> Result<()> {
    if from_seq > to_seq {
        return Ok(());
    }
    let mut next = from_seq;
    let start = view.row_before(Room::Events, from_seq)?.unwrap_or(from_seq);
    view.rows(Room::Events, (start, to_seq), |first, row| {
        for (seq, message) in (first..).zip(codec::messages(row)) {
            if seq < next || seq > to_seq {
                continue;
            }
            let Some(event) = event(seq, message) else { continue };
            if seq > next {
                lost(Gap { from: next, to: seq - 1 });
            }
            visit(event);
            next = seq + 1;
        }
        Ok(true)
    })?;
    if next <= to_seq {
        lost(Gap { from: next, to: to_seq });
    }
    Ok(())
}
