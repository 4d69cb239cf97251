//! Keeps the journal useful: core time, snapshots, and what no agent's event tells.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pulsegate_wire::EventKind;
use pulsegate_wire::event::ReadOnly;

use super::Shards;

/// How often it looks. Source: chosen; core time of a gateway that is killed is known to within
/// this and what the journal adds.
const LOOK: Duration = Duration::from_secs(1);
/// A snapshot that is older than this is renewed where enough has happened since: the next start
/// is quicker, and older events may be removed. Source: chosen.
const OLD_MS: u64 = 3_600_000;
/// What enough is, in events. Source: chosen; they are replayed in some milliseconds.
const ENOUGH: u64 = 10_000;

/// Keeps the journal until it is dropped.
pub async fn keep(shards: Arc<Shards>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept = Kept::default();
    loop {
        ticks.tick().await;
        shards.durable.journal().mark_time(shards.clock.now().0);
        if kept.is_due(&shards) {
            let taking = shards.clone();
            // It ends before the next is looked for; a panic in it is a bug that its thread told.
            let _ = tokio::task::spawn_blocking(move || taking.snapshot_and_tell()).await;
        }
    }
}

/// What was seen at the last look.
#[derive(Default)]
struct Kept {
    lost: u64,
    was_read_only: bool,
}

impl Kept {
    fn is_due(&mut self, shards: &Shards) -> bool {
        // While the machines are frozen there is nothing durable to write down.
        let is_frozen = shards.durable.is_read_only() || shards.frozen.load(Relaxed);
        if is_frozen {
            self.was_read_only = true;
            return false;
        }
        let lost = shards.durable.lost();
        let has_lost = std::mem::replace(&mut self.lost, lost) != lost;
        let was_read_only = std::mem::take(&mut self.was_read_only);
        if has_lost && !was_read_only {
            // Watchers must learn of what they cannot see; of a read-only time the journal tells.
            let reason = "more happened at once than could be recorded".to_owned();
            let gap = ReadOnly { reason, lasted_ms: 0 };
            shards.durable.note("", EventKind::ReadOnly(gap));
        }
        let is_behind = was_read_only || has_lost;
        let status = shards.durable.journal().status();
        let since = status.newest_seq.saturating_sub(status.snapshot_seq.unwrap_or(0));
        let is_old = status.snapshot_seq.is_none() || status.snapshot_age_ms > OLD_MS;
        is_behind || status.is_snapshot_due || (is_old && since >= ENOUGH)
    }
}
