//! Policies with one bad habit each, built from `plugins/misbehaving` and embedded, for tests.

include!(concat!(env!("OUT_DIR"), "/fixtures.rs"));
