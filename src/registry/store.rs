//! What was pulled, kept by digest: a gateway starts while its registry is down.
//!
//! ```text
//! DIR/blobs/sha256/<64 digits>        a manifest, an index or a component
//! DIR/signatures/<64 digits>.json     the signatures of a manifest, as they were pulled
//! DIR/tmp/                            what is being written
//! ```
//!
//! Nothing in it is believed: a blob is read back by its digest, a signature is checked with the
//! key again. A file is written aside, synchronised and renamed, so that a killed process leaves
//! either the whole or nothing under its name. Several processes may use one store.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::Error;
use crate::signature::Signature;

/// Most files of each kind. Source: chosen; 64 policies of a configuration have at most 192, so
/// that those of two revisions fit.
pub const STORE_FILES: usize = 512;
/// Most bytes by default. Source: chosen; hundreds of policies in Rust, sixteen of the largest.
pub const STORE_BYTES: u64 = 1024 * 1024 * 1024;
/// Largest file of signatures, in bytes: 32 payloads of 64 KiB in base64, with room.
const SIGNATURES_BYTES: u64 = 4 * 1024 * 1024;
/// What is older in `tmp` was left by a process that was killed. Source: chosen; writing takes
/// seconds.
const LEFT_BEHIND: Duration = Duration::from_secs(3_600);

/// A directory of blobs by digest.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    most_bytes: u64,
    counter: AtomicU64,
}

/// A blob as the store has it.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is there, and is what its name says.
    Whole(Bytes),
    /// It is not there.
    Absent,
    /// There was a file, and it held something else; it was removed.
    Damaged,
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Store {
    /// Opens the store in this directory, which is made where it is not there; `most_bytes` is
    /// the room that blobs may take, by default [`STORE_BYTES`].
    ///
    /// # Errors
    /// [`Error::Store`], when it cannot be made.
    pub fn open(directory: &Path, most_bytes: u64) -> Result<Self, Error> {
        let store =
            Self { directory: directory.to_owned(), most_bytes, counter: AtomicU64::new(0) };
        for part in ["blobs/sha256", "signatures", "tmp"] {
            let path = directory.join(part);
            // It may be made before the journal that it stands in, and is as private.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|source| Error::Store { path, source })?;
        }
        for left in entries(&directory.join("tmp"))? {
            let age = SystemTime::now().duration_since(left.used).unwrap_or_default();
            if age > LEFT_BEHIND {
                remove(&left.path)?;
            }
        }
        Ok(store)
    }

    /// Reads a store without making one: what `pulsegate config check` does. Where there is none
    /// it is empty.
    #[must_use]
    pub fn peek(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, most_bytes: 0, counter: AtomicU64::new(0) }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads a blob of at most `limit` bytes, checked by its digest; a damaged one is removed.
    ///
    /// # Errors
    /// [`Error::Store`], when a file is there and cannot be read or removed.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Kept, Error> {
        let path = self.blob(digest);
        let Some(bytes) = bounded(&path, limit)? else { return Ok(Kept::Absent) };
        if Digest::of(&bytes) == *digest {
            touch(&path);
            return Ok(Kept::Whole(bytes));
        }
        // Whoever only looks leaves it to whoever pulls.
        if self.most_bytes > 0 {
            remove(&path)?;
        }
        Ok(Kept::Damaged)
    }

    /// Keeps a blob; the least recently used make room, but none of `needed`.
    ///
    /// # Errors
    /// [`Error::StoreFull`], when it does not fit beside those; [`Error::Store`], when it cannot
    /// be written. Then it is not there.
    pub fn keep(&self, bytes: &[u8], needed: &[Digest]) -> Result<(), Error> {
        let digest = Digest::of(bytes);
        let path = self.blob(&digest);
        let spared: Vec<PathBuf> = needed.iter().map(|needed| self.blob(needed)).collect();
        let blobs = self.directory.join("blobs/sha256");
        let size = bytes.len() as u64;
        make_room(&blobs, &path, size, self.most_bytes, &spared)?;
        self.write(&path, bytes)
    }

    /// The signatures that were kept for a manifest; damaged ones are none.
    ///
    /// # Errors
    /// [`Error::Store`], when a file is there and cannot be read.
    pub fn signatures(&self, digest: &Digest) -> Result<Vec<Signature>, Error> {
        let path = self.signature_file(digest);
        let bytes = bounded(&path, SIGNATURES_BYTES)?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Keeps the signatures of a manifest, in place of those that were kept before.
    ///
    /// # Errors
    /// [`Error::StoreFull`] or [`Error::Store`]; then those before are still there.
    pub fn keep_signatures(
        &self,
        digest: &Digest,
        signatures: &[Signature],
        needed: &[Digest],
    ) -> Result<(), Error> {
        let path = self.signature_file(digest);
        let bytes = serde_json::to_vec(signatures).map_err(|error| Error::Store {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        let spared: Vec<PathBuf> =
            needed.iter().map(|needed| self.signature_file(needed)).collect();
        let most = SIGNATURES_BYTES * STORE_FILES as u64;
        make_room(&self.directory.join("signatures"), &path, bytes.len() as u64, most, &spared)?;
        self.write(&path, &bytes)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn signature_file(&self, digest: &Digest) -> PathBuf {
        self.directory.join("signatures").join(format!("{}.json", digest.hex()))
    }

    /// Writes a file aside, synchronises it, and gives it its name.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let aside = self.directory.join("tmp").join(name);
        let written = write_synchronised(&aside, bytes)
            .and_then(|()| fs::rename(&aside, path))
            .and_then(|()| synchronise_directory(path));
        written.map_err(|source| {
            // What is left of it is removed by whoever opens the store an hour later at the
            // latest, should this fail as well.
            let _ = fs::remove_file(&aside);
            Error::Store { path: path.to_owned(), source }
        })
    }
}

fn write_synchronised(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn synchronise_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// The bytes of a file, with one byte beyond the limit where it is longer; `None` for no file.
fn bounded(path: &Path, limit: u64) -> Result<Option<Bytes>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Store { path: path.to_owned(), source }),
    };
    let mut bytes = Vec::new();
    match file.take(limit + 1).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(Bytes::from(bytes))),
        Err(source) => Err(Error::Store { path: path.to_owned(), source }),
    }
}

/// Marks a file as used. On a disk that is read-only it keeps the age that it has.
fn touch(path: &Path) {
    if let Ok(file) = File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Store { path: path.to_owned(), source }),
    }
}

fn entries(directory: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |source| Error::Store { path: directory.to_owned(), source };
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.metadata() {
            Ok(meta) => all.push(Entry {
                path: entry.path(),
                bytes: meta.len(),
                used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(all)
}

/// Removes the least recently used files of a directory until `size` more bytes fit.
fn make_room(
    directory: &Path,
    path: &Path,
    size: u64,
    most: u64,
    spared: &[PathBuf],
) -> Result<(), Error> {
    let mut others = entries(directory)?;
    others.retain(|entry| entry.path != path);
    others.sort_by_key(|entry| entry.used);
    let mut bytes: u64 = others.iter().map(|entry| entry.bytes).sum();
    let mut files = others.len();
    let fits = |bytes: u64, files: usize| bytes + size <= most && files < STORE_FILES;
    for entry in others.iter().filter(|entry| !spared.contains(&entry.path)) {
        if fits(bytes, files) {
            break;
        }
        remove(&entry.path)?;
        bytes -= entry.bytes;
        files -= 1;
    }
    if fits(bytes, files) {
        return Ok(());
    }
    let why = format!(
        "{size} bytes do not fit beside the {bytes} in {files} files that are in use; it takes \
         {most} bytes in {STORE_FILES} files"
    );
    Err(Error::StoreFull { why })
}
