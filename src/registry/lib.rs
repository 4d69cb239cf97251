//! Policies from OCI registries: named by digest, pulled, checked, kept, pushed.
//!
//! ```text
//! Reference → Client::pull → manifest (digest) → layer (size, digest) → component
//!                                 └─ sha256-….sig → Keys::check_manifest
//! Pinned → Fetcher: store by digest, else Client::pull; with keys only what is signed
//! ```
//!
//! A registry is not trusted: nothing is believed but what the digest in the reference and the
//! public key in the configuration say. Every answer has a largest size, every operation a longest
//! time; credentials go to the registry that they belong to and nowhere else.
//!
//! This room may touch the network and the files of its store. It knows neither wasmtime nor the
//! gateway: what a component does is judged elsewhere.

mod challenge;
mod client;
mod component;
mod credentials;
mod digest;
mod error;
mod fetch;
pub mod fuzzing;
mod link;
mod manifest;
pub mod media;
mod reference;
mod session;
mod signature;
mod store;
#[cfg(test)]
mod tests;
mod url;

pub use client::{COMPONENT_BYTES, Client, MANIFEST_BYTES, Options, Pulled, TIMEOUT};
pub use component::Names;
pub use credentials::{CREDENTIALS_BYTES, Credentials};
pub use digest::Digest;
pub use error::Error;
pub use fetch::{Fetched, Fetcher, Looked};
pub use reference::{Pinned, Reference, SCHEME};
pub use signature::{KEY_FILE_BYTES, KEYS, Keys, SIGNATURE_FILE_BYTES, Signature};
pub use store::{Kept, STORE_BYTES, STORE_FILES, Store};
