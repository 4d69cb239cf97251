//! Tests of the whole, on what the simulator and made-up records tell.

mod disk;
mod estimate;
mod exact;
mod page;
mod support;
mod validate;
