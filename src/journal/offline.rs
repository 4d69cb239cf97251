//! Journals that no gateway has open: looked at, checked, copied back.

use prost::Message;

use crate::HeartbeatRecord;
use crate::codec;
use crate::store::{Result, Room, View};

/// Recorded heartbeats after number `after`, until `visit` returns false.
pub(crate) fn heartbeats_of(
    view: &View,
    after: u64,
    mut visit: impl FnMut(u64, HeartbeatRecord) -> bool,
) -> Result<()> {
    let start = view.row_before(Room::Heartbeats, after.saturating_add(1))?.unwrap_or(0);
    view.rows(Room::Heartbeats, (start, u64::MAX), |first, row| {
        for (number, message) in (first..).zip(codec::messages(row)) {
            let beat = message.ok().and_then(|message| HeartbeatRecord::decode(message).ok());
            if let Some(beat) = beat.filter(|_| number > after)
                && !visit(number, beat)
            {
                return Ok(false);
            }
        }
        Ok(true)
    })
}
