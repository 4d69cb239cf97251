//! The quota of addresses that send heartbeats of agents nobody knows yet.
//!
//! A table of fixed size, indexed by a keyed hash of the address: whoever comes from many
//! addresses shares cells with others, and memory stays what it is. An IPv6 sender has a whole
//! /64, so the first 64 bits count as one address.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::shard::{Charged, Limiter, Quota};

/// Cells of the table: 64 KiB. Larger: fewer addresses share one. Source: chosen.
const CELLS: usize = 8_192;

/// Limits by address; shared by all threads.
#[derive(Debug)]
pub struct Sources {
    table: Mutex<Table>,
    keys: RandomState,
}

#[derive(Debug)]
struct Table {
    quota: Quota,
    limiter: Limiter,
    cells: Box<[Charged]>,
}

impl Table {
    fn new(quota: Quota) -> Self {
        let cells = vec![Charged::default(); CELLS].into_boxed_slice();
        Self { quota, limiter: Limiter::new(quota), cells }
    }
}

impl Sources {
    /// Every address has its full quota.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { table: Mutex::new(Table::new(quota)), keys: RandomState::new() }
    }

    /// Takes another quota; every address starts with a full one where it differs.
    pub fn set_quota(&self, quota: Quota) {
        let mut table = self.table.lock();
        if table.quota != quota {
            *table = Table::new(quota);
        }
    }

    /// The quota of an address.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.table.lock().quota
    }

    /// Charges one unknown agent to an address.
    ///
    /// # Errors
    /// The time to wait, in milliseconds, at least 1; nothing was charged.
    pub fn charge(&self, raw_ms: u64, address: IpAddr) -> Result<(), u64> {
        let cell = self.keys.hash_one(network(address)) as usize % CELLS;
        let table = &mut *self.table.lock();
        table.limiter.charge(raw_ms, &mut table.cells[cell])
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { rate_per_second: 10.0, burst: 5 };

    #[test]
    fn an_address_cannot_register_more_agents_than_its_quota() {
        let sources = Sources::new(QUOTA);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let passed = (0..10_000).filter(|_| sources.charge(1, address).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!(sources.charge(1, address), Err(100));
        assert_eq!(sources.charge(101, address), Ok(()));
    }

    #[test]
    fn a_whole_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4() {
        let network = |text: &str| super::network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
