//! The simulator: the very core and policies of the gateway, on virtual time.
//!
//! A [`World`](world::World) is a fleet of agents that keep the protocol, a [`network`] and
//! a [`Server`](server::Server) that they beat to: this [`gateway`], or one of its
//! [`peers`]. Whoever watches it ([`Observer`](world::Observer)) is told of everything and
//! changes nothing.
//!
//! | room | what |
//! |---|---|
//! | [`world`], `agent`, `queue` | time, agents, what happens next |
//! | [`network`], [`lives`], [`clocks`] | what befalls messages, agents and clocks |
//! | [`gateway`] | core, policies and a journal, held to their promises after every step |
//! | [`hunt`] | random mixes of faults: safety, healing, liveness; a run that fails made small |
//! | [`peers`], [`analytic`] | who is compared, and what theory says |
//! | [`quality`], [`science`] | what is measured, and the page that it goes into |
//! | [`adversary`] | an optimiser against the cadence guard |
//!
//! Invariants: one seed is one history (to the bit on the same platform, whose logarithms and
//! cosines these are); nothing here reads a clock, starts a thread or iterates over a hash map.
//! This room may touch `wire`, `core` and `policy`.

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
