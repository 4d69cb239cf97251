//! The simulator: the very core and policies of the gateway, on virtual time.

pub mod adversary;
pub mod peers;
pub mod random;
pub mod server;
