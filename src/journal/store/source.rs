//! Where the bytes of a store lie.
//!
//! No lock is taken here: the lock of the data directory ([`crate::lock`]) keeps others out, and
//! stays when the store is opened anew after a failure.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

#[cfg(test)]
pub(crate) use faults::Faults;

/// Where the bytes of a store lie.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// In this file.
    File(PathBuf),
    /// In memory; every opening begins anew.
    Memory,
    /// In this file, on a disk that fails as told.
    #[cfg(test)]
    Faulty(PathBuf, std::sync::Arc<Faults>),
}

impl Source {
    /// Opens it, made if it is not there.
    pub(crate) fn open(&self) -> io::Result<Backend> {
        Ok(match self {
            Self::File(path) => Backend::File(open(path)?),
            Self::Memory => Backend::Memory(InMemoryBackend::new()),
            #[cfg(test)]
            Self::Faulty(path, faults) => Backend::Faulty(open(path)?, faults.clone()),
        })
    }

    /// Its file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory => None,
            #[cfg(test)]
            Self::Faulty(path, _) => Some(path),
        }
    }

    /// Whether this many bytes could be written, found out beside the store: a store that is
    /// opened after a failure is read from its beginning each time.
    pub(crate) fn probe(&self, bytes: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Self::Faulty(_, faults) = self {
            faults.check(bytes)?;
        }
        let Some(path) = self.path() else { return Ok(()) };
        let probe = path.with_extension("probe");
        let written = File::create(&probe).and_then(|mut file| {
            io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
            file.sync_data()
        });
        let removed = std::fs::remove_file(&probe);
        written.and(removed)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A place for redb to keep its pages.
#[derive(Debug)]
pub(crate) enum Backend {
    File(File),
    Memory(InMemoryBackend),
    #[cfg(test)]
    Faulty(File, std::sync::Arc<Faults>),
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Memory(memory) => memory.len(),
            Self::File(file) => Ok(file.metadata()?.len()),
            #[cfg(test)]
            Self::Faulty(file, _) => Ok(file.metadata()?.len()),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.read(offset, out),
            Self::File(file) => file.read_exact_at(out, offset),
            #[cfg(test)]
            Self::Faulty(file, _) => file.read_exact_at(out, offset),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.set_len(len),
            Self::File(file) => file.set_len(len),
            #[cfg(test)]
            Self::Faulty(file, faults) => {
                faults.check(0)?;
                file.set_len(len)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(file) => file.sync_data(),
            #[cfg(test)]
            Self::Faulty(file, faults) => {
                faults.sync()?;
                file.sync_data()
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.write(offset, data),
            Self::File(file) => file.write_all_at(data, offset),
            #[cfg(test)]
            Self::Faulty(file, faults) => {
                faults.check(data.len() as u64)?;
                file.write_all_at(data, offset)
            }
        }
    }
}

#[cfg(test)]
mod faults {
    use std::io;

    use parking_lot::{Condvar, Mutex};

    /// A disk that fails as told.
    #[derive(Debug, Default)]
    pub(crate) struct Faults {
        told: Mutex<Told>,
        changed: Condvar,
    }

    #[derive(Debug, Default)]
    struct Told {
        /// Bytes that can be written before the disk is full; `None` for no end.
        room: Option<u64>,
        /// Every write and sync fails.
        broken: bool,
        /// Writes succeed and the next sync fails, once.
        sync_fails_once: bool,
        /// A sync does not come back while this holds.
        stuck: bool,
    }

    impl Faults {
        pub(crate) fn fill_after(&self, room: u64) {
            self.tell(|told| told.room = Some(room));
        }

        pub(crate) fn break_down(&self) {
            self.tell(|told| told.broken = true);
        }

        pub(crate) fn fail_one_sync(&self) {
            self.tell(|told| told.sync_fails_once = true);
        }

        pub(crate) fn stick(&self) {
            self.tell(|told| told.stuck = true);
        }

        pub(crate) fn heal(&self) {
            self.tell(|told| *told = Told::default());
        }

        fn tell(&self, change: impl FnOnce(&mut Told)) {
            change(&mut self.told.lock());
            self.changed.notify_all();
        }

        pub(super) fn check(&self, bytes: u64) -> io::Result<()> {
            let mut told = self.told.lock();
            if told.broken {
                return Err(io::Error::other("the disk does not answer"));
            }
            if let Some(room) = &mut told.room {
                match room.checked_sub(bytes) {
                    Some(left) if left > 0 => *room = left,
                    _ => return Err(io::ErrorKind::StorageFull.into()),
                }
            }
            Ok(())
        }

        pub(super) fn sync(&self) -> io::Result<()> {
            self.check(0)?;
            let mut told = self.told.lock();
            while told.stuck {
                self.changed.wait(&mut told);
            }
            if std::mem::take(&mut told.sync_fails_once) {
                return Err(io::Error::other("the disk lost what it was given"));
            }
            Ok(())
        }
    }
}
