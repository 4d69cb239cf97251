//! Leases: what holders ask and are answered, and for how long a holder may count on it.
//!
//! These are JSON only: asking for a lease is rare. What is frequent, the renewal by heartbeats,
//! stands in directives ([`LeaseGrant`](crate::LeaseGrant)) and has both forms.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::validate::{Checked, agent_id, integer, over};

#[cfg(test)]
mod tests;

/// How far a clock may run wrong, in parts per million; 500. Larger: holders give up their leases
/// sooner. Source: chosen; the kernel slews a clock by at most that (adjtimex(2)), and a quartz
/// drifts by less than 100.
pub const CLOCK_DRIFT_PPM: u64 = 500;

/// How long a holder may count on a lease of this TTL, in milliseconds on its own clock, from when
/// it *sent* the request or heartbeat that was answered: `TTL·(1 − ρ)/(1 + ρ) − 1 ms`, with ρ the
/// bound of [`CLOCK_DRIFT_PPM`] on either clock.
///
/// The gateway counts the TTL from when it handled the request, so by no clock within the bound
/// does the holder count longer than the gateway. The millisecond is for reading clocks in whole
/// ones. The holder's clock must run while its machine sleeps (`CLOCK_BOOTTIME`), and the holder
/// must look at it before each act that the lease protects. A lease that was waited for in line
/// holds from the sending for the TTL *and* the time waited: see [`LeaseHold::counted_ms`].
#[must_use]
pub const fn holder_validity_ms(ttl_ms: u64) -> u64 {
    const MILLION: u64 = 1_000_000;
    // Nothing on the wire is so long that this overflows; what comes from elsewhere saturates.
    let slow = ttl_ms.saturating_mul(MILLION - CLOCK_DRIFT_PPM);
    (slow / (MILLION + CLOCK_DRIFT_PPM)).saturating_sub(1)
}

/// The body of `POST /v1/leases/{name}/acquire`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acquire {
    /// Who shall hold it: an agent id. A known agent's heartbeats renew it; any other holder renews
    /// it with `renew`.
    pub holder: String,
    /// How long it shall hold without renewal, in milliseconds: 3 s to 24 h.
    pub ttl_ms: u64,
    /// How long to wait in line if another holds it, in milliseconds; 0: do not wait.
    #[serde(skip_serializing_if = "is_zero")]
    pub wait_ms: u64,
}

/// The body of `POST /v1/leases/{name}/renew`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Renew {
    /// The token that the lease was granted with.
    pub token: u64,
    /// A longer TTL from now on, in milliseconds; a shorter one, or 0, changes nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl_ms: u64,
}

/// The body of `POST /v1/leases/{name}/release`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// The token that the lease was granted with.
    pub token: u64,
}

/// The answer to `acquire` and `renew`: the lease is the caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseHold {
    /// Name of the lease within the tenant.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Fencing token: rises with every grant. Whatever the lease protects must refuse an older one
    /// than it has seen, or ask `check`.
    pub token: u64,
    /// How long it holds without renewal, in milliseconds.
    pub ttl_ms: u64,
    /// How long the request stood in line, in milliseconds: the hold counts from its end.
    #[serde(skip_serializing_if = "is_zero")]
    pub waited_ms: u64,
    /// The agent keeps an interval that is longer than a third of the TTL: it should beat now, and
    /// is then told a shorter one. Until it does, renew with `renew`.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub beat_now: bool,
}

/// The answer to `release`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Released {
    /// Whether this request ended the lease; false when it had ended before, in any way. The
    /// caller does not hold it, either way.
    pub released: bool,
}

/// The answer to `GET /v1/leases/{name}/check?token=`, for whatever a lease protects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// Whether to let the bearer of the token act.
    pub valid: bool,
    /// Why, or why not.
    pub verdict: CheckVerdict,
    /// How long the lease holds from now without renewal, in milliseconds; only of a valid token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckVerdict {
    /// The lease is held with this token.
    Valid,
    /// The lease is held with a newer one.
    Superseded,
    /// Nobody holds the lease: it has expired, or was released.
    Free,
    /// No grant had this token.
    Unknown,
}

/// One lease, as listings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// Name of the lease within the tenant.
    pub name: String,
    /// Tenant of the credential that it was granted to.
    pub tenant: String,
    /// Who holds it.
    pub holder: String,
    /// Fencing token.
    pub token: u64,
    /// How long it holds without renewal, in milliseconds.
    pub ttl_ms: u64,
    /// How long it holds from now without renewal, in milliseconds.
    pub expires_in_ms: u64,
    /// Requests that wait in line for it.
    pub waiting: u64,
}

/// A page of leases: `GET /v1/leases`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasePage {
    /// The leases of this page, by name.
    pub leases: Vec<LeaseView>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl LeaseHold {
    /// The time to hand to [`holder_validity_ms`] when counting from the sending of the request, in
    /// milliseconds: TTL and time in line.
    #[must_use]
    pub const fn counted_ms(&self) -> u64 {
        self.ttl_ms.saturating_add(self.waited_ms)
    }
}

impl Acquire {
    /// Checks every rule of the request.
    ///
    /// # Errors
    /// A [`Problem`](crate::Problem) that names the first field that breaks a rule, and the limit.
    pub fn validate(&self) -> Checked {
        agent_id("holder", &self.holder)?;
        ttl(self.ttl_ms)?;
        at_most("wait_ms", self.wait_ms, limits::LEASE_WAIT_MAX_MS)
    }
}

impl Renew {
    /// Checks every rule of the request.
    ///
    /// # Errors
    /// A [`Problem`](crate::Problem) that names the first field that breaks a rule, and the limit.
    pub fn validate(&self) -> Checked {
        integer("token", self.token)?;
        if self.ttl_ms == 0 { Ok(()) } else { ttl(self.ttl_ms) }
    }
}

impl Release {
    /// Checks every rule of the request.
    ///
    /// # Errors
    /// A [`Problem`](crate::Problem) that names the first field that breaks a rule, and the limit.
    pub fn validate(&self) -> Checked {
        integer("token", self.token)
    }
}

/// Checks the name of a lease: it has the rules of an agent id.
///
/// # Errors
/// A [`Problem`](crate::Problem) on the field `name`.
pub fn check_name(name: &str) -> Checked {
    agent_id("name", name)
}

fn ttl(ttl_ms: u64) -> Checked {
    let min_ms = limits::LEASE_TTL_MIN_MS;
    if ttl_ms < min_ms.into() {
        return over("ttl_ms", &format!("must be at least {min_ms}"), min_ms.into());
    }
    at_most("ttl_ms", ttl_ms, limits::LEASE_TTL_MAX_MS)
}

fn at_most(field: &str, value: u64, limit: u32) -> Checked {
    if value <= limit.into() {
        return Ok(());
    }
    over(field, &format!("must be at most {limit}"), limit.into())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}
