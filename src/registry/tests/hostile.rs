//! Registries that lie, stall, or send elsewhere.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::registry::{Registry, Seen, raw, reply};
use super::{COMPONENT, client, descriptor, manifest, other_component, publish};
use crate::client::{COMPONENT_BYTES, Client, MANIFEST_BYTES, Options};
use crate::digest::Digest;
use crate::error::Error;
use crate::media;
use crate::reference::Reference;

fn is_blob(seen: &Seen) -> bool {
    seen.path.contains("/blobs/")
}

fn is_manifest(seen: &Seen) -> bool {
    seen.path.contains("/manifests/")
}

async fn refused(registry: &Registry) -> Error {
    let pinned = publish(registry, COMPONENT);
    client().pull(pinned.reference()).await.unwrap_err()
}

#[tokio::test]
async fn other_bytes_than_those_of_the_digest_are_refused() {
    let registry = Registry::with(|seen| {
        is_blob(seen).then(|| reply(200, &[], Bytes::from_static(b"\0asm\x0d\0\x01\x01")))
    })
    .await;
    let error = refused(&registry).await;
    let is_expected = matches!(
        &error,
        Error::Digest { expected, found, .. }
            if *expected == Digest::of(COMPONENT) && found != expected
    );
    assert!(is_expected, "{error}");

    let lie = other_component();
    let registry =
        Registry::with(move |seen| is_blob(seen).then(|| reply(200, &[], lie.clone()))).await;
    let error = refused(&registry).await;
    assert!(matches!(error, Error::TooLarge { limit: 8, .. }), "longer than announced: {error}");
    let registry = Registry::with(|seen| is_blob(seen).then(|| reply(200, &[], "\0asm"))).await;
    let error = refused(&registry).await;
    assert!(matches!(error, Error::Size { expected: 8, found: 4, .. }), "{error}");

    let registry = Registry::with(|seen| {
        let kind = [("content-type", media::MANIFEST)];
        is_manifest(seen).then(|| reply(200, &kind, "{}"))
    })
    .await;
    let error = refused(&registry).await;
    assert!(matches!(&error, Error::Digest { what, .. } if what.contains("manifest")), "{error}");
}

#[tokio::test]
async fn a_header_with_the_right_digest_proves_nothing() {
    let registry = Registry::with(|seen| {
        let digest = Digest::of(COMPONENT).to_string();
        let said = [("docker-content-digest", digest.as_str())];
        is_blob(seen).then(|| reply(200, &said, Bytes::from_static(b"\0asm\x01\0\0\0")))
    })
    .await;
    assert!(matches!(refused(&registry).await, Error::Digest { .. }));
}

#[tokio::test]
async fn manifests_that_are_none_of_a_policy_are_refused() {
    let digest = Digest::of(COMPONENT).to_string();
    let layer = |kind: &str| descriptor(kind, &digest, COMPONENT.len());
    let good = manifest(media::WASM_CONFIG, &[layer(media::WASM)]);
    let sized = |size: usize| descriptor(media::WASM, &digest, size);
    let named = |digest: &str| manifest(media::WASM_CONFIG, &[descriptor(media::WASM, digest, 8)]);
    let huge = usize::try_from(COMPONENT_BYTES).unwrap() + 1;
    for (json, why) in [
        ("{".to_owned(), "EOF while parsing"),
        ("[]".to_owned(), "is not one of a policy"),
        (good.replace(":2,\"mediaType", ":1,\"mediaType"), "schemaVersion is 1"),
        (good.replacen(media::MANIFEST, media::INDEX, 1), "calls itself"),
        (manifest(media::WASM_CONFIG, &[]), "0 layers and not 1"),
        (manifest(media::WASM_CONFIG, &[layer(media::WASM), layer(media::WASM)]), "2 layers"),
        (manifest("application/vnd.oci.image.config.v1+json", &[layer(media::WASM)]), "the config"),
        (
            manifest(media::WASM_CONFIG, &[layer("application/vnd.oci.image.layer.v1.tar+gzip")]),
            "the layer is of media type",
        ),
        (manifest(media::WASM_CONFIG, &[sized(huge)]), "more than 67108864 bytes"),
        (named(&format!("sha512:{}", "0".repeat(128))), "only sha256"),
        (named("sha256:../../../../etc/passwd"), "64 hexadecimal digits"),
        (named("../../secret"), "names no sha256"),
    ] {
        let registry = Registry::with(|_| None).await;
        registry.put_blob(COMPONENT);
        registry.put_manifest("1", media::MANIFEST, &json);
        let error = client().pull(&registry.reference(":1")).await.unwrap_err();
        assert!(error.to_string().contains(why), "{json}: {error}");
        assert_eq!(registry.requests().len(), 1, "no blob is asked for: {json}");
    }
}

#[tokio::test]
async fn a_manifest_of_another_media_type_is_refused() {
    for kind in ["application/vnd.docker.distribution.manifest.v2+json", "text/html", ""] {
        let registry = Registry::with(move |seen| {
            let headers = [("content-type", kind)];
            is_manifest(seen).then(|| reply(200, &headers, "{}"))
        })
        .await;
        let error = client().pull(&registry.reference(":1")).await.unwrap_err();
        assert!(matches!(&error, Error::MediaType { found, .. } if found == kind), "{error}");
    }
}

#[tokio::test]
async fn a_huge_manifest_is_not_read_to_its_end() {
    let registry = Registry::with(|seen| {
        let size = usize::try_from(MANIFEST_BYTES).unwrap() + 1;
        is_manifest(seen).then(|| reply(200, &[], vec![b' '; size]))
    })
    .await;
    let error = client().pull(&registry.reference(":1")).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: MANIFEST_BYTES, .. }), "{error}");
}

#[tokio::test]
async fn a_body_without_an_end_is_given_up() {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let address = raw(move |mut stream| {
        let chunk = chunk.clone();
        async move {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut taken = stream.write_all(head).await;
            while taken.is_ok() {
                taken = stream.write_all(chunk.as_bytes()).await;
            }
        }
    })
    .await;
    let reference: Reference = format!("oci://{address}/bees:1").parse().unwrap();
    let error = client().pull(&reference).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: MANIFEST_BYTES, .. }), "{error}");
}

#[tokio::test]
async fn an_error_without_an_end_is_an_error_all_the_same() {
    let address = raw(|mut stream| async move {
        let head = b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut taken = stream.write_all(head).await;
        while taken.is_ok() {
            taken = stream.write_all(b"1\r\nx\r\n").await;
        }
    })
    .await;
    let reference: Reference = format!("oci://{address}/bees:1").parse().unwrap();
    let error = client().pull(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }) && error.retry(), "{error}");
}

fn hasty(timeout: Duration) -> Client {
    Client::new(Options { timeout, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn who_drips_or_says_nothing_is_given_up_in_time() {
    let drip = raw(|mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        let mut taken = stream.write_all(head).await;
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while taken.is_ok() {
            pace.tick().await;
            taken = stream.write_all(b"x").await;
        }
    })
    .await;
    let silent = raw(|mut stream| async move {
        // Until the client goes away.
        let _ = stream.read_u8().await;
    })
    .await;
    for address in [drip, silent] {
        let reference: Reference = format!("oci://{address}/bees:1").parse().unwrap();
        let timeout = Duration::from_millis(200);
        let error = hasty(timeout).pull(&reference).await.unwrap_err();
        assert!(matches!(&error, Error::TimedOut { after, .. } if *after == timeout), "{error}");
        assert!(error.retry() && error.to_string().contains("within 0.2 s"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_no_http_is_told() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ] {
        let address = raw(move |mut stream| async move {
            let _ = stream.write_all(answer).await;
        })
        .await;
        let reference: Reference = format!("oci://{address}/bees:1").parse().unwrap();
        let error = client().pull(&reference).await.unwrap_err();
        assert!(matches!(error, Error::Broke { .. }) && error.retry(), "{error}");
    }
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_without_credentials_elsewhere() {
    let elsewhere = Registry::with(|seen| {
        (seen.path == "/cdn/x").then(|| reply(200, &[], Bytes::from_static(COMPONENT)))
    })
    .await;
    let there = format!("http://{}/cdn/x", elsewhere.address());
    let registry = Registry::lying(
        super::registry::Auth::Basic("ada:love"),
        Some(Box::new(move |seen: &Seen| {
            let location = [("location", there.as_str())];
            let is_known = seen.headers.contains_key("authorization");
            (is_blob(seen) && is_known).then(|| reply(307, &location, ""))
        })),
    )
    .await;
    let pinned = publish(&registry, COMPONENT);
    let host = registry.address().to_string();
    let known = crate::Credentials::default().with(&host, "ada", "love");
    let pulled = super::client_as(known).pull(pinned.reference()).await.unwrap();
    assert_eq!(&pulled.component[..], COMPONENT);
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].headers.contains_key("authorization"), "the password stays at home");
}

#[tokio::test]
async fn redirects_that_are_not_followed_say_why() {
    for (location, why) in [
        (Some("/v2/again"), "5 times is enough"),
        (Some("http://registry.example/x"), "registry.example is without TLS"),
        (Some("file:///etc/passwd"), "it is no address"),
        (Some("ftp://registry.example/x"), "neither http nor https"),
        (Some("//registry.example/x"), "neither http nor https"),
        (Some("https://u:p@registry.example/x"), "carries a user"),
        (None, "does not say where to"),
    ] {
        let registry = Registry::with(move |_| {
            let headers: Vec<_> = location.iter().map(|to| ("location", *to)).collect();
            Some(reply(302, &headers, ""))
        })
        .await;
        let error = client().pull(&registry.reference(":1")).await.unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }), "{location:?}: {error}");
        assert!(error.to_string().contains(why), "{error}");
        let most = if location == Some("/v2/again") { 6 } else { 1 };
        assert_eq!(registry.requests().len(), most, "{location:?}");
    }
}

#[tokio::test]
async fn what_a_registry_says_cannot_write_on_the_terminal() {
    let registry = Registry::with(|_| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"\u001b[2J\nslow down"}]}"#;
        Some(reply(429, &[], body))
    })
    .await;
    let error = client().pull(&registry.reference(":1")).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Status { status: 429, .. }) && error.retry(), "{text}");
    assert!(text.ends_with("TOOMANYREQUESTS \u{fffd}[2J\u{fffd}slow down"), "{text}");
}
