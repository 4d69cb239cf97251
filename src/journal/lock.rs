//! The lock of a data directory: one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::OpenError;

/// Name of the lock's file; it stays when nobody holds the lock.
const LOCK: &str = "journal.lock";

/// How long somebody else may have the lock. Source: chosen; whoever starts a second gateway by
/// mistake is told within it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to try. Source: chosen.
const AGAIN: Duration = Duration::from_millis(20);

/// A data directory that nobody else can take while this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The operating system lets go of it when the process ends, however it ends.
    _file: File,
}

/// Makes the directory, for its owner only, if it does not exist.
pub(crate) fn make(directory: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| OpenError::Io { path: directory.to_owned(), source })
}

/// Tries again for a while: a gateway that was told to end may be about to, and a program that a
/// gateway has just started holds the lock, too, until it runs.
fn patiently(file: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::park_timeout(AGAIN);
            }
            tried => return tried,
        }
    }
}

/// Takes the lock, or says who has it.
pub(crate) fn take(directory: &Path) -> Result<Lock, OpenError> {
    let path = directory.join(LOCK);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    match patiently(&file) {
        Ok(()) => {
            file.set_len(0).map_err(failed)?;
            // The number is there for people. On a full disk it is missing, and the lock holds.
            let _ = file.rewind().and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(Lock { _file: file })
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.take(32).read_to_string(&mut text);
            let holder = match text.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            Err(OpenError::Locked { directory: PathBuf::from(directory), holder })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
