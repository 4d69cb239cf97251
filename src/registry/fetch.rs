//! One policy for a gateway: from the store where it is kept, else from its registry; with a key
//! only if it is signed.

use bytes::Bytes;

use crate::client::{COMPONENT_BYTES, Client, MANIFEST_BYTES};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{self, Content, Found};
use crate::reference::Pinned;
use crate::signature::Keys;
use crate::store::{Kept, Store};

/// A client with a store beside it.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    store: Option<Store>,
}

/// A policy that may be loaded.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The component.
    pub component: Bytes,
    /// Whether it came from the store, without asking a registry.
    pub was_kept: bool,
    /// Whether a signature was checked: only where there are keys.
    pub is_signed: bool,
    /// What went wrong with the store on the way; the policy is good nevertheless.
    pub notes: Vec<String>,
}

/// What is known of a policy without asking its registry.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The component, where it is kept and is what its digest names.
    pub component: Option<Bytes>,
    /// Whether a good signature of one of the keys is kept.
    pub is_signed: bool,
}

/// Every blob of one policy.
struct Parts {
    manifests: Vec<Bytes>,
    component: Bytes,
}

impl Parts {
    fn digests(&self) -> Vec<Digest> {
        self.manifests.iter().chain([&self.component]).map(|blob| Digest::of(blob)).collect()
    }
}

impl Fetcher {
    /// Without a store everything is pulled each time.
    #[must_use]
    pub fn new(client: Client, store: Option<Store>) -> Self {
        Self { client, store }
    }

    /// Brings a policy. `needed` are the manifests of the other policies of the same
    /// configuration, which do not make room for this one.
    ///
    /// What is kept is used without asking its registry, whatever its age: a digest does not age.
    /// What is damaged in the store is pulled anew; a store that cannot be used is no reason not
    /// to load what was pulled.
    ///
    /// # Errors
    /// [`Error`], when it can neither be found nor pulled, or is not signed as `keys` ask.
    pub async fn fetch(
        &self,
        pinned: &Pinned,
        keys: Option<&Keys>,
        needed: &[Pinned],
    ) -> Result<Fetched, Error> {
        let mut notes = Vec::new();
        let kept = self.kept(pinned, &mut notes);
        let was_kept = kept.is_some();
        let parts = match kept {
            Some(parts) => parts,
            None => {
                let pulled = self.client.pull(pinned.reference()).await?;
                Parts { manifests: pulled.manifests, component: pulled.component }
            }
        };
        if let Some(keys) = keys {
            self.check(pinned, keys, needed, &mut notes).await?;
        }
        if let Some(store) = self.store.as_ref().filter(|_| !was_kept) {
            let mut spared = parts.digests();
            for other in needed {
                let found = trail(store, other).ok().flatten();
                spared.extend(found.iter().flat_map(Trail::digests));
            }
            for blob in parts.manifests.iter().chain([&parts.component]) {
                if let Err(error) = store.keep(blob, &spared) {
                    notes.push(format!("{pinned} is not kept: {}", error.chain()));
                    break;
                }
            }
        }
        Ok(Fetched { component: parts.component, was_kept, is_signed: keys.is_some(), notes })
    }

    /// Looks whether a policy is kept, and whether one of its kept signatures is good; asks nobody
    /// and changes nothing.
    #[must_use]
    pub fn look(&self, pinned: &Pinned, keys: Option<&Keys>) -> Looked {
        let parts = self.kept(pinned, &mut Vec::new());
        let signatures = self.store.as_ref().and_then(|store| {
            let signatures = store.signatures(&pinned.digest());
            signatures.ok()
        });
        let is_good = |keys: &Keys| {
            keys.check_manifest(pinned, signatures.as_deref().unwrap_or_default()).is_ok()
        };
        Looked {
            component: parts.map(|parts| parts.component),
            is_signed: keys.is_some_and(is_good),
        }
    }

    fn kept(&self, pinned: &Pinned, notes: &mut Vec<String>) -> Option<Parts> {
        let store = self.store.as_ref()?;
        match look(store, pinned) {
            Ok(found) => found,
            Err(why) => {
                notes.push(format!("what is kept of {pinned} is not used: {why}"));
                None
            }
        }
    }

    /// Checks the signatures that are kept; where none of them is good, those of the registry,
    /// which may have got new ones since.
    async fn check(
        &self,
        pinned: &Pinned,
        keys: &Keys,
        needed: &[Pinned],
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        let digest = pinned.digest();
        let kept = self.store.as_ref().map(|store| store.signatures(&digest));
        match kept {
            Some(Ok(kept)) if keys.check_manifest(pinned, &kept).is_ok() => return Ok(()),
            Some(Err(error)) => notes.push(error.chain()),
            _ => {}
        }
        let signatures = self.client.signatures(pinned).await?;
        keys.check_manifest(pinned, &signatures)?;
        if let Some(store) = &self.store {
            let mut spared: Vec<Digest> = needed.iter().map(Pinned::digest).collect();
            spared.push(digest);
            if let Err(error) = store.keep_signatures(&digest, &signatures, &spared) {
                notes.push(format!("the signatures of {pinned} are not kept: {}", error.chain()));
            }
        }
        Ok(())
    }
}

/// Looks a policy up in a store: all of it, or nothing. The error is a text for people.
fn look(store: &Store, pinned: &Pinned) -> Result<Option<Parts>, String> {
    let Some(Trail { manifests, content }) = trail(store, pinned)? else { return Ok(None) };
    let component = blob(store, &content.digest, COMPONENT_BYTES)?;
    Ok(component.map(|component| Parts { manifests, component }))
}

/// The manifests that are kept of a policy, and where they lead.
struct Trail {
    manifests: Vec<Bytes>,
    content: Content,
}

impl Trail {
    fn digests(&self) -> Vec<Digest> {
        let manifests = self.manifests.iter().map(|blob| Digest::of(blob));
        manifests.chain([self.content.digest]).collect()
    }
}

/// Follows the manifests of a policy without reading its component.
fn trail(store: &Store, pinned: &Pinned) -> Result<Option<Trail>, String> {
    let mut manifests = Vec::new();
    let mut digest = pinned.digest();
    loop {
        let Some(bytes) = blob(store, &digest, MANIFEST_BYTES)? else { return Ok(None) };
        let came_as = manifest::media_type(&bytes);
        let found = manifest::read(digest, &bytes, &came_as).map_err(|error| error.chain())?;
        manifests.push(bytes);
        match found {
            Found::Component(content) => return Ok(Some(Trail { manifests, content })),
            Found::Manifest(child) if manifests.len() == 1 => digest = child.digest,
            Found::Manifest(_) => return Err("it is an index within an index".to_owned()),
        }
    }
}

fn blob(store: &Store, digest: &Digest, limit: u64) -> Result<Option<Bytes>, String> {
    match store.read(digest, limit).map_err(|error| error.chain())? {
        Kept::Whole(bytes) => Ok(Some(bytes)),
        Kept::Absent => Ok(None),
        Kept::Damaged => Err(format!("{digest} was damaged")),
    }
}
