//! Manifests and indexes: which bytes in a registry are the policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, shown};
use crate::media;

/// Where the component is, or where to look further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The layer that is the component.
    Component(Content),
    /// The one manifest of an index that is for Wasm.
    Manifest(Content),
}

/// Content by digest, with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A layer of cosign's: a payload, and the signature over it.
pub(crate) struct SignedLayer {
    pub(crate) payload: Content,
    pub(crate) signature: String,
}

/// The annotation that carries a signature. Source: cosign, `SIGNATURE_SPEC.md`.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing)]
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    architecture: String,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(content).to_string(),
            size: content.len() as u64,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    fn content(&self) -> Result<Content, Error> {
        Ok(Content { digest: self.digest.parse()?, size: self.size })
    }
}

/// Reads the manifest or index `digest`, which came with this media type.
pub(crate) fn read(digest: Digest, bytes: &[u8], came_as: &str) -> Result<Found, Error> {
    match media::bare(came_as) {
        media::MANIFEST => component(digest, bytes).map(Found::Component),
        media::INDEX => entry(digest, bytes).map(Found::Manifest),
        other => Err(Error::MediaType {
            what: "the manifest",
            found: shown(other),
            expected: format!("{} and {}", media::MANIFEST, media::INDEX),
        }),
    }
}

/// The media type that a stored manifest names; those that name none are taken as manifests.
pub(crate) fn media_type(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let head: Option<Head> = serde_json::from_slice(bytes).ok();
    match head {
        Some(Head { media_type: Some(named), .. }) => named,
        Some(Head { manifests: Some(_), .. }) => media::INDEX.to_owned(),
        _ => media::MANIFEST.to_owned(),
    }
}

fn parse<'a, T: Deserialize<'a>>(digest: Digest, bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Manifest { digest, why: error.to_string() })
}

/// The version must be the only one there is, and the type the one that it came as: otherwise two
/// programs could read two things into the same bytes.
fn check_head(
    digest: Digest,
    version: u32,
    named: Option<&str>,
    came_as: &str,
) -> Result<(), Error> {
    if version != 2 {
        let why = format!("its schemaVersion is {version} and not 2");
        return Err(Error::Manifest { digest, why });
    }
    match named {
        Some(named) if named != came_as => {
            let why = format!("it came as {came_as} and calls itself {}", shown(named));
            Err(Error::Manifest { digest, why })
        }
        _ => Ok(()),
    }
}

fn component(digest: Digest, bytes: &[u8]) -> Result<Content, Error> {
    let manifest: Manifest = parse(digest, bytes)?;
    let named = manifest.media_type.as_deref();
    check_head(digest, manifest.schema_version, named, media::MANIFEST)?;
    let foreign = |what, found: &str, expected: &[&str]| Error::MediaType {
        what,
        found: shown(found),
        expected: expected.join(" and "),
    };
    let config = manifest.config.media_type.as_str();
    if !media::CONFIGS.contains(&config) {
        return Err(foreign("the configuration", config, &media::CONFIGS));
    }
    let [layer] = manifest.layers.as_slice() else {
        let why = format!("it has {} layers and not 1", manifest.layers.len());
        return Err(Error::Manifest { digest, why });
    };
    if !media::LAYERS.contains(&layer.media_type.as_str()) {
        return Err(foreign("the layer", &layer.media_type, &media::LAYERS));
    }
    layer.content()
}

fn entry(digest: Digest, bytes: &[u8]) -> Result<Content, Error> {
    let index: Index = parse(digest, bytes)?;
    check_head(digest, index.schema_version, index.media_type.as_deref(), media::INDEX)?;
    let is_wasm = |entry: &&Descriptor| {
        let platform = entry.platform.as_ref();
        entry.media_type == media::MANIFEST
            && platform.is_none_or(|platform| platform.architecture == "wasm")
    };
    let entries: Vec<&Descriptor> = index.manifests.iter().filter(is_wasm).collect();
    match entries.as_slice() {
        [entry] => entry.content(),
        _ => {
            let why = format!("{} of its entries are for Wasm, and one must be", entries.len());
            Err(Error::Manifest { digest, why })
        }
    }
}

/// The layers of a manifest that cosign wrote. What else stands in it is passed over, as it may
/// carry attestations beside signatures.
pub(crate) fn signed_layers(digest: Digest, bytes: &[u8]) -> Result<Vec<SignedLayer>, Error> {
    let manifest: Manifest = parse(digest, bytes)?;
    let signed = manifest.layers.iter().filter(|layer| layer.media_type == media::SIMPLE_SIGNING);
    signed
        .filter_map(|layer| Some((layer, layer.annotations.get(SIGNATURE)?)))
        .map(|(layer, signature)| {
            Ok(SignedLayer { payload: layer.content()?, signature: signature.clone() })
        })
        .collect()
}

/// The manifest and the configuration of a component, as `wkg` and `oci-wasm` write them.
pub(crate) fn compose(
    component: &[u8],
    names: &crate::component::Names,
    created: &str,
) -> Result<(Vec<u8>, Vec<u8>), serde_json::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Config<'a> {
        created: &'a str,
        architecture: &'static str,
        os: &'static str,
        layer_digests: [String; 1],
        component: &'a crate::component::Names,
    }
    let config = serde_json::to_vec(&Config {
        created,
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [Digest::of(component).to_string()],
        component: names,
    })?;
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.to_owned()),
        config: Descriptor::new(media::WASM_CONFIG, &config),
        layers: vec![Descriptor::new(media::WASM, component)],
    })?;
    Ok((manifest, config))
}
