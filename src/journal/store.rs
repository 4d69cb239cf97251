//! The embedded store: four rooms of numbered rows, and the journal's record of itself.
//!
//! What redb says, and what it panics with on pages that were damaged outside of it, becomes one
//! kind of error here.

mod source;

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{AccessGuard, Database, ReadTransaction, ReadableDatabase, TableDefinition, TableError};

use crate::codec;
use crate::meta::Meta;

#[cfg(test)]
pub(crate) use source::Faults;
pub(crate) use source::Source;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Key of the format's number, which every version can read: four bytes, little-endian.
const FORMAT_KEY: &str = "format";
const META_KEY: &str = "meta";

/// A room of the store. Its rows are numbered, and hold records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// Events; a row has the number of its first event.
    Events,
    /// Rows of snapshots; number of the snapshot times 2^24, plus number of the row.
    Snapshots,
    /// Heartbeats; a row has the number of its first heartbeat.
    Heartbeats,
    /// Dead letters, one a row.
    Letters,
}

impl Room {
    pub(crate) const ALL: [Self; 4] =
        [Self::Events, Self::Snapshots, Self::Heartbeats, Self::Letters];

    const fn table(self) -> TableDefinition<'static, u64, &'static [u8]> {
        TableDefinition::new(match self {
            Self::Events => "events",
            Self::Snapshots => "snapshots",
            Self::Heartbeats => "heartbeats",
            Self::Letters => "dead_letters",
        })
    }
}

/// One change of a room: a row is put, or removed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) room: Room,
    pub(crate) key: u64,
    pub(crate) row: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn put(room: Room, key: u64, row: Vec<u8>) -> Self {
        Self { room, key, row: Some(row) }
    }

    pub(crate) fn remove(room: Room, key: u64) -> Self {
        Self { room, key, row: None }
    }
}

/// Bytes that a row takes on the disk: small ones share a page, large ones fill a run of pages
/// whose number is a power of two.
pub(crate) fn weight(row: usize) -> u64 {
    /// Page of the store.
    const PAGE: usize = 4_096;
    let stored = row + 32;
    (if stored <= PAGE / 2 { stored } else { stored.next_power_of_two().max(PAGE) }) as u64
}

/// What went wrong in the store.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct StoreError {
    pub(crate) reason: String,
    /// Another handle has the file open.
    pub(crate) is_locked: bool,
}

impl StoreError {
    pub(crate) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), is_locked: false }
    }
}

macro_rules! from_redb {
    ($($error:ident)+) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::new(error)
            }
        })+
    };
}
from_redb!(TransactionError TableError StorageError CommitError);

impl From<redb::DatabaseError> for StoreError {
    fn from(error: redb::DatabaseError) -> Self {
        let is_locked = matches!(error, redb::DatabaseError::DatabaseAlreadyOpen);
        Self { reason: error.to_string(), is_locked }
    }
}

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// A row as the store hands it out.
type Found<'a> = redb::Result<(AccessGuard<'a, u64>, AccessGuard<'a, &'static [u8]>)>;

/// Visits rows until `visit` returns false.
fn visit_each<'a>(
    rows: impl Iterator<Item = Found<'a>>,
    mut visit: impl FnMut(u64, &[u8]) -> Result<bool>,
) -> Result<()> {
    for row in rows {
        let (key, row) = row?;
        if !visit(key.value(), row.value())? {
            break;
        }
    }
    Ok(())
}

/// Runs what may meet damaged pages: redb trusts a file that was closed in order.
fn shielded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        Err(StoreError::new(format!("the store met a damaged page: {text}")))
    })
}

/// An open store.
pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens what is there, repairing it after a crash, or makes an empty store in an empty place.
    pub(crate) fn open(source: &Source, cache_bytes: usize) -> Result<Self> {
        shielded(|| {
            let backend = source.open().map_err(StoreError::new)?;
            let database =
                Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?;
            Ok(Self { database })
        })
    }

    /// The format of what is there; `None` in an empty store.
    pub(crate) fn format(&self) -> Result<Option<u32>> {
        let bytes = self.meta_bytes(FORMAT_KEY)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes))
    }

    /// The journal's record of itself; `None` in an empty store.
    pub(crate) fn meta(&self) -> Result<Option<Meta>> {
        let read = |bytes: Vec<u8>| {
            codec::read_one(&bytes)
                .map_err(|_| StoreError::new("the journal's own record fails its checksum"))
        };
        self.meta_bytes(META_KEY)?.map(read).transpose()
    }

    fn meta_bytes(&self, key: &str) -> Result<Option<Vec<u8>>> {
        shielded(|| match self.database.begin_read()?.open_table(META) {
            Ok(table) => Ok(table.get(key)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    /// Makes changes and the record durable, all or none of them. After an error the store must be
    /// opened anew, and the record's number of commits tells whether this one went through.
    pub(crate) fn commit(&self, meta: &Meta, changes: &[Change]) -> Result<()> {
        shielded(|| {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(META)?;
                if meta.commits <= 1 {
                    let format = crate::meta::FORMAT.to_le_bytes();
                    table.insert(FORMAT_KEY, format.as_slice())?;
                }
                table.insert(META_KEY, codec::one(meta).as_slice())?;
            }
            for room in Room::ALL {
                let mut changes = changes.iter().filter(|change| change.room == room).peekable();
                if changes.peek().is_none() && meta.commits > 1 {
                    continue;
                }
                let mut table = transaction.open_table(room.table())?;
                for change in changes {
                    match &change.row {
                        Some(row) => drop(table.insert(change.key, row.as_slice())?),
                        None => drop(table.remove(change.key)?),
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// What is durable now, unmoved by what is written meanwhile.
    pub(crate) fn view(&self) -> Result<View> {
        Ok(View { transaction: self.database.begin_read()? })
    }

    /// Gives room back to the file system where most of the file is empty.
    pub(crate) fn compact(&mut self) -> Result<bool> {
        shielded(|| self.database.compact().map_err(StoreError::new))
    }

    /// Looks at the checksum of every page. Whether all were as they should be.
    pub(crate) fn check(&mut self) -> Result<bool> {
        shielded(|| Ok(self.database.check_integrity()?))
    }

    /// Closes it, and says what went wrong in doing so.
    pub(crate) fn close(self) -> Result<()> {
        shielded(|| Ok(self.database.close()?))
    }
}

/// What was durable at one moment.
pub(crate) struct View {
    transaction: ReadTransaction,
}

impl View {
    /// The journal's record of itself at that moment.
    pub(crate) fn meta(&self) -> Result<Meta> {
        shielded(|| {
            let table = self.transaction.open_table(META)?;
            let bytes = table.get(META_KEY)?.ok_or_else(|| StoreError::new("it is empty"))?;
            codec::read_one(bytes.value())
                .map_err(|_| StoreError::new("the journal's own record fails its checksum"))
        })
    }

    /// One row.
    pub(crate) fn row(&self, room: Room, key: u64) -> Result<Option<Vec<u8>>> {
        shielded(|| {
            let table = self.transaction.open_table(room.table())?;
            Ok(table.get(key)?.map(|row| row.value().to_vec()))
        })
    }

    /// Number of the last row that begins at `key` or before it.
    pub(crate) fn row_before(&self, room: Room, key: u64) -> Result<Option<u64>> {
        shielded(|| {
            let table = self.transaction.open_table(room.table())?;
            let last = table.range(..=key)?.next_back().transpose()?;
            Ok(last.map(|(key, _)| key.value()))
        })
    }

    /// Rows from `from` to `to` inclusive, in order, until `visit` returns false. An error from
    /// the store comes after the rows before it were visited.
    pub(crate) fn rows(
        &self,
        room: Room,
        (from, to): (u64, u64),
        visit: impl FnMut(u64, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        shielded(|| {
            let table = self.transaction.open_table(room.table())?;
            visit_each(table.range(from..=to)?, visit)
        })
    }

    /// As [`View::rows`], from the last to the first.
    pub(crate) fn rows_backwards(
        &self,
        room: Room,
        (from, to): (u64, u64),
        visit: impl FnMut(u64, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        shielded(|| {
            let table = self.transaction.open_table(room.table())?;
            visit_each(table.range(from..=to)?.rev(), visit)
        })
    }

    /// Number of rows in a room.
    pub(crate) fn count(&self, room: Room) -> Result<u64> {
        use redb::ReadableTableMetadata;
        shielded(|| Ok(self.transaction.open_table(room.table())?.len()?))
    }
}
