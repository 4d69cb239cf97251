//! Who sends it: a bearer token (RFC 6750) names the tenant.

use std::sync::Arc;

use http::HeaderValue;
use parking_lot::Mutex;
use pulsegate_core::TenantId;
use pulsegate_wire::{Code, Problem};

use super::Rejection;
use crate::config::Config;

/// The credential that one connection showed last, so that its token is hashed once and not at
/// every heartbeat. It holds for one configuration: a revoked token ends with the reload.
#[derive(Debug, Default)]
pub struct Authenticated(Mutex<Option<(HeaderValue, Arc<Config>, TenantId)>>);

/// The tenant of a request.
///
/// # Errors
/// `unauthenticated`: credentials are configured, and this is none of them.
pub fn authenticate(
    config: &Arc<Config>,
    header: Option<&HeaderValue>,
    known: &Authenticated,
) -> Result<TenantId, Rejection> {
    if !config.asks_credentials() {
        return Ok(TenantId(0));
    }
    let header = header.ok_or_else(|| refuse("a bearer token is needed"))?;
    let mut known = known.0.lock();
    if let Some((seen, under, tenant)) = &*known {
        // What a connection is compared with is what it sent itself: time tells it nothing.
        if seen == header && Arc::ptr_eq(under, config) {
            return Ok(*tenant);
        }
    }
    let token = bearer(header).ok_or_else(|| refuse("a bearer token is needed"))?;
    let tenant = config.credentials.tenant(token).ok_or_else(|| refuse("token not known"))?;
    *known = Some((header.clone(), config.clone(), tenant));
    Ok(tenant)
}

fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = header.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn refuse(detail: &str) -> Rejection {
    Rejection::of(Problem::new(Code::Unauthenticated, detail))
}
