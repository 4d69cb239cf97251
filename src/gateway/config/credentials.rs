//! Who may beat, and for which tenant: digests only, so that no secret can be shown.

use std::collections::HashMap;
use std::fmt;

use pulsegate_core::TenantId;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a token. Tokens are long and random, so a plain digest is enough, and looking one
/// up by its digest tells nothing about the token through its time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// Tokens by digest, with the tenant that each speaks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials(HashMap<Digest, TenantId>);

/// Names of the tenants by index; 0 is `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants(Vec<String>);

impl Digest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Takes 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether this is the digest of a token.
    #[must_use]
    pub fn fits(&self, token: &[u8]) -> bool {
        *self == Self::of(token)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(hidden)")
    }
}

impl Credentials {
    /// Adds a token; says whether it was new.
    pub(super) fn add(&mut self, digest: Digest, tenant: TenantId) -> bool {
        self.0.insert(digest, tenant).is_none()
    }

    /// The tenant that a token speaks for.
    #[must_use]
    pub fn tenant(&self, token: &[u8]) -> Option<TenantId> {
        self.find(&Digest::of(token))
    }

    /// The tenant that the token of this digest speaks for.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<TenantId> {
        self.0.get(digest).copied()
    }

    /// Whether nobody has to show one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn renumbered(&self, number: impl Fn(TenantId) -> TenantId) -> Self {
        Self(self.0.iter().map(|(digest, tenant)| (*digest, number(*tenant))).collect())
    }
}

impl Tenants {
    /// Most tenants.
    pub const MAX: usize = 1_024;
    /// The tenant of agents without a credential.
    pub const DEFAULT: &'static str = "default";

    /// Name of a tenant; empty for one that is not known.
    #[must_use]
    pub fn name(&self, id: TenantId) -> &str {
        self.0.get(usize::from(id.0)).map_or("", String::as_str)
    }

    /// The tenant of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TenantId> {
        let index = self.0.iter().position(|known| known == name)?;
        u16::try_from(index).ok().map(TenantId)
    }

    /// Every name, by index.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The tenant of this name; a new number where it is not known yet. Beyond
    /// [`Self::MAX`], which a checked configuration never reaches, `default`.
    pub(super) fn number(&mut self, name: &str) -> TenantId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let Some(id) = u16::try_from(self.0.len()).ok().filter(|id| usize::from(*id) < Self::MAX)
        else {
            return TenantId(0);
        };
        self.0.push(name.to_owned());
        TenantId(id)
    }
}

impl Default for Tenants {
    fn default() -> Self {
        Self(vec![Self::DEFAULT.to_owned()])
    }
}
