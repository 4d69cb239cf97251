//! The simulator: the very core and policies of the gateway, on virtual time.

pub mod analytic;
pub mod peers;
pub mod quality;
pub mod random;
pub mod server;
