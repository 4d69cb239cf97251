//! Journals on real files, with real threads.

mod append;
mod letters;
mod snapshots;
mod support;
