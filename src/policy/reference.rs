//! The reference policies, built for Wasm with this crate and embedded.

include!(concat!(env!("OUT_DIR"), "/reference.rs"));
