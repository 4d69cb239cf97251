//! Leases on virtual time.
