//! Against registries on loopback: a strict one, and some that lie.

mod auth;
mod fetching;
mod hostile;
mod pulling;
mod pushing;
mod registry;
mod signing;
mod storing;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::client::{Client, Options};
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::media;
use crate::reference::Pinned;
use registry::Registry;

/// The smallest component: magic and version, and nothing in it.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Patience with what must happen; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn client() -> Client {
    Client::new(Options { timeout: PATIENCE, ..Options::default() }).unwrap()
}

fn client_as(credentials: Credentials) -> Client {
    Client::new(Options { timeout: PATIENCE, credentials, ..Options::default() }).unwrap()
}

/// A directory for one test, empty.
fn directory(name: &str) -> PathBuf {
    let path =
        std::env::temp_dir().join(format!("pulsegate-registry-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A descriptor in JSON.
fn descriptor(media_type: &str, digest: &str, size: usize) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn manifest(config: &str, layers: &[String]) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        media::MANIFEST,
        descriptor(config, &Digest::of(b"{}").to_string(), 2),
        layers.join(",")
    )
}

/// Stores a component under tag `1`, and says how to ask for it.
fn publish(registry: &Registry, component: &[u8]) -> Pinned {
    registry.put_blob(b"{}");
    let digest = registry.put_blob(component).to_string();
    let layer = descriptor(media::WASM, &digest, component.len());
    let json = manifest(media::WASM_CONFIG, &[layer]);
    let digest = registry.put_manifest("1", media::MANIFEST, &json);
    registry.reference(":1").pin(digest)
}

fn other_component() -> Bytes {
    // A custom section of a component: `x` with no content.
    Bytes::from_static(b"\0asm\x0d\0\x01\0\0\x02\x01x")
}
