//! Policies from a registry that is not ours: `docker-registry`, as Debian has it, in a process of
//! its own. Without it these tests are skipped, and say so.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use pulsegate_policy::reference;
use rcgen::{KeyPair, SigningKey as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Serving, eventually, pulsegate, stderr, stdout};

const PROGRAM: &str = "docker-registry";

/// User, password and the line of `htpasswd` for them; the hash is of bcrypt, by libxcrypt.
const USER: &str = "ada";
const PASSWORD: &str = "love";
const HTPASSWD: &str = "ada:$2y$05$abcdefghijklmnopqrstuuoMDvFIfZY/Iku.a1MQuTfM6cM2wfWmG\n";

/// A directory for one test; removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pulsegate-it-{}-distribution-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().expect("UTF-8").to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The registry; killed when dropped.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    /// Starts one on a free port; `None` where there is none on this machine.
    fn start(directory: &Directory, auth: bool) -> Option<Self> {
        if Command::new(PROGRAM).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {PROGRAM} is not installed; no registry but our own was tried");
            return None;
        }
        let htpasswd = directory.file("htpasswd", HTPASSWD);
        let auth = match auth {
            true => format!("auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n"),
            false => String::new(),
        };
        let root = directory.path("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: \
             {root}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{auth}"
        );
        let config = directory.file("registry.yml", config);
        let mut child = Command::new(PROGRAM)
            .args(["serve", &config])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the registry starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split(['"', ' ', ',']).next()?.to_owned())
            })
            .expect("it says where it listens");
        // It would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, address })
    }

    fn reference(&self, rest: &str) -> String {
        format!("oci://{}/team/{rest}", self.address)
    }

    /// One request over a connection of its own: status, the header `location`, and the body.
    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\n\
             accept: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).expect("text");
        let location = head.lines().find_map(|line| line.strip_prefix("Location: "));
        let status = head[9..12].parse().expect("a status");
        (status, location.unwrap_or_default().to_owned(), answer[end + 4..].to_vec())
    }

    fn put_blob(&self, repository: &str, bytes: &[u8]) -> Value {
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let (status, location, _) = self.request("POST", &uploads, "*/*", b"");
        assert_eq!(status, 202);
        let path = location.split_once(&self.address).map_or(location.as_str(), |(_, path)| path);
        let digest = pulsegate_registry::Digest::of(bytes).to_string();
        let path = format!("{path}&digest={digest}");
        let (status, ..) = self.request("PUT", &path, "application/octet-stream", bytes);
        assert_eq!(status, 201);
        json!({ "digest": digest, "size": bytes.len() })
    }

    /// Stores a signature as cosign does.
    fn sign(&self, name: &str, digest: &str, key: &KeyPair) {
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        let payload = json!({"critical": {
            "identity": {"docker-reference": format!("{}/team/{name}", self.address)},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null});
        let payload = payload.to_string();
        let repository = format!("team/{name}");
        let mut layer = self.put_blob(&repository, payload.as_bytes());
        layer["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into();
        layer["annotations"] =
            json!({"dev.cosignproject.cosign/signature": signature(key, payload)});
        let mut config = self.put_blob(&repository, b"{}");
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let path = format!("/v2/{repository}/manifests/{tag}");
        let (status, ..) = self.request("PUT", &path, MANIFEST, manifest.to_string().as_bytes());
        assert_eq!(status, 201);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A signature in base64, as openssl and cosign write it.
fn signature(key: &KeyPair, bytes: impl AsRef<[u8]>) -> String {
    base64(&key.sign(bytes.as_ref()).expect("a signature"))
}

/// Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let all = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        (0..4).map(move |digit| match digit > chunk.len() {
            true => '=',
            false => char::from(DIGITS[((all >> (18 - 6 * digit)) & 63) as usize]),
        })
    });
    digits.collect()
}

fn policy(name: &str) -> &'static [u8] {
    let (_, bytes) = reference::ALL.iter().find(|(known, _)| *known == name).expect("it is there");
    bytes
}

fn done(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn refused(output: &Output, code: i32, why: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(why), "{said}");
}

/// A configuration whose cadence is that of one policy in a registry.
fn configuration(reference: &str, more: &str) -> String {
    format!(
        "{more}\n[[policies]]\nname = \"bees\"\noci = \"{reference}\"\n[[routes]]\ncadence = \
         \"bees\"\n"
    )
}

/// The policy that paces an agent that nobody heard of before, and its revision.
fn revision(gateway: &Serving) -> (String, String) {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let agent = format!("job-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    let directive = gateway.ask(&["beat", &agent]);
    let explain = |key: &str| directive["explain"][key].as_str().unwrap_or_default().to_owned();
    (explain("policy"), explain("policy_revision"))
}

#[test]
fn what_is_pushed_is_pulled_by_tag_and_by_digest() {
    let directory = Directory::new();
    let Some(registry) = Registry::start(&directory, false) else { return };
    let file = directory.file("steady.wasm", policy("steady"));
    let tag = registry.reference("steady:1.0");
    let pushed = done(&pulsegate(&["policy", "push", &file, &tag, "--json"]));
    let pinned = pushed["reference"].as_str().expect("a reference");
    assert_eq!(pinned, format!("{tag}@{}", pushed["digest"].as_str().unwrap()));

    for reference in [tag.as_str(), pinned] {
        let out = directory.path("pulled.wasm");
        let pulled = pulsegate(&["policy", "pull", reference, "-o", &out, "--json"]);
        let pulled = done(&pulled);
        assert_eq!((&pulled["reference"], &pulled["signed"]), (&pinned.into(), &false.into()));
        assert_eq!(std::fs::read(&out).unwrap(), policy("steady"));
    }
    let again = done(&pulsegate(&["policy", "push", &file, &tag, "--json"]));
    assert_eq!(again["digest"], pushed["digest"], "the same file is the same artifact");
    let text = stdout(&pulsegate(&["policy", "pull", &tag, "-o", &directory.path("x.wasm")]));
    assert!(text.contains("signature: not checked") && text.contains(pinned), "{text}");

    // What this prints for people to copy is a configuration.
    let (_, toml) = text.split_once("\n\n").expect("two parts");
    let file = directory.file("copied.toml", toml);
    let check = pulsegate(&["config", "check", &file]);
    assert!(stdout(&check).contains("would be pulled from 127.0.0.1"), "{}", stderr(&check));
}

#[test]
fn exit_codes_tell_who_must_act() {
    let directory = Directory::new();
    let Some(registry) = Registry::start(&directory, true) else { return };
    let out = directory.path("x.wasm");
    let module = directory.file("module.wasm", b"\0asm\x01\0\0\0");
    let key = directory
        .file("private.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let tag = registry.reference("steady:1.0");
    let gone = "oci://127.0.0.1:1/steady:1.0";
    for (args, code, why) in [
        (&["pull", &tag][..], 1, "there are no credentials for it"),
        (&["push", &module, &tag], 64, "core module"),
        (&["push", "/no/such/file", &tag], 64, "cannot be read"),
        (&["pull", "127.0.0.1/steady"], 64, "it must begin with oci://"),
        (&["pull", &tag, "--key", &key], 64, "no block `PUBLIC KEY`"),
        (&["pull", &tag, "--ca-file", "/no/such/file"], 64, "/no/such/file"),
        (&["pull", &tag, "--credentials-file", &key], 64, "line 1, column"),
        (&["pull", gone], 69, "no connection to 127.0.0.1:1"),
    ] {
        let output = [&["policy"], args].concat();
        let output = match args[0] {
            "pull" => pulsegate(&[&output[..], &["-o", &out]].concat()),
            _ => pulsegate(&output),
        };
        refused(&output, code, why);
    }
    assert!(!Path::new(&out).exists(), "nothing is written but what is good");

    let auths = json!({"auths": {&registry.address: {"username": USER, "password": PASSWORD}}});
    let credentials = directory.file("config.json", auths.to_string());
    let file = directory.file("steady.wasm", policy("steady"));
    let with = ["--credentials-file", credentials.as_str()];
    let push = pulsegate(&[&["policy", "push", &file, &tag], &with[..]].concat());
    assert!(push.status.success(), "{}", stderr(&push));
    let other = registry.reference("other:1.0");
    let pull = pulsegate(&[&["policy", "pull", &other, "-o", &out], &with[..]].concat());
    refused(&pull, 1, "does not have the manifest 1.0");
    let environment = [
        ("PULSEGATE_REGISTRY_HOST", registry.address.as_str()),
        ("PULSEGATE_REGISTRY_USERNAME", USER),
        ("PULSEGATE_REGISTRY_PASSWORD", PASSWORD),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    let command = command.args(["policy", "pull", &tag, "-o", &out]);
    assert!(command.envs(environment).output().unwrap().status.success());
    let half = command.env_remove("PULSEGATE_REGISTRY_PASSWORD").output().unwrap();
    refused(&half, 64, "belong together");
}

#[test]
fn a_gateway_starts_from_its_store_when_the_registry_is_down() {
    let directory = Directory::new();
    let Some(registry) = Registry::start(&directory, false) else { return };
    let key = KeyPair::generate().unwrap();
    directory.file("cosign.pub", key.public_key_pem());
    let file = directory.file("bees.wasm", policy("queue-pressure"));
    let pushed = pulsegate(&["policy", "push", &file, &registry.reference("bees:1"), "--json"]);
    let pushed = done(&pushed);
    let pinned = pushed["reference"].as_str().unwrap();
    let trust = "[policy_trust]\npublic_key_file = \"cosign.pub\"";
    let config = directory.file("pulsegate.toml", configuration(pinned, trust));
    let data = directory.0.join("data");
    let serve = ["serve", "--config", &config, "--listen", "127.0.0.1:0", "--data"];
    let serve = [&serve[..], &[data.to_str().unwrap()]].concat();

    refused(&pulsegate(&serve), 64, "has no signature, and a public key asks for one");
    registry.sign("bees", pushed["digest"].as_str().unwrap(), &KeyPair::generate().unwrap());
    refused(&pulsegate(&serve), 64, "has no signature of a known key");
    registry.sign("bees", pushed["digest"].as_str().unwrap(), &key);
    let out = directory.path("x.wasm");
    let by_hand = ["policy", "pull", pinned, "-o", &out, "--key", &directory.path("cosign.pub")];
    assert!(stdout(&pulsegate(&by_hand)).contains("signature: good"), "by hand as well");

    let gateway = Serving::start_durable(&data, &["--config", &config]);
    let first = revision(&gateway);
    assert_eq!(first.0, "bees");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));

    drop(registry);
    let gateway = Serving::start_durable(&data, &["--config", &config]);
    assert_eq!(revision(&gateway), first, "the same bytes, and nobody was asked");
    drop(gateway);

    let check = ["config", "check", &config];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    let check = command.args(check).env("PULSEGATE_JOURNAL_DATA_DIR", &data).output().unwrap();
    assert!(stdout(&check).contains("its signature is kept and good"), "{}", stdout(&check));
    // Whoever damages the store makes the gateway ask again, and it does not start on it.
    for entry in std::fs::read_dir(data.join("pulled/blobs/sha256")).unwrap() {
        std::fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    refused(&pulsegate(&serve), 64, "no connection to 127.0.0.1");
}

#[test]
fn a_store_that_cannot_be_made_costs_no_start() {
    let directory = Directory::new();
    let Some(registry) = Registry::start(&directory, false) else { return };
    let file = directory.file("bees.wasm", policy("steady"));
    let pushed = pulsegate(&["policy", "push", &file, &registry.reference("bees:1"), "--json"]);
    let pinned = done(&pushed)["reference"].as_str().unwrap().to_owned();
    // A file stands where its directory should be.
    let store = format!("[policy_registry]\nstore_dir = \"{file}\"");
    let config = directory.file("pulsegate.toml", configuration(&pinned, &store));
    let log = directory.path("log");
    let to = std::fs::File::create(&log).unwrap();
    let gateway = Serving::start_logging(&["--listen", "127.0.0.1:0", "--config", &config], to);
    assert_eq!(revision(&gateway).0, "bees");
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("WARN") && log.contains("the store of policies cannot be used"), "{log}");
}

#[test]
fn a_reload_pulls_while_the_gateway_serves_and_a_failed_one_changes_nothing() {
    let directory = Directory::new();
    let Some(registry) = Registry::start(&directory, false) else { return };
    let [one, two] = ["steady", "queue-pressure"].map(|name| {
        let file = directory.file("bees.wasm", policy(name));
        let tag = registry.reference("bees:1");
        let pushed = done(&pulsegate(&["policy", "push", &file, &tag, "--json"]));
        pushed["reference"].as_str().unwrap().to_owned()
    });
    let config = directory.file("pulsegate.toml", configuration(&one, ""));
    let log = directory.path("log");
    let file = std::fs::File::create(&log).unwrap();
    let gateway = Serving::start_logging(&["--listen", "127.0.0.1:0", "--config", &config], file);
    let first = revision(&gateway);
    let read_log = || std::fs::read_to_string(&log).unwrap();
    let start = read_log();
    assert!(start.contains("its signature is not checked"), "{start}");

    // The tag has moved long since: only the digest counts, and a new one is asked for by SIGHUP.
    directory.file("pulsegate.toml", configuration(&two, ""));
    gateway.signal(Signal::HUP);
    let second =
        eventually("the new policy paces", || Some(revision(&gateway)).filter(|now| *now != first));
    let (nowhere, _) = two.split_once("@").unwrap();
    let missing = format!("{nowhere}@sha256:{}", "0".repeat(64));
    directory.file("pulsegate.toml", configuration(&missing, ""));
    gateway.signal(Signal::HUP);
    eventually("the log says why", || {
        read_log().contains("does not have the manifest").then_some(())
    });
    assert_eq!(revision(&gateway), second);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
}

#[test]
fn a_gateway_that_waits_for_a_registry_still_ends_when_it_is_told() {
    let directory = Directory::new();
    let config = directory.file("pulsegate.toml", "");
    let gateway = Serving::start_with(&["--listen", "127.0.0.1:0", "--config", &config]);
    // A registry that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let reference = format!("oci://{address}/bees@sha256:{}", "0".repeat(64));
    directory.file("pulsegate.toml", configuration(&reference, ""));
    gateway.signal(Signal::HUP);
    let (_stream, _) = silent.accept().expect("it asks the registry");
    assert_eq!(gateway.ask(&["beat", "job"])["number"], 1, "agents are answered meanwhile");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0), "nobody waits two minutes for the registry");
}
