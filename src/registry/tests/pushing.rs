//! What is pushed, and what a registry must not do with it.

use bytes::Bytes;

use super::registry::{Auth, Registry, Seen, reply};
use super::{COMPONENT, client, client_as};
use crate::client::COMPONENT_BYTES;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::media;

const CREATED: &str = "2026-11-28T12:00:00Z";

fn component() -> Bytes {
    Bytes::from_static(COMPONENT)
}

#[tokio::test]
async fn what_is_pushed_is_pulled_and_has_the_same_digest_again() {
    for auth in [Auth::Nobody, Auth::Basic("ada:love"), Auth::Bearer(Some("ada:love"))] {
        let registry = Registry::start(auth.clone()).await;
        let host = registry.address().to_string();
        let client = client_as(Credentials::default().with(&host, "ada", "love"));
        let reference = registry.reference(":1.0");
        let pushed = client.push(&reference, component(), CREATED).await.unwrap();
        let pulled = client.pull(&reference).await.unwrap();
        assert_eq!((&pulled.component[..], &pulled.pinned), (COMPONENT, &pushed), "{auth:?}");
        let before = registry.seen().len();
        let again = client.push(&reference, component(), CREATED).await.unwrap();
        assert_eq!(again, pushed);
        let bodies = registry.seen()[before..].iter().filter(|seen| !seen.body.is_empty()).count();
        assert!(bodies <= 2, "what is there is not sent again: {bodies}");
    }
}

#[tokio::test]
async fn the_manifest_is_what_tools_for_wasm_expect() {
    let registry = Registry::start(Auth::Nobody).await;
    let pushed = client().push(&registry.reference(""), component(), CREATED).await.unwrap();
    let seen = registry.seen();
    let put = |part: &str| -> Vec<serde_json::Value> {
        let bodies = seen.iter().filter(|seen| seen.method == "PUT" && seen.path.contains(part));
        bodies.filter_map(|seen| serde_json::from_slice(&seen.body).ok()).collect()
    };
    let manifest = &put("/manifests/")[0];
    assert_eq!(manifest["config"]["mediaType"], media::WASM_CONFIG);
    assert_eq!(manifest["layers"][0]["mediaType"], media::WASM);
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    let config = &put("/blobs/")[0];
    assert_eq!((&config["architecture"], &config["os"]), (&"wasm".into(), &"wasip2".into()));
    assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
    assert_eq!(
        (&config["created"], &config["component"]["imports"]),
        (&CREATED.into(), &serde_json::json!([]))
    );
    let last = registry.requests().pop().unwrap();
    assert_eq!(last, format!("PUT /v2/team/bees/manifests/{}", pushed.digest()), "no tag, no tag");
}

#[tokio::test]
async fn what_cannot_be_a_policy_is_not_sent() {
    let registry = Registry::start(Auth::Nobody).await;
    let huge = Bytes::from(vec![0; usize::try_from(COMPONENT_BYTES).unwrap() + 1]);
    let error = client().push(&registry.reference(":1"), huge, CREATED).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let module = Bytes::from_static(b"\0asm\x01\0\0\0");
    let error = client().push(&registry.reference(":1"), module, CREATED).await.unwrap_err();
    assert!(matches!(error, Error::NotComponent { .. }), "{error}");
    let pinned = registry.reference(":1").pin(crate::Digest::of(b""));
    let error = client().push(pinned.reference(), component(), CREATED).await.unwrap_err();
    assert!(matches!(error, Error::Reference { .. }), "{error}");
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn registries_that_refuse_lose_or_rename_are_told() {
    let uploads = |seen: &Seen| seen.path.contains("/uploads/");
    let registry = Registry::with(move |seen| {
        uploads(seen).then(|| reply(403, &[], r#"{"errors":[{"code":"DENIED"}]}"#))
    })
    .await;
    let error = client().push(&registry.reference(":1"), component(), CREATED).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(error.to_string().contains("403: DENIED"), "{error}");

    let registry = Registry::with(move |seen| {
        uploads(seen).then(|| reply(307, &[("location", "/v2/elsewhere")], ""))
    })
    .await;
    let error = client().push(&registry.reference(":1"), component(), CREATED).await.unwrap_err();
    assert!(error.to_string().contains("a POST is sent where it was meant for"), "{error}");

    let registry = Registry::with(move |seen| {
        let other = crate::Digest::of(b"other").to_string();
        let headers = [("docker-content-digest", other.as_str())];
        (seen.method == "PUT").then(|| reply(201, &headers, ""))
    })
    .await;
    let error = client().push(&registry.reference(":1"), component(), CREATED).await.unwrap_err();
    assert!(matches!(error, Error::PushedOther { .. }), "{error}");
}
