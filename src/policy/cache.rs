//! Compiled code of components, kept over a restart.
//!
//! Compiled code is machine code: `wasmtime` runs whatever it is handed, without a check that could
//! find out. So nothing may be loaded here that this gateway has not written itself. The argument,
//! in which every step is enforced below:
//!
//! 1. Every entry carries an HMAC-SHA256 over the digest of its component, the build of the engine
//!    with all settings that the code depends on, and the code. Whoever cannot make that code
//!    cannot make an entry, move one to another component, or to another engine.
//! 2. The key is 32 random bytes in a file that only its owner can read (mode 0600), in a directory
//!    that only its owner can enter (0700), both owned by the user that the gateway runs as. Where
//!    any of this is not so, the cache is not used. So whoever can read the key, or put one in its
//!    place, is that user or root, and can change the gateway itself.
//! 3. A file that is not a plain one (a symbolic link, a pipe), or has a second name (a hard link,
//!    by which a stranger could bring in a file of ours), is not read.
//! 4. What is checked is what runs: an entry is read into memory once, and that memory is checked
//!    and handed on. Nobody can change it in between, as they could a file.
//!
//! What remains is trust in `wasmtime` to load what it has written itself, and in SHA-256. An entry
//! that is damaged, or of another version, is not found, and the component is compiled as if there
//! were no cache. Nothing here can fail in a way that stops anybody.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::Digest;

/// Most bytes of all entries; the oldest go first. Source: chosen; a dozen interpreters.
const MOST: u64 = 1 << 30;
/// Largest entry that is read. Source: chosen; code is four times its component, of at most 64 MiB.
const ENTRY: u64 = 512 << 20;

const KEY: &str = "key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;

/// Where compiled code is kept.
pub struct Cache {
    directory: PathBuf,
    key: Key,
}

/// Why compiled code cannot be kept in a directory; it is compiled anew each time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file system said so.
    #[error("{path}: {source}")]
    Io {
        /// What was looked at.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else could have written, or can read, what must be ours alone.
    #[error("{path}: {reason}")]
    Unsafe {
        /// What was looked at.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Cache {
    /// Opens a cache, which is made where there is none.
    ///
    /// # Errors
    /// [`CacheError`], above all where the directory or its key are not ours alone. Nothing was
    /// read or written but what was made.
    pub fn open(directory: &Path) -> Result<Self, CacheError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| failed(directory, source))?;
        let found = fs::symlink_metadata(directory).map_err(|source| failed(directory, source))?;
        if !found.is_dir() {
            return Err(refused(directory, "it is no directory"));
        }
        check_owner(directory, &found, 0o077)?;
        let path = directory.join(KEY);
        let key = match plain(&path, KEY_BYTES as u64)? {
            Some(key) => key,
            None => make_key(directory, &path)?,
        };
        let wrong = |_| refused(&path, "it has not the length of a key");
        let key = Key(key.try_into().map_err(wrong)?);
        Ok(Self { directory: directory.to_owned(), key })
    }

    /// The code of a component, if it is kept and can be trusted.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, digest: Digest) -> Option<Component> {
        let build = build(engine);
        let entry = plain(&self.path(digest, &build), ENTRY).ok()??;
        let (tag, code) = entry.split_at_checked(TAG_BYTES)?;
        if !is_same(tag, &self.tag(digest, &build, code)) {
            return None;
        }
        deserialize(engine, code)
    }

    /// Keeps the code of a component; one that cannot be kept is compiled again.
    pub(crate) fn keep(&self, component: &Component, digest: Digest) {
        // A full disk costs the time of the next start, and nothing now.
        let _ = self.write(component, digest);
    }

    fn write(&self, component: &Component, digest: Digest) -> io::Result<()> {
        let code = component.serialize().map_err(|error| io::Error::other(error.to_string()))?;
        let build = build(component.engine());
        let tag = self.tag(digest, &build, &code);
        let path = self.path(digest, &build);
        let beside = path.with_extension("tmp");
        let written = fresh(&beside).and_then(|mut file| {
            file.write_all(&tag)?;
            file.write_all(&code)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        self.sweep(&path);
        written
    }

    /// The tag of an entry. The parts before the code have a fixed length.
    fn tag(&self, digest: Digest, build: &[u8; 32], code: &[u8]) -> [u8; TAG_BYTES] {
        self.key.sign(&[b"pulsegate-code 1", digest.bytes(), build, code])
    }

    /// Removes the oldest entries beyond the bound, but the one that was just written.
    fn sweep(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut all: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "code"))
            .filter_map(|entry| {
                let found = entry.metadata().ok()?;
                Some((found.modified().ok()?, found.len(), entry.path()))
            })
            .collect();
        all.sort();
        let mut sum: u64 = all.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in all {
            if sum > MOST && path != newest && fs::remove_file(&path).is_ok() {
                sum -= bytes;
            }
        }
    }

    fn path(&self, digest: Digest, build: &[u8; 32]) -> PathBuf {
        let build: String = build[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{digest}-{build}.code"))
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A key of HMAC-SHA256.
struct Key([u8; KEY_BYTES]);

impl Key {
    /// HMAC-SHA256 of the parts, one after the other. Source: RFC 2104, §2.
    fn sign(&self, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        const BLOCK: usize = 64;
        let pad = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let mut inner = Sha256::new_with_prefix(pad(0x36));
        parts.iter().for_each(|part| inner.update(part));
        Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
    }
}

/// Whether two tags are the same, in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8; TAG_BYTES]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

/// Hands code that was checked to the engine. It has checks of its own, of version and settings.
#[allow(unsafe_code, reason = "the argument at the head of this file: we have written this code")]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `code` is what `Component::serialize` returned to this gateway, byte for byte: only
    // it has the key by which it was just verified, in this very memory.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Stands for everything that code depends on beside its component: version and settings of the
/// engine, and the processor.
fn build(engine: &wasmtime::Engine) -> [u8; 32] {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}

fn failed(path: &Path, source: io::Error) -> CacheError {
    CacheError::Io { path: path.to_owned(), source }
}

fn refused(path: &Path, reason: &'static str) -> CacheError {
    CacheError::Unsafe { path: path.to_owned(), reason }
}

/// Whether a file is ours and, by its mode, nobody else's.
fn check_owner(path: &Path, found: &fs::Metadata, others: u32) -> Result<(), CacheError> {
    if found.uid() != geteuid().as_raw() {
        return Err(refused(path, "it belongs to another user"));
    }
    if found.mode() & others != 0 {
        return Err(refused(path, "others than its owner may use it"));
    }
    Ok(())
}

/// What a plain file of ours holds, at most `most` bytes; `None` where there is none.
fn plain(path: &Path, most: u64) -> Result<Option<Vec<u8>>, CacheError> {
    let io = |source| failed(path, source);
    // Neither a link is followed, nor does a pipe without a writer hold anybody up.
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    // Of the file that is open, whatever its name stands for now.
    let found = file.metadata().map_err(io)?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(refused(path, "it is no plain file with one name"));
    }
    check_owner(path, &found, 0o077)?;
    if found.len() > most {
        return Err(refused(path, "it is too large"));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

/// A new file that only we can read, in the place of any other.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn make_key(directory: &Path, path: &Path) -> Result<Vec<u8>, CacheError> {
    let mut key = vec![0; KEY_BYTES];
    let random = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut key));
    let beside = directory.join("key.tmp");
    let written = random.and_then(|()| fresh(&beside)).and_then(|mut file| {
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    written.map(|()| key).map_err(|source| failed(path, source))
}

#[cfg(test)]
mod tests;
