//! The store: what is kept is whole or not there, bounded, and believed by nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{COMPONENT, directory, other_component};
use crate::digest::Digest;
use crate::error::Error;
use crate::store::{Kept, STORE_BYTES, STORE_FILES, Store};

const LIMIT: u64 = 1_000_000;

fn blob(directory: &Path, bytes: &[u8]) -> std::path::PathBuf {
    directory.join("blobs/sha256").join(Digest::of(bytes).hex())
}

fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn what_is_kept_is_read_back_and_what_is_damaged_is_removed() {
    let directory = directory("damaged");
    let store = Store::open(&directory, STORE_BYTES).unwrap();
    let digest = Digest::of(COMPONENT);
    assert_eq!(store.read(&digest, LIMIT).unwrap(), Kept::Absent);
    store.keep(COMPONENT, &[]).unwrap();
    assert_eq!(store.read(&digest, LIMIT).unwrap(), Kept::Whole(COMPONENT.into()));
    let path = blob(&directory, COMPONENT);
    let long = vec![0; COMPONENT.len() + 1];
    for damage in [&b""[..], &COMPONENT[..4], b"\0asm\x0d\0\x01\x01", &long] {
        fs::write(&path, damage).unwrap();
        // Who only looks says so and leaves it.
        assert_eq!(Store::peek(&directory).read(&digest, 8).unwrap(), Kept::Damaged);
        assert!(path.exists());
        assert_eq!(store.read(&digest, 8).unwrap(), Kept::Damaged);
        assert!(!path.exists());
        store.keep(COMPONENT, &[]).unwrap();
    }
    assert_eq!(fs::read_dir(directory.join("tmp")).unwrap().count(), 0, "nothing is left aside");
}

#[test]
fn what_is_kept_is_nobody_elses_to_read() {
    let directory = directory("private");
    let inner = directory.join("data/pulled");
    Store::open(&inner, STORE_BYTES).unwrap().keep(COMPONENT, &[]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.join("data")), 0o700, "as the journal makes it");
    assert_eq!((mode(&inner.join("tmp")), mode(&blob(&inner, COMPONENT))), (0o700, 0o600));
}

#[test]
fn the_least_recently_used_make_room_but_none_that_are_needed() {
    let directory = directory("room");
    let store = Store::open(&directory, 30).unwrap();
    let (a, b, c) = (&b"aaaaaaaaaa"[..], &b"bbbbbbbbbb"[..], &b"cccccccccc"[..]);
    for (bytes, seconds) in [(a, 300), (b, 200), (c, 100)] {
        store.keep(bytes, &[]).unwrap();
        age(&blob(&directory, bytes), seconds);
    }
    assert!(
        matches!(store.read(&Digest::of(a), LIMIT), Ok(Kept::Whole(_))),
        "a use makes it young"
    );
    store.keep(b"dddddddddd", &[]).unwrap();
    let there = |bytes| blob(&directory, bytes).exists();
    assert_eq!((there(a), there(b), there(c)), (true, false, true));
    store.keep(b"eeeeeeeeee", &[Digest::of(a), Digest::of(c)]).unwrap();
    assert_eq!((there(a), there(c), there(b"dddddddddd")), (true, true, false));

    let needed = [a, c, b"eeeeeeeeee"].map(Digest::of);
    let error = store.keep(b"f", &needed).unwrap_err();
    assert!(matches!(error, Error::StoreFull { .. }), "{error}");
    assert!(error.to_string().contains("1 bytes do not fit beside the 30"), "{error}");
    assert!(!there(b"f"));
    store.keep(a, &needed).unwrap();
    assert!(store.keep(&[0; 31], &[]).is_err(), "larger than the whole store");
}

#[test]
fn the_number_of_files_is_bounded() {
    let directory = directory("number");
    let store = Store::open(&directory, STORE_BYTES).unwrap();
    let blobs = directory.join("blobs/sha256");
    for number in 0..STORE_FILES {
        fs::write(blobs.join(format!("{number}")), "").unwrap();
    }
    store.keep(COMPONENT, &[]).unwrap();
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), STORE_FILES);
}

#[test]
fn what_a_killed_process_left_aside_is_removed_when_it_is_old() {
    let directory = directory("aside");
    Store::open(&directory, STORE_BYTES).unwrap();
    let (old, young) = (directory.join("tmp/1-0"), directory.join("tmp/2-0"));
    fs::write(&old, "half").unwrap();
    fs::write(&young, "half").unwrap();
    age(&old, 7_200);
    Store::open(&directory, STORE_BYTES).unwrap();
    assert_eq!((old.exists(), young.exists()), (false, true), "another may be writing it");
}

#[test]
fn a_disk_that_takes_nothing_is_told() {
    let directory = directory("no-disk");
    let file = directory.join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file, STORE_BYTES).unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    assert!(error.chain().contains("file/blobs"), "{}", error.chain());

    let store = Store::open(&directory, STORE_BYTES).unwrap();
    fs::remove_dir_all(directory.join("tmp")).unwrap();
    let error = store.keep(COMPONENT, &[]).unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    assert_eq!(store.read(&Digest::of(COMPONENT), LIMIT).unwrap(), Kept::Absent);
    // A directory where a file should be cannot be read as one.
    fs::create_dir(blob(&directory, COMPONENT)).unwrap();
    assert!(matches!(store.read(&Digest::of(COMPONENT), LIMIT), Err(Error::Store { .. })));
}

#[test]
fn a_store_that_is_read_only_is_still_read() {
    let directory = directory("read-only");
    let store = Store::open(&directory, STORE_BYTES).unwrap();
    store.keep(&other_component(), &[]).unwrap();
    let path = blob(&directory, &other_component());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let read = store.read(&Digest::of(&other_component()), LIMIT).unwrap();
    assert_eq!(read, Kept::Whole(other_component()));
}
