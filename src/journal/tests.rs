//! Journals on real files, with real threads.
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod append;
mod copies;
mod crash;
mod damage;
mod faults;
mod letters;
mod snapshots;
mod support;
