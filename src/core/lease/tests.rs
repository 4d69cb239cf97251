//! Leases on virtual time: scenarios, and random histories of a whole world with its checker.

mod model;
mod random;
mod scenarios;
mod world;
