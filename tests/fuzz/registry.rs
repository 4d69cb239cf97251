//! What comes from a registry of policies, and what names one: references, manifests, indexes,
//! challenges, redirects, files of credentials, keys and signatures.

use pulsegate_registry::{Credentials, Digest, Keys, Reference, Signature, fuzzing};

/// Most bytes of an error: what a registry says is shown in short.
const SAID: usize = 2_048;

/// Any bytes, as everything that a registry may answer with.
pub fn registry(bytes: &[u8]) {
    for found in fuzzing::manifests(bytes) {
        match found {
            Ok(digests) => {
                let again = |digest: &Digest| digest.to_string().parse::<Digest>().is_ok();
                assert!(digests.iter().all(again));
            }
            Err(error) => assert!(error.to_string().len() <= SAID, "{error}"),
        }
    }
    if let Err(error) = Credentials::from_docker_config(bytes) {
        assert!(error.to_string().len() <= SAID, "{error}");
    }
    if let Ok(keys) = Keys::from_pem("fuzz", bytes) {
        // Nobody signs with a key that was found by chance.
        assert!(keys.check_blob("fuzz", b"component", bytes).is_err());
    }
    let _: Result<Vec<Signature>, _> = serde_json::from_slice(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    reference(text);
    for (scheme, params) in fuzzing::challenges(text) {
        assert!(!scheme.is_empty() && params.iter().all(|(key, _)| !key.is_empty()));
    }
    if let Some((_, host, path)) = fuzzing::location(text) {
        assert!(!host.is_empty() && !host.contains(['@', '/', ' ']), "{host}");
        assert!(path.starts_with('/') && !path.contains(['\r', '\n', ' ']), "{path}");
    }
}

/// What is a reference is the same when it is written and read again, and leads nowhere else.
fn reference(text: &str) {
    match text.parse::<Reference>() {
        Ok(read) => {
            let written = read.to_string();
            assert!(written.parse::<Reference>().is_ok_and(|again| again == read), "{written}");
            assert!(!read.repository().contains("..") && !read.name().contains('/'), "{written}");
        }
        Err(error) => assert!(error.to_string().len() <= SAID, "{error}"),
    }
}
