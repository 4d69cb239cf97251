//! Who sends it: a bearer token (RFC 6750) names the tenant.

use std::sync::Arc;

use http::HeaderValue;
use parking_lot::Mutex;
use pulsegate_core::TenantId;
use pulsegate_wire::{Code, Problem};

use super::Rejection;
use crate::config::{Config, Digest};

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

/// Who a connection said it is, where it says so once and not with each message.
///
/// Only the digest of the token is kept. The tenant is looked up again under each new
/// configuration: a revoked token ends with the reload.
#[derive(Debug, Default)]
pub struct Identity(Mutex<Option<Named>>);

#[derive(Debug)]
struct Named {
    digest: Digest,
    under: Arc<Config>,
    tenant: Option<TenantId>,
}

impl Identity {
    /// Takes a token in place of the one before.
    ///
    /// # Errors
    /// `unauthenticated`: it is not known; the connection has no tenant from now on.
    pub fn introduce(&self, config: &Arc<Config>, token: &[u8]) -> Result<(), Rejection> {
        if !config.asks_credentials() {
            return Ok(());
        }
        let digest = Digest::of(token);
        let tenant = config.credentials.find(&digest);
        *self.0.lock() = Some(Named { digest, under: config.clone(), tenant });
        tenant.map(|_| ()).ok_or_else(|| refuse("token not known"))
    }

    /// The tenant of the connection.
    ///
    /// # Errors
    /// `unauthenticated`: credentials are configured, and none that is known was shown.
    pub fn tenant(&self, config: &Arc<Config>) -> Result<TenantId, Rejection> {
        if !config.asks_credentials() {
            return Ok(TenantId(0));
        }
        let mut named = self.0.lock();
        let named = named.as_mut().ok_or_else(|| refuse("say hello with a token first"))?;
        if !Arc::ptr_eq(&named.under, config) {
            named.tenant = config.credentials.find(&named.digest);
            named.under = config.clone();
        }
        named.tenant.ok_or_else(|| refuse("token not known"))
    }
}

fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = header.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn refuse(detail: &str) -> Rejection {
    Rejection::of(Problem::new(Code::Unauthenticated, detail))
}
