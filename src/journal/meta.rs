//! What the journal knows of itself: one record, written with every commit.

use pulsegate_wire::Event;
use pulsegate_wire::EventKind;

/// Format of the file. It rises when an older version could not read what a newer one wrote.
pub(crate) const FORMAT: u32 = 1;
/// Most starts that are remembered. Source: chosen; three in ten minutes raise an alert.
const STARTS: usize = 32;
/// How far back starts count as lately, in milliseconds: ten minutes. Source: DESIGN §4.
const LATELY_MS: u64 = 600_000;

/// What the journal knows of itself.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Meta {
    /// Random name of the journal; a restored copy gets a new one.
    #[prost(string, tag = "1")]
    pub(crate) journal_id: String,
    /// Key by which agents are hashed to partitions, samples and spreads.
    #[prost(fixed64, tag = "2")]
    pub(crate) hash_key_0: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) hash_key_1: u64,
    /// Starts so far.
    #[prost(uint32, tag = "4")]
    pub(crate) epoch: u32,
    /// Core time of the newest commit.
    #[prost(uint64, tag = "5")]
    pub(crate) core_ms: u64,
    /// Wall time of the newest commit.
    #[prost(uint64, tag = "6")]
    pub(crate) wall_ms: u64,
    /// The last gateway ended in order.
    #[prost(bool, tag = "7")]
    pub(crate) clean: bool,
    /// The newest snapshot that is whole.
    #[prost(message, optional, tag = "8")]
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// Wall times of the last starts, the newest last.
    #[prost(uint64, repeated, tag = "9")]
    pub(crate) starts: Vec<u64>,
    /// Oldest event that retention left.
    #[prost(uint64, tag = "10")]
    pub(crate) first_seq: u64,
    /// Newest event.
    #[prost(uint64, tag = "11")]
    pub(crate) last_seq: u64,
    /// Wall time of the journal's creation.
    #[prost(uint64, tag = "12")]
    pub(crate) created_ms: u64,
    /// Fleet floor, as the newest `floor_moved` says.
    #[prost(uint32, tag = "13")]
    pub(crate) floor_base_ms: u32,
    /// Commits so far: tells whether a commit that failed went through after all.
    #[prost(uint64, tag = "14")]
    pub(crate) commits: u64,
    /// Bytes of events, as they lie on the disk.
    #[prost(uint64, tag = "15")]
    pub(crate) event_bytes: u64,
    /// Bytes of heartbeats, as they lie on the disk.
    #[prost(uint64, tag = "16")]
    pub(crate) heartbeat_bytes: u64,
    /// Heartbeats recorded so far: the number of the next one, less one.
    #[prost(uint64, tag = "17")]
    pub(crate) heartbeats: u64,
    /// Number that the last dead letter got.
    #[prost(uint64, tag = "18")]
    pub(crate) last_letter: u64,
    /// Number that the last snapshot got.
    #[prost(uint64, tag = "19")]
    pub(crate) last_snapshot: u64,
    /// How often it was restored from a backup.
    #[prost(uint32, tag = "20")]
    pub(crate) restores: u32,
    /// Events that were lost by damage, and told as such.
    #[prost(message, repeated, tag = "21")]
    pub(crate) gaps: Vec<Gap>,
}

/// Events that are lost: the first and the last number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub(crate) struct Gap {
    #[prost(uint64, tag = "1")]
    pub(crate) from: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) to: u64,
}

/// A snapshot that is whole.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct SnapshotMeta {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// Newest event when it was begun: events after this one must be applied to its rows.
    #[prost(uint64, tag = "2")]
    pub(crate) from_seq: u64,
    /// Wall time when it was finished.
    #[prost(uint64, tag = "3")]
    pub(crate) wall_ms: u64,
    /// Agents in it.
    #[prost(uint64, tag = "4")]
    pub(crate) agents: u64,
    /// Leases in it.
    #[prost(uint64, tag = "5")]
    pub(crate) leases: u64,
    /// Rows of the store that it consists of.
    #[prost(uint32, tag = "6")]
    pub(crate) rows: u32,
    /// Bytes of those rows.
    #[prost(uint64, tag = "7")]
    pub(crate) bytes: u64,
}

impl Meta {
    /// A journal that never was.
    pub(crate) fn fresh(wall_ms: u64) -> std::io::Result<Self> {
        let [id_0, id_1, hash_key_0, hash_key_1] = random()?;
        Ok(Self {
            journal_id: format!("{id_0:016x}{id_1:016x}"),
            hash_key_0,
            hash_key_1,
            created_ms: wall_ms,
            wall_ms,
            clean: true,
            first_seq: 1,
            ..Self::default()
        })
    }

    /// Notes a start.
    pub(crate) fn start(&mut self, wall_ms: u64) {
        self.epoch += 1;
        self.clean = false;
        self.wall_ms = wall_ms;
        self.starts.push(wall_ms);
        let excess = self.starts.len().saturating_sub(STARTS);
        self.starts.drain(..excess);
    }

    /// Starts in the ten minutes before `wall_ms`, the one at it included.
    pub(crate) fn starts_lately(&self, wall_ms: u64) -> u32 {
        let since = wall_ms.saturating_sub(LATELY_MS);
        self.starts.iter().filter(|at| (since..=wall_ms).contains(*at)).count() as u32
    }

    /// Notes what an event says of the whole gateway.
    pub(crate) fn note(&mut self, event: &Event) {
        self.last_seq = event.seq;
        self.core_ms = self.core_ms.max(event.at_ms);
        if let Some(EventKind::FloorMoved(moved)) = &event.kind {
            self.floor_base_ms = moved.base_ms;
        }
    }

    /// A new name, and tokens above all that the copied journal can have given since.
    pub(crate) fn restore(&mut self) -> std::io::Result<()> {
        let [id_0, id_1, ..] = random()?;
        self.journal_id = format!("{id_0:016x}{id_1:016x}");
        self.epoch += RESTORE_EPOCHS;
        self.restores += 1;
        Ok(())
    }
}

/// Epochs that a restored backup skips, so that fencing tokens of grants after the backup stay
/// below those to come: the original may have started that often since. Source: chosen; that many
/// restarts between a backup and its use are not survived by anybody.
pub(crate) const RESTORE_EPOCHS: u32 = 1_024;

/// Random numbers of the operating system.
fn random() -> std::io::Result<[u64; 4]> {
    use std::io::Read;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_starts_of_ten_minutes_count_as_lately() {
        let mut meta = Meta::fresh(0).unwrap();
        for minute in [1_u64, 5, 14, 15, 16] {
            meta.start(minute * 60_000);
        }
        assert_eq!(meta.starts_lately(16 * 60_000), 3);
        assert_eq!(meta.epoch, 5);
        (0..100).for_each(|_| meta.start(17 * 60_000));
        assert_eq!(meta.starts.len(), STARTS);
    }

    #[test]
    fn two_journals_differ_in_name_and_key() {
        let [a, b] = [Meta::fresh(1).unwrap(), Meta::fresh(1).unwrap()];
        assert_ne!(a.journal_id, b.journal_id);
        assert_ne!((a.hash_key_0, a.hash_key_1), (b.hash_key_0, b.hash_key_1));
    }
}
