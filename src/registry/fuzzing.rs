//! What `tests/fuzz` may reach: what registries answer, as it is parsed.

use crate::digest::Digest;
use crate::error::Error;
use crate::url::Url;
use crate::{challenge, manifest, media};

/// Reads bytes as a manifest, as an index and as signatures; the digest of the content that each
/// leads to, or why it leads to none.
#[must_use]
pub fn manifests(bytes: &[u8]) -> Vec<Result<Vec<Digest>, Error>> {
    let digest = Digest::of(bytes);
    let named = manifest::media_type(bytes);
    let kinds = [media::MANIFEST, media::INDEX, named.as_str()];
    let found = kinds.map(|kind| {
        let content = manifest::read(digest, bytes, kind)?;
        Ok(vec![match content {
            manifest::Found::Component(content) | manifest::Found::Manifest(content) => {
                content.digest
            }
        }])
    });
    let signed = manifest::signed_layers(digest, bytes);
    let signed = signed.map(|all| all.iter().map(|one| one.payload.digest).collect());
    found.into_iter().chain([signed]).collect()
}

/// Reads a text as a challenge: schemes and parameters, in their order.
#[must_use]
pub fn challenges(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let all = challenge::parse(text).into_iter();
    all.map(|one| (one.scheme, one.params.into_iter().collect())).collect()
}

/// Where a redirect of `https://registry.example/v2/` leads: whether encrypted, host and path.
#[must_use]
pub fn location(text: &str) -> Option<(bool, String, String)> {
    let base = Url::parse("https://registry.example/v2/").ok()?;
    let url = base.join(text).ok()?;
    Some((url.secure, url.authority(), url.path))
}
