//! What a configuration asks for, and what it does with what is brought.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{KeyPair, SigningKey as _};

use super::*;
use crate::config::{Config, Overrides};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Brings the same for every policy, and remembers what it was asked for.
struct Fake {
    brings: Result<&'static str, &'static str>,
    asked: RefCell<Vec<String>>,
}

impl Fake {
    fn new(brings: Result<&'static str, &'static str>) -> Self {
        Self { brings, asked: RefCell::default() }
    }
}

impl Fetch for Fake {
    fn fetch(&self, wanted: &Wanted<'_>) -> Vec<Result<Brought, String>> {
        let keys = if wanted.keys.is_some() { "signed" } else { "unsigned" };
        let store = wanted.options.store_dir.as_deref().or(wanted.data_dir);
        let each = wanted.policies.iter().map(|(name, pinned)| {
            let store = store.map(|path| path.display().to_string()).unwrap_or_default();
            self.asked.borrow_mut().push(format!("{name} {pinned} {keys} {store}"));
            let brought = self.brings.map_err(str::to_owned)?;
            Ok(Brought { bytes: Arc::from(brought.as_bytes()), origin: format!("from {name}") })
        });
        each.collect()
    }
}

/// A directory with a configuration and what belongs to it.
struct World(PathBuf);

impl World {
    fn new(test: &str) -> Self {
        let name = format!("pulsegate-pulled-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn load(&self, text: &str, fetch: &dyn Fetch) -> Result<Config, Vec<String>> {
        self.file("pulsegate.toml", text);
        let file = self.0.join("pulsegate.toml");
        Config::load_with(Some(&file), &Overrides::default(), fetch).map_err(|error| {
            let texts = error.problems().iter().map(ToString::to_string);
            let place = format!("{}:", file.display());
            texts.map(|text| text.trim_start_matches(&place).to_owned()).collect()
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entry(name: &str, rest: &str) -> String {
    format!("[[policies]]\nname = \"{name}\"\n{rest}\n")
}

fn pulled(name: &str) -> String {
    entry(name, &format!("oci = \"oci://ghcr.io/team/{name}@{DIGEST}\""))
}

const ROUTE: &str = "[[routes]]\nhealth = \"a\"\ncadence = \"b\"\n";

#[test]
fn everything_is_brought_at_once_and_put_where_it_belongs() {
    let world = World::new("brought");
    let fake = Fake::new(Ok("bytes"));
    let text = format!("[journal]\ndata_dir = \"data\"\n{}{}{ROUTE}", pulled("a"), pulled("b"));
    let config = world.load(&text, &fake).unwrap();
    let data = world.0.join("data").display().to_string();
    let asked = fake.asked.borrow().clone();
    let expected =
        ["a", "b"].map(|name| format!("{name} oci://ghcr.io/team/{name}@{DIGEST} unsigned {data}"));
    assert_eq!(asked, expected);
    let sources: Vec<_> =
        config.policies.iter().map(|one| (&*one.origin, &one.bytes[..])).collect();
    assert_eq!(sources[..2], [("from a", &b"bytes"[..]), ("from b", b"bytes")]);
    assert_eq!(config.policy_sources()[0].bytes, b"bytes");
}

#[test]
fn nobody_is_asked_where_no_policy_is_in_a_registry() {
    let fake = Fake::new(Err("it was asked"));
    World::new("nobody").load("", &fake).unwrap();
    assert!(fake.asked.borrow().is_empty());
}

#[test]
fn what_cannot_be_brought_is_told_with_its_line() {
    let world = World::new("told");
    let text = format!("{}{ROUTE}", pulled("a") + &pulled("b"));
    let found = world.load(&text, &Fake::new(Err("the registry is on fire"))).unwrap_err();
    assert_eq!(
        found,
        [
            "3: policies[0].oci: the registry is on fire",
            "6: policies[1].oci: the registry is on fire",
        ]
    );
    let unpulled = world.load(&text, &Nowhere).unwrap();
    assert!(unpulled.policies[0].bytes.is_empty(), "for whoever runs none of them");
    assert!(unpulled.policies[0].origin.ends_with("(not pulled)"));
    let many: String = (0..65).map(|number| pulled(&format!("p{number}"))).collect();
    let fake = Fake::new(Ok(""));
    assert!(world.load(&many, &fake).unwrap_err()[0].contains("must be at most 64"));
    assert!(fake.asked.borrow().is_empty(), "too many are not even asked for");
}

#[test]
fn wrong_entries_say_why() {
    let world = World::new("wrong");
    world.file("a.wasm", "component");
    for (rest, why) in [
        (
            "oci = \"oci://ghcr.io/team/a:1\"",
            "3: policies[0].oci: oci://ghcr.io/team/a:1 has no digest",
        ),
        ("oci = \"ghcr.io/team/a\"", "it must begin with oci://"),
        ("oci = \"oci://h/a@sha512:00\"", "only sha256 is taken"),
        ("oci = 7", "must be a text in quotes"),
        (
            "oci = \"oci://h/a\"\nfile = \"a.wasm\"",
            "needs one of file, reference, oci and uploaded",
        ),
        ("", "needs one of file, reference, oci and uploaded"),
        ("reference = \"steady\"\nsignature_file = \"a.sig\"", "belongs to file"),
        ("file = \"a.wasm\"\nsignature_file = \"a.sig\"", "set policy_trust.public_key_file"),
    ] {
        let found = world.load(&entry("a", rest), &Fake::new(Ok("")));
        let found = found.map(|_| ()).unwrap_err().join("\n");
        assert!(found.contains(why), "{rest}: {found}");
    }
}

#[test]
fn keys_are_read_and_a_wrong_one_keeps_everything_from_being_pulled() {
    let world = World::new("keys");
    let key = KeyPair::generate().unwrap();
    world.file("cosign.pub", key.public_key_pem());
    let trust = "[policy_trust]\npublic_key_file = \"cosign.pub\"\n";
    let text = format!("{trust}[policy_registry]\nstore_dir = \"kept\"\n{}", pulled("a"));
    let fake = Fake::new(Ok("bytes"));
    world.load(&text, &fake).unwrap();
    let kept = world.0.join("kept").display().to_string();
    assert!(fake.asked.borrow()[0].ends_with(&format!(" signed {kept}")), "{:?}", fake.asked);

    let fake = Fake::new(Ok("bytes"));
    world.file("cosign.pub", "no key");
    let found = world.load(&text, &fake).map(|_| ()).unwrap_err();
    assert!(found[0].starts_with("2: policy_trust.public_key_file: "), "{found:?}");
    world.file("cosign.pub", vec![b' '; 100_000]);
    let found = world.load(&text, &fake).map(|_| ()).unwrap_err();
    assert!(found[0].contains("larger than 65536 bytes"), "{found:?}");
    std::fs::remove_file(world.0.join("cosign.pub")).unwrap();
    let found = world.load(&text, &fake).map(|_| ()).unwrap_err();
    assert!(found[0].contains("cannot be read"), "{found:?}");
    assert!(fake.asked.borrow().is_empty(), "nothing is pulled that would not be checked");
}

/// Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn files_are_checked_where_they_are_signed_or_must_be() {
    let world = World::new("files");
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    world.file("cosign.pub", key.public_key_pem());
    world.file("a.wasm", "component");
    world.file("a.sig", base64(&key.sign(b"component").unwrap()));
    world.file("b.sig", base64(&other.sign(b"component").unwrap()));
    world.file("huge.sig", vec![b'A'; 300_000]);
    let route = "[[routes]]\ncadence = \"a\"\n";
    let load = |require: &str, rest: &str| {
        let trust = format!("[policy_trust]\npublic_key_file = \"cosign.pub\"\n{require}\n");
        let text = format!("{trust}{}{route}", entry("a", &format!("file = \"a.wasm\"\n{rest}")));
        let loaded = world.load(&text, &Nowhere);
        loaded.map(|config| config.policies[0].bytes.to_vec()).map_err(|found| found.join("\n"))
    };
    assert_eq!(load("", "").unwrap(), b"component", "files need no signature by default");
    assert_eq!(load("", "signature_file = \"a.sig\"").unwrap(), b"component");
    let all = "require = \"all\"";
    assert_eq!(load(all, "signature_file = \"a.sig\"").unwrap(), b"component");
    for (require, rest, why) in [
        (all, "", "policies[0].file: needs signature_file: policy_trust.require = \"all\""),
        ("", "signature_file = \"b.sig\"", "policies[0].signature_file: "),
        ("", "signature_file = \"b.sig\"", "has no signature of a known key"),
        ("", "signature_file = \"none.sig\"", "none.sig cannot be read"),
        ("", "signature_file = \"cosign.pub\"", "is damaged: it is no base64"),
        ("", "signature_file = \"huge.sig\"", "larger than 262144 bytes"),
    ] {
        let found = load(require, rest).unwrap_err();
        assert!(found.contains(why), "{rest}: {found}");
    }
    world.file("a.wasm", "Component");
    let found = load("", "signature_file = \"a.sig\"").unwrap_err();
    assert!(found.contains("has no signature of a known key"), "{found}");
    let found = world.load("[policy_trust]\nrequire = \"all\"", &Nowhere).map(|_| ()).unwrap_err();
    assert_eq!(found, ["2: policy_trust.require: needs public_key_file: whose signature?"]);
}

#[test]
fn trust_and_registries_change_live() {
    let world = World::new("live");
    world.file("cosign.pub", KeyPair::generate().unwrap().public_key_pem());
    let old = world.load("", &Nowhere).unwrap();
    let text =
        "[policy_trust]\npublic_key_file = \"cosign.pub\"\n[policy_registry]\ntimeout_ms = 5000\n";
    let new = world.load(text, &Nowhere).unwrap();
    let reload = old.reload(&new);
    assert!(reload.kept.is_empty(), "{:?}", reload.kept);
    assert_eq!(
        reload.config.policy_trust.public_key_file.as_deref(),
        Some(Path::new("cosign.pub"))
    );
    assert_eq!(reload.config.policy_registry.timeout_ms, 5_000);
}
