//! The media types that the Wasm community writes, and those that are taken.

/// A manifest. Source: OCI image specification 1.1.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index of manifests. Source: the same.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The configuration of a component. Source: CNCF TAG Runtime, "Wasm OCI Artifact layout".
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// A component. Source: the same.
pub const WASM: &str = "application/wasm";
/// A component, as tools wrote it before that layout. Source: wasm-to-oci.
pub const WASM_BEFORE: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// What a signature of cosign speaks of. Source: cosign, `SIGNATURE_SPEC.md`.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Types of a configuration beside a component. Nothing in it is used: what a policy is, its own
/// exports say. But a foreign one tells that something else is there.
pub(crate) const CONFIGS: [&str; 4] = [
    WASM_CONFIG,
    "application/vnd.wasm.config.v1+json",
    // What ORAS writes for `oras push HOST/NAME policy.wasm:application/wasm`, and what it wrote
    // before version 1.1 and its library for Python (0.2.43) still does.
    "application/vnd.oci.empty.v1+json",
    "application/vnd.unknown.config.v1+json",
];
/// Types of the layer that is the component.
pub(crate) const LAYERS: [&str; 2] = [WASM, WASM_BEFORE];

/// A media type without its parameters.
pub(crate) fn bare(text: &str) -> &str {
    text.split(';').next().unwrap_or(text).trim()
}
