//! Who holds which leases, from the events: a lease caps the interval of its holder.

use std::collections::HashMap;

/// Leases that are held. As many as a gateway has: it bounds them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// Holder of each lease, by tenant and name.
    holders: HashMap<(String, String), String>,
    /// Names and times to live, in milliseconds, of what each holds, by tenant and holder.
    held: HashMap<(String, String), Vec<(String, u32)>>,
}

impl Leases {
    pub(crate) fn grant(&mut self, tenant: &str, name: &str, holder: &str, ttl_ms: u32) {
        self.end(tenant, name);
        self.holders.insert((tenant.to_owned(), name.to_owned()), holder.to_owned());
        let held = self.held.entry((tenant.to_owned(), holder.to_owned())).or_default();
        held.push((name.to_owned(), ttl_ms));
    }

    pub(crate) fn end(&mut self, tenant: &str, name: &str) {
        let Some(holder) = self.holders.remove(&(tenant.to_owned(), name.to_owned())) else {
            return;
        };
        let holder = (tenant.to_owned(), holder);
        if let Some(held) = self.held.get_mut(&holder) {
            held.retain(|(known, _)| known != name);
            if held.is_empty() {
                self.held.remove(&holder);
            }
        }
    }

    /// Smallest time to live of what this agent holds, as far as events tell.
    pub(crate) fn smallest_ms(&self, tenant: &str, holder: &str) -> Option<u32> {
        let held = self.held.get(&(tenant.to_owned(), holder.to_owned()))?;
        held.iter().map(|(_, ttl_ms)| *ttl_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_lease_that_is_still_held_counts() {
        let mut leases = Leases::default();
        leases.grant("t", "one", "a", 30_000);
        leases.grant("t", "two", "a", 15_000);
        leases.grant("u", "two", "a", 1_000);
        assert_eq!(leases.smallest_ms("t", "a"), Some(15_000));
        leases.grant("t", "two", "b", 15_000);
        assert_eq!(leases.smallest_ms("t", "a"), Some(30_000), "another holds it now");
        leases.end("t", "one");
        leases.end("t", "never");
        assert_eq!(leases.smallest_ms("t", "a"), None);
        assert_eq!(leases.smallest_ms("u", "a"), Some(1_000));
    }
}
