//! The shell: sockets, admission, shards, and everything that the machine's effects reach.
//!
//! ```text
//! transport → admission → shard → policy, core
//!                           ↓
//!       durable → the journal → watch
//!       recovery, witness, telemetry, config, clock
//! ```
//! Rooms import only forwards along these arrows; `api` serves operators beside the way of a
//! heartbeat, `rollout` swaps its policies, and [`server`] puts everything together.

pub mod admission;
pub mod api;
pub mod clock;
pub mod config;
pub mod durable;
pub mod lease;
pub mod recovery;
pub mod rollout;
pub mod server;
pub mod shard;
pub mod telemetry;
pub mod transport;
pub mod watch;
pub mod witness;
