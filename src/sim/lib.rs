//! The simulator: the very core and policies of the gateway, on virtual time.

pub mod adversary;
mod agent;
pub mod analytic;
pub mod clocks;
pub mod gateway;
pub mod hunt;
pub mod lives;
pub mod network;
pub mod peers;
pub mod quality;
mod queue;
pub mod random;
pub mod science;
pub mod server;
pub mod world;

pub use agent::Running;
