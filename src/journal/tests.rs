//! Journals on real files, with real threads.

mod append;
mod copies;
mod crash;
mod damage;
mod faults;
mod letters;
mod snapshots;
mod support;
