//! Pulsegate.
fn main() {}
