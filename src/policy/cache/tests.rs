//! What of a cache is used, and everything that is not.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;
use crate::Limits;
use crate::tests::{component, limits};

/// A directory of one test, removed when it is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("pulsegate-code-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn cache(&self) -> Cache {
        Cache::open(&self.0).expect("a cache")
    }

    fn entry(&self, engine: &wasmtime::Engine, digest: Digest) -> PathBuf {
        self.cache().path(digest, &build(engine))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn engine(limits: Limits) -> wasmtime::Engine {
    crate::Engine::new(limits).expect("an engine").shared.wasm.clone()
}

/// A cache that holds the code of two components.
fn filled(scratch: &Scratch, engine: &wasmtime::Engine) -> [Digest; 2] {
    ["steady", "ladder"].map(|name| {
        let bytes = component(name);
        let compiled = Component::from_binary(engine, &bytes).expect("it compiles");
        let digest = Digest::of(&bytes);
        scratch.cache().write(&compiled, digest).expect("it is written");
        digest
    })
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn tags_are_those_of_rfc_4231() {
    // Its test case 1; zeros behind a shorter key change nothing (RFC 2104, §2).
    let mut key = [0; KEY_BYTES];
    key[..20].fill(0x0b);
    let tag = Key(key).sign(&[b"Hi ", b"There"]);
    let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
    let text: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, expected);
    let mut other = tag;
    other[31] ^= 1;
    assert!(is_same(&tag, &tag) && !is_same(&tag, &other) && !is_same(&tag[..31], &tag));
}

#[test]
fn what_was_kept_is_found_and_is_whole() {
    let scratch = Scratch::new("kept");
    let engine = engine(limits());
    for digest in filled(&scratch, &engine) {
        let found = scratch.cache().load(&engine, digest).expect("it is kept");
        assert!(found.get_export_index(None, "pulsegate:policy/manifest@1.0.0").is_some());
        let found = fs::metadata(scratch.entry(&engine, digest)).expect("a file");
        assert_eq!(found.mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&scratch.0).expect("a directory").mode() & 0o777, 0o700);
    assert!(scratch.cache().load(&engine, Digest::of(b"another")).is_none());
}

#[test]
fn a_flipped_bit_anywhere_is_not_found() {
    let scratch = Scratch::new("flipped");
    let engine = engine(limits());
    let [digest, _] = filled(&scratch, &engine);
    let path = scratch.entry(&engine, digest);
    let good = fs::read(&path).expect("an entry");
    let places = (0..good.len()).step_by(good.len() / 97).chain([TAG_BYTES - 1, TAG_BYTES]);
    for place in places.chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        fs::write(&path, &bad).expect("it is ours");
        assert!(scratch.cache().load(&engine, digest).is_none(), "byte {place}");
    }
    fs::write(&path, &good).expect("it is ours");
    assert!(scratch.cache().load(&engine, digest).is_some());
}

#[test]
fn a_file_that_ends_early_or_goes_on_is_not_found() {
    let scratch = Scratch::new("short");
    let engine = engine(limits());
    let [digest, _] = filled(&scratch, &engine);
    let path = scratch.entry(&engine, digest);
    let good = fs::read(&path).expect("an entry");
    for length in [0, 1, TAG_BYTES - 1, TAG_BYTES, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).expect("it is ours");
        assert!(scratch.cache().load(&engine, digest).is_none(), "{length} bytes");
    }
    fs::write(&path, [good.as_slice(), b"x"].concat()).expect("it is ours");
    assert!(scratch.cache().load(&engine, digest).is_none());
}

#[test]
fn code_of_another_component_is_not_found_under_this_one() {
    let scratch = Scratch::new("swapped");
    let engine = engine(limits());
    let [one, other] = filled(&scratch, &engine);
    fs::copy(scratch.entry(&engine, other), scratch.entry(&engine, one)).expect("it is ours");
    assert!(scratch.cache().load(&engine, one).is_none());
    assert!(scratch.cache().load(&engine, other).is_some());
}

#[test]
fn code_of_another_engine_is_not_found_even_under_its_name() {
    let scratch = Scratch::new("engine");
    let ours = engine(limits());
    let [digest, _] = filled(&scratch, &ours);
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(false);
    let theirs = wasmtime::Engine::new(&config).expect("an engine");
    assert!(scratch.cache().load(&theirs, digest).is_none());
    fs::copy(scratch.entry(&ours, digest), scratch.entry(&theirs, digest)).expect("it is ours");
    assert!(scratch.cache().load(&theirs, digest).is_none());
}

#[test]
fn code_that_another_key_signed_is_not_found() {
    let (scratch, elsewhere) = (Scratch::new("key"), Scratch::new("key-elsewhere"));
    let engine = engine(limits());
    let [digest, _] = filled(&elsewhere, &engine);
    filled(&scratch, &engine);
    fs::copy(elsewhere.entry(&engine, digest), scratch.entry(&engine, digest)).expect("a copy");
    assert!(scratch.cache().load(&engine, digest).is_none());
}

#[test]
fn links_and_pipes_are_not_read() {
    let scratch = Scratch::new("links");
    let engine = engine(limits());
    let [digest, _] = filled(&scratch, &engine);
    let path = scratch.entry(&engine, digest);
    let aside = scratch.0.join("aside");
    fs::rename(&path, &aside).expect("it is ours");
    symlink(&aside, &path).expect("a link");
    assert!(scratch.cache().load(&engine, digest).is_none(), "a symbolic link");
    fs::remove_file(&path).expect("it is ours");
    fs::hard_link(&aside, &path).expect("a link");
    assert!(scratch.cache().load(&engine, digest).is_none(), "a hard link");
    fs::remove_file(&aside).expect("it is ours");
    assert!(scratch.cache().load(&engine, digest).is_some(), "its only name");
    fs::remove_file(&path).expect("it is ours");
    fs::create_dir(&path).expect("a directory");
    assert!(scratch.cache().load(&engine, digest).is_none(), "a directory");
}

#[test]
fn what_others_may_use_is_not_used() {
    let scratch = Scratch::new("modes");
    let engine = engine(limits());
    let [digest, _] = filled(&scratch, &engine);
    let entry = scratch.entry(&engine, digest);
    for bad in [0o644, 0o620, 0o602] {
        mode(&entry, bad);
        assert!(scratch.cache().load(&engine, digest).is_none(), "{bad:o}");
    }
    mode(&entry, 0o600);
    let refused = |path: &Path, bad: u32, good: u32| {
        mode(path, bad);
        let refused = Cache::open(&scratch.0);
        assert!(matches!(refused, Err(CacheError::Unsafe { .. })), "{bad:o}: {refused:?}");
        mode(path, good);
    };
    for bad in [0o755, 0o710, 0o770] {
        refused(&scratch.0, bad, 0o700);
    }
    for bad in [0o644, 0o640, 0o606] {
        refused(&scratch.0.join(KEY), bad, 0o600);
    }
    assert!(scratch.cache().load(&engine, digest).is_some());
}

#[test]
fn what_belongs_to_another_user_is_not_used() {
    let scratch = Scratch::new("owner");
    let engine = engine(limits());
    let [digest, _] = filled(&scratch, &engine);
    let entry = scratch.entry(&engine, digest);
    if chown(&entry, Some(12_345), None).is_err() {
        // Only root can give files away; the rule is held to by the modes above.
        return;
    }
    assert!(scratch.cache().load(&engine, digest).is_none());
    for path in [scratch.0.join(KEY), scratch.0.clone()] {
        chown(&path, Some(12_345), None).expect("root may");
        assert!(matches!(Cache::open(&scratch.0), Err(CacheError::Unsafe { .. })));
        chown(&path, Some(geteuid().as_raw()), None).expect("root may");
    }
}

#[test]
fn a_key_of_another_length_or_place_is_refused() {
    let scratch = Scratch::new("lengths");
    scratch.cache();
    let key = scratch.0.join(KEY);
    for bytes in [Vec::new(), vec![1; KEY_BYTES - 1], vec![1; KEY_BYTES + 1]] {
        fs::write(&key, &bytes).expect("it is ours");
        assert!(matches!(Cache::open(&scratch.0), Err(CacheError::Unsafe { .. })));
    }
    fs::remove_file(&key).expect("it is ours");
    let elsewhere = scratch.0.join("elsewhere");
    fs::write(&elsewhere, vec![1; KEY_BYTES]).expect("it is ours");
    symlink(&elsewhere, &key).expect("a link");
    assert!(matches!(Cache::open(&scratch.0), Err(CacheError::Io { .. })));
    let file = scratch.0.join("file");
    fs::write(&file, "x").expect("it is ours");
    assert!(Cache::open(&file).is_err());
    symlink(&scratch.0, file.with_extension("link")).expect("a link");
    let linked = Cache::open(&file.with_extension("link"));
    assert!(matches!(linked, Err(CacheError::Unsafe { .. })), "{linked:?}");
}

#[test]
fn an_admission_keeps_its_code_and_the_next_one_uses_it() {
    let scratch = Scratch::new("used");
    let engine = || crate::Engine::new(limits()).expect("an engine").with_cache(scratch.cache());
    let bytes = component("steady");
    let digest = Digest::of(&bytes);
    let classes = pulsegate_core::Classes::default();
    let source = crate::tests::source("steady");
    crate::Revision::admit(&engine(), source, &classes, &[]).expect("it is admitted");
    let kept = engine();
    assert!(scratch.entry(&kept.shared.wasm, digest).exists());
    // Code that is found stands in for compiling: under the digest of what does compile, nonsense
    // does, too.
    assert!(kept.shared.compile(b"nonsense", digest).is_ok());
    assert!(kept.shared.compile(b"nonsense", Digest::of(b"nonsense")).is_err());
}

#[test]
fn a_directory_that_takes_nothing_costs_nothing_but_time() {
    let scratch = Scratch::new("full");
    let engine = crate::Engine::new(limits()).expect("an engine").with_cache(scratch.cache());
    fs::remove_dir_all(&scratch.0).expect("it is ours");
    let source = crate::tests::source("steady");
    let classes = pulsegate_core::Classes::default();
    crate::Revision::admit(&engine, source, &classes, &[]).expect("it is admitted all the same");
}
