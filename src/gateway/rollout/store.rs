//! Uploaded components and what is enforced of them, on the disk.
//!
//! ```text
//! policies/                 0700
//!   <sha-256>.wasm          a component, never changed
//!   manifest                which revisions there are, and what each of them is
//!   manifest.before         the one before it
//! ```
//! Everything is written beside its place, made durable, moved there, and the directory made
//! durable: a process that is killed leaves the old state or the new one. What is read is held
//! against its digest. What is damaged is told, left where it is, and never used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pulsegate_policy::{Digest, Share};
use serde::{Deserialize, Serialize};

use super::track::{Pick, Track, Uploaded};
use crate::config::COMPONENT_BYTES;

const MANIFEST: &str = "manifest";
const BEFORE: &str = "manifest.before";
/// First line of a manifest, before the digest of all that follows.
const HEAD: &str = "pulsegate-policies 1 ";
/// Largest manifest that is read. Source: chosen; 64 policies of 64 revisions take 2 MiB.
const MANIFEST_BYTES: u64 = 16 << 20;

/// Where components are kept.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// Nowhere that outlives the process.
    Memory(BTreeMap<Digest, Arc<[u8]>>),
    /// In a directory.
    Directory(PathBuf),
}

/// All tracks by name.
pub(super) type Tracks = BTreeMap<String, Track>;

impl Store {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        directory.map_or_else(|| Self::Memory(BTreeMap::new()), Self::Directory)
    }

    /// What was written last; what is wrong with it is said, one sentence each.
    pub(super) fn load(&self) -> (Tracks, Vec<String>) {
        let Self::Directory(directory) = self else { return (Tracks::new(), Vec::new()) };
        let mut complaints = Vec::new();
        for name in [MANIFEST, BEFORE] {
            let path = directory.join(name);
            match read_bounded(&path, MANIFEST_BYTES).map_err(|error| error.to_string()) {
                Ok(None) => {}
                Ok(Some(bytes)) => match parse(&bytes) {
                    Ok(tracks) => {
                        if name == BEFORE && !complaints.is_empty() {
                            complaints.push("the manifest before it is used".to_owned());
                        }
                        return (tracks, complaints);
                    }
                    Err(why) => complaints.push(format!("{} is damaged: {why}", path.display())),
                },
                Err(why) => complaints.push(format!("{} cannot be read: {why}", path.display())),
            }
        }
        (Tracks::new(), complaints)
    }

    /// Keeps a component; it is durable when this returns.
    ///
    /// # Errors
    /// What the disk said; nothing refers to what it may have left.
    pub(super) fn put(&mut self, digest: Digest, component: &Arc<[u8]>) -> io::Result<()> {
        match self {
            Self::Memory(kept) => {
                kept.insert(digest, component.clone());
                Ok(())
            }
            Self::Directory(directory) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&*directory)?;
                write(directory, &file(digest), component)
            }
        }
    }

    /// A component that was kept.
    ///
    /// # Errors
    /// A sentence: it is gone, cannot be read, or is not what was kept.
    pub(super) fn component(&self, digest: Digest) -> Result<Vec<u8>, String> {
        match self {
            Self::Memory(kept) => {
                let component = kept.get(&digest).map(|component| component.to_vec());
                component.ok_or_else(|| "the component is not kept".to_owned())
            }
            Self::Directory(directory) => {
                let path = directory.join(file(digest));
                let read = read_bounded(&path, COMPONENT_BYTES)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                let bytes = read.ok_or_else(|| format!("{} is gone", path.display()))?;
                if Digest::of(&bytes) != digest {
                    return Err(format!("{} is damaged: it has another digest", path.display()));
                }
                Ok(bytes)
            }
        }
    }

    /// Writes down what every policy is; it is durable when this returns. Components that neither
    /// this manifest nor the one before it names are removed.
    ///
    /// # Errors
    /// What the disk said; what was written before is still there.
    pub(super) fn save(&mut self, tracks: &Tracks, before: &Tracks) -> io::Result<()> {
        let named: BTreeSet<Digest> = [tracks, before]
            .into_iter()
            .flat_map(BTreeMap::values)
            .flat_map(|track| track.uploads.iter().map(|upload| upload.digest))
            .collect();
        match self {
            Self::Memory(kept) => kept.retain(|digest, _| named.contains(digest)),
            Self::Directory(directory) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&*directory)?;
                let text = render(tracks)?;
                let path = directory.join(MANIFEST);
                if path.exists() {
                    // What is damaged must not take the place of what is not.
                    let is_good = read_bounded(&path, MANIFEST_BYTES);
                    if let Ok(Some(bytes)) = is_good
                        && parse(&bytes).is_ok()
                    {
                        write(directory, BEFORE, &bytes)?;
                    }
                }
                write(directory, MANIFEST, text.as_bytes())?;
                sweep(directory, &named);
            }
        }
        Ok(())
    }
}

fn file(digest: Digest) -> String {
    format!("{digest}.wasm")
}

/// Writes a file beside its place and moves it there, durable at each step.
fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!("{name}.tmp"));
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, directory.join(name))?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // On a full disk the half of it would only take room.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// What a file holds; `None` when there is none.
fn read_bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// Removes components that nothing names. What cannot be removed is tried again at the next change.
fn sweep(directory: &Path, named: &BTreeSet<Digest>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm")?.parse().ok());
        if digest.is_some_and(|digest: Digest| !named.contains(&digest)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A manifest as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    policies: BTreeMap<String, WrittenTrack>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTrack {
    uploads: Vec<WrittenUpload>,
    enforced: Option<String>,
    candidate: Option<WrittenTrial>,
    previous: Vec<String>,
    taken_back: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenUpload {
    digest: String,
    bytes: u64,
    added_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTrial {
    revision: String,
    percent_100: Option<u16>,
    labels: Option<BTreeMap<String, String>>,
}

fn render(tracks: &Tracks) -> io::Result<String> {
    let policies = tracks.iter().map(|(name, track)| (name.clone(), write_track(track))).collect();
    let text = serde_json::to_string_pretty(&Written { policies })?;
    Ok(format!("{HEAD}{}\n{text}\n", Digest::of(format!("{text}\n").as_bytes())))
}

fn parse(bytes: &[u8]) -> Result<Tracks, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let rest = text.strip_prefix(HEAD).ok_or("it does not begin as a manifest of this version")?;
    let (digest, body) = rest.split_once('\n').ok_or("it ends in its first line")?;
    if digest.parse() != Ok(Digest::of(body.as_bytes())) {
        return Err("it has another digest".to_owned());
    }
    let written: Written = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let tracks = written.policies.into_iter();
    tracks.map(|(name, track)| Ok((name, read_track(track)?))).collect()
}

fn write_track(track: &Track) -> WrittenTrack {
    WrittenTrack {
        uploads: track.uploads.iter().map(write_upload).collect(),
        enforced: track.enforced.map(word),
        candidate: track.candidate.as_ref().map(|(pick, share)| WrittenTrial {
            revision: word(*pick),
            percent_100: match share {
                Share::Percent(percent) => Some(*percent),
                _ => None,
            },
            labels: match share {
                Share::Labels(labels) => Some(labels.clone()),
                _ => None,
            },
        }),
        previous: track.previous.iter().copied().map(word).collect(),
        taken_back: track.taken_back.iter().map(|(pick, why)| (word(*pick), why.clone())).collect(),
    }
}

fn write_upload(upload: &Uploaded) -> WrittenUpload {
    let Uploaded { digest, bytes, added_unix_ms } = *upload;
    WrittenUpload { digest: digest.to_string(), bytes, added_unix_ms }
}

fn read_track(written: WrittenTrack) -> Result<Track, String> {
    let uploads = written.uploads.into_iter().map(|upload| {
        let WrittenUpload { digest, bytes, added_unix_ms } = upload;
        let digest = digest.parse().map_err(|error| format!("{error}: {digest}"))?;
        Ok::<_, String>(Uploaded { digest, bytes, added_unix_ms })
    });
    let candidate = written.candidate.map(|trial| {
        let share = match (trial.percent_100, trial.labels) {
            (Some(percent), _) => Share::Percent(percent.clamp(1, pulsegate_policy::WHOLE)),
            (None, Some(labels)) => Share::Labels(labels),
            (None, None) => Share::Shadow,
        };
        Ok::<_, String>((pick(&trial.revision)?, share))
    });
    let taken_back = written.taken_back.into_iter();
    Ok(Track {
        uploads: uploads.collect::<Result<_, _>>()?,
        enforced: written.enforced.as_deref().map(pick).transpose()?,
        candidate: candidate.transpose()?,
        previous: written.previous.iter().map(|word| pick(word)).collect::<Result<_, _>>()?,
        taken_back: taken_back
            .map(|(word, why)| Ok((pick(&word)?, why)))
            .collect::<Result<_, String>>()?,
    })
}

/// The word for a revision, in manifests and in the API.
pub(super) fn word(pick: Pick) -> String {
    match pick {
        Pick::Configured => "configured".to_owned(),
        Pick::Uploaded(digest) => digest.to_string(),
    }
}

fn pick(word: &str) -> Result<Pick, String> {
    if word == "configured" {
        return Ok(Pick::Configured);
    }
    word.parse().map(Pick::Uploaded).map_err(|error| format!("{error}: {word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test, removed when it is over.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let name = format!("pulsegate-store-{}-{test}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn store(&self) -> Store {
            Store::new(Some(self.0.clone()))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn tracks(of: &[u8]) -> Tracks {
        let digest = Digest::of(of);
        let mut track = Track::configured();
        track.add(Uploaded { digest, bytes: 3, added_unix_ms: 7 });
        track.enforce(Pick::Uploaded(digest));
        let labels = BTreeMap::from([("ring".to_owned(), "0".to_owned())]);
        track.try_out(Pick::Configured, Share::Labels(labels)).unwrap();
        track.taken_back.insert(Pick::Configured, "10 faults".to_owned());
        let mut other = track.clone();
        other.candidate = Some((Pick::Uploaded(digest), Share::Percent(250)));
        let candidate = Some((Pick::Uploaded(digest), Share::Shadow));
        let third = Track { candidate, ..Track::default() };
        [("a", track), ("b", other), ("c", third)].map(|(n, t)| (n.to_owned(), t)).into()
    }

    fn component(text: &[u8]) -> (Digest, Arc<[u8]>) {
        (Digest::of(text), Arc::from(text))
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let scratch = Scratch::new("saved");
        let (digest, bytes) = component(b"abc");
        scratch.store().put(digest, &bytes).unwrap();
        scratch.store().save(&tracks(b"abc"), &Tracks::new()).unwrap();
        assert_eq!(scratch.store().load(), (tracks(b"abc"), Vec::new()));
        assert_eq!(scratch.store().component(digest).unwrap(), b"abc");
        let mode = |path: &Path| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode(&scratch.0), 0o700);
        assert_eq!(mode(&scratch.0.join(MANIFEST)), 0o600);
    }

    #[test]
    fn a_damaged_manifest_gives_way_to_the_one_before_it() {
        let scratch = Scratch::new("before");
        scratch.store().save(&tracks(b"abc"), &Tracks::new()).unwrap();
        scratch.store().save(&tracks(b"def"), &tracks(b"abc")).unwrap();
        let path = scratch.0.join(MANIFEST);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        let last = flipped.len() - 10;
        flipped[last] ^= 1;
        let half = good[..good.len() / 2].to_vec();
        for bad in [flipped, half, Vec::new(), vec![0xff; 40], b"pulsegate-policies 2 x".to_vec()] {
            fs::write(&path, &bad).unwrap();
            let (loaded, complaints) = scratch.store().load();
            assert_eq!(loaded, tracks(b"abc"));
            assert_eq!(complaints.len(), 2, "{complaints:?}");
        }
        // Saving then leaves the good one where it is, and never the damaged one in its place.
        scratch.store().save(&tracks(b"ghi"), &tracks(b"abc")).unwrap();
        fs::write(&path, "nonsense").unwrap();
        assert_eq!(scratch.store().load().0, tracks(b"abc"));
        fs::write(scratch.0.join(BEFORE), "nonsense").unwrap();
        let (loaded, complaints) = scratch.store().load();
        assert_eq!((loaded, complaints.len()), (Tracks::new(), 2));
    }

    #[test]
    fn a_component_that_is_not_what_was_kept_is_never_handed_out() {
        let scratch = Scratch::new("component");
        let (digest, bytes) = component(b"abc");
        let mut store = scratch.store();
        store.put(digest, &bytes).unwrap();
        fs::write(scratch.0.join(file(digest)), b"abd").unwrap();
        assert!(store.component(digest).unwrap_err().contains("another digest"));
        fs::remove_file(scratch.0.join(file(digest))).unwrap();
        assert!(store.component(digest).unwrap_err().contains("is gone"));
        store.put(digest, &bytes).unwrap();
        assert_eq!(store.component(digest).unwrap(), b"abc", "another upload heals it");
    }

    #[test]
    fn components_go_when_no_manifest_names_them_any_more() {
        let scratch = Scratch::new("sweep");
        let mut store = scratch.store();
        for text in [b"abc", b"def"] {
            let (digest, bytes) = component(text);
            store.put(digest, &bytes).unwrap();
        }
        store.save(&tracks(b"abc"), &Tracks::new()).unwrap();
        assert!(store.component(Digest::of(b"def")).is_err(), "an upload that came to nothing");
        let (digest, bytes) = component(b"def");
        store.put(digest, &bytes).unwrap();
        store.save(&tracks(b"def"), &tracks(b"abc")).unwrap();
        assert!(store.component(Digest::of(b"abc")).is_ok(), "the manifest before names it");
        store.save(&tracks(b"def"), &tracks(b"def")).unwrap();
        assert!(store.component(Digest::of(b"abc")).is_err());
    }

    #[test]
    fn a_disk_that_takes_nothing_changes_nothing() {
        let scratch = Scratch::new("full");
        scratch.store().save(&tracks(b"abc"), &Tracks::new()).unwrap();
        // A directory stands where the file would be written first.
        fs::create_dir(scratch.0.join(format!("{MANIFEST}.tmp"))).unwrap();
        assert!(scratch.store().save(&tracks(b"def"), &tracks(b"abc")).is_err());
        assert_eq!(scratch.store().load().0, tracks(b"abc"));
        let nowhere = Store::new(Some(scratch.0.join(MANIFEST).join("below")));
        let (digest, bytes) = component(b"abc");
        assert!({ nowhere }.put(digest, &bytes).is_err());
    }

    #[test]
    fn in_memory_components_are_kept_and_go_likewise() {
        let mut store = Store::new(None);
        let (digest, bytes) = component(b"abc");
        store.put(digest, &bytes).unwrap();
        store.save(&tracks(b"abc"), &Tracks::new()).unwrap();
        assert_eq!(store.component(digest).unwrap(), b"abc");
        assert_eq!(store.load().0, Tracks::new());
        store.save(&Tracks::new(), &Tracks::new()).unwrap();
        assert!(store.component(digest).is_err());
    }
}
