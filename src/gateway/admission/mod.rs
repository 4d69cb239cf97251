//! What may come in: who sends it, in which form, whether it makes sense, and how much of it.
//!
//! Nothing that is refused here has changed any state, and no problem document says more than
//! what the sender did wrong. This room may touch `shard`, `config`, `clock` and `telemetry`.

mod authenticate;
mod limit;
mod rejection;
mod shed;
mod validate;

pub use authenticate::{Authenticated, Identity, authenticate};
pub use limit::Sources;
pub use rejection::Rejection;
pub use shed::{Permit, Shed};
pub use validate::{Checked, Format, batch, framed, heartbeat, items, named};
