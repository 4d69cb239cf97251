//! What is pulled from a registry that does what it should.

use super::registry::{Auth, Registry, with_tls};
use super::{COMPONENT, PATIENCE, client, descriptor, manifest, publish};
use crate::client::{Client, Options};
use crate::digest::Digest;
use crate::error::Error;
use crate::media;

#[tokio::test]
async fn a_component_is_pulled_by_digest_and_by_tag() {
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let pulled = client().pull(pinned.reference()).await.unwrap();
    assert_eq!((&pulled.component[..], &pulled.pinned), (COMPONENT, &pinned));
    let by_tag = client().pull(&registry.reference(":1")).await.unwrap();
    assert_eq!(by_tag.pinned, pinned, "a tag yields the digest to pin");
    assert_eq!(
        by_tag.pinned.to_string(),
        format!("{}@{}", registry.reference(":1"), pinned.digest())
    );
    let requests = registry.requests();
    assert_eq!(requests[0], format!("GET /v2/team/bees/manifests/{}", pinned.digest()));
    assert_eq!(requests[2], "GET /v2/team/bees/manifests/1");
    assert!(registry.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[tokio::test]
async fn what_other_tools_write_is_understood() {
    let registry = Registry::start(Auth::Nobody).await;
    let digest = registry.put_blob(COMPONENT).to_string();
    for (config, layer) in [
        (media::WASM_CONFIG, media::WASM),
        ("application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm"),
        ("application/vnd.oci.empty.v1+json", "application/wasm"),
        ("application/vnd.unknown.config.v1+json", "application/wasm"),
    ] {
        let json = manifest(config, &[descriptor(layer, &digest, COMPONENT.len())]);
        registry.put_manifest("1", media::MANIFEST, &json);
        let pulled = client().pull(&registry.reference(":1")).await.unwrap();
        assert_eq!(&pulled.component[..], COMPONENT, "{config}");
    }
    // Without a media type of its own it is what it came as.
    let json = json_without_type(&digest);
    registry.put_manifest("2", media::MANIFEST, &json);
    assert!(client().pull(&registry.reference(":2")).await.is_ok());
}

fn json_without_type(digest: &str) -> String {
    let layer = descriptor(media::WASM, digest, COMPONENT.len());
    manifest(media::WASM_CONFIG, &[layer])
        .replace(&format!(r#""mediaType":"{}","#, media::MANIFEST), "")
}

#[tokio::test]
async fn an_index_with_one_entry_for_wasm_leads_to_it() {
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let wasm = descriptor(media::MANIFEST, &pinned.digest().to_string(), 9)
        .replace('}', r#","platform":{"os":"wasip2","architecture":"wasm"}}"#);
    let other = descriptor(media::MANIFEST, &Digest::of(b"x").to_string(), 9)
        .replace('}', r#","platform":{"os":"linux","architecture":"amd64"}}"#);
    let index = |entries: &[&str]| {
        let entries = entries.join(",");
        let kind = media::INDEX;
        format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{entries}]}}"#)
    };
    let digest = registry.put_manifest("all", media::INDEX, &index(&[&other, &wasm]));
    let pulled = client().pull(&registry.reference(":all")).await.unwrap();
    assert_eq!((&pulled.component[..], pulled.pinned.digest()), (COMPONENT, digest));
    assert_eq!(pulled.manifests.len(), 2);

    for entries in [&[other.as_str()][..], &[&wasm, &wasm]] {
        registry.put_manifest("all", media::INDEX, &index(entries));
        let error = client().pull(&registry.reference(":all")).await.unwrap_err();
        assert!(matches!(&error, Error::Manifest { .. }), "{error}");
        assert!(error.to_string().contains("for Wasm, and one must be"), "{error}");
    }
    let inner = registry.put_manifest("inner", media::INDEX, &index(&[&wasm])).to_string();
    let entry = descriptor(media::INDEX, &inner, 9);
    registry.put_manifest("all", media::INDEX, &index(&[&entry]));
    let error = client().pull(&registry.reference(":all")).await.unwrap_err();
    assert!(error.to_string().contains("0 of its entries"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_from_what_cannot_be_reached() {
    let registry = Registry::start(Auth::Nobody).await;
    let error = client().pull(&registry.reference(":none")).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { .. }), "{error}");
    assert!(!error.retry() && error.to_string().ends_with("the manifest none"), "{error}");
    // Nobody listens on a port that was bound and given back.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reference = format!("oci://{gone}/bees:1").parse().unwrap();
    let error = client().pull(&reference).await.unwrap_err();
    assert!(matches!(&error, Error::Connect { .. }) && error.retry(), "{error}");
    assert!(error.chain().contains("refused"), "{}", error.chain());
}

#[tokio::test]
async fn tls_is_used_and_its_certificate_is_checked() {
    let (registry, address, ca_file) = with_tls("tls").await;
    let reference: crate::Reference =
        format!("oci://localhost:{}/team/bees:none", address.port()).parse().unwrap();
    let options =
        Options { ca_file: Some(ca_file.clone()), timeout: PATIENCE, ..Options::default() };
    let error = Client::new(options).unwrap().pull(&reference).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "it was asked: {error}");
    assert_eq!(registry.requests(), ["GET /v2/team/bees/manifests/none"]);

    // What is on this machine is not reached through it without TLS, were it ever so welcome.
    let welcome = Registry::start(Auth::Nobody).await;
    let options = Options {
        ca_file: Some(ca_file.clone()),
        plain_http: vec![welcome.address().to_string()],
        timeout: PATIENCE,
        ..Options::default()
    };
    let to = welcome.address().port();
    let sends: crate::Reference =
        format!("oci://localhost:{}/team/bees:p{to}", address.port()).parse().unwrap();
    let error = Client::new(options).unwrap().pull(&sends).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(welcome.requests().is_empty());

    // Another authority: rcgen's next one.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, other.cert.pem()).unwrap();
    let options =
        Options { ca_file: Some(ca_file.clone()), timeout: PATIENCE, ..Options::default() };
    let error = Client::new(options).unwrap().pull(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.chain().contains("certificate"), "{}", error.chain());
    assert_eq!(registry.requests().len(), 2, "nothing was asked");

    for (content, why) in [("", "no certificate"), ("-----BEGIN CERTIFICATE-----\nx", "ca.pem")] {
        std::fs::write(&ca_file, content).unwrap();
        let options = Options { ca_file: Some(ca_file.clone()), ..Options::default() };
        let error = Client::new(options).unwrap_err();
        assert!(matches!(error, Error::Option { .. }));
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn cleartext_is_for_loopback_and_for_whoever_asks() {
    let secure = |client: &Client, text: &str| {
        let base = client.base(&text.parse().unwrap());
        (base.secure, base.authority())
    };
    let usual = client();
    assert_eq!(secure(&usual, "oci://ghcr.io/a"), (true, "ghcr.io".to_owned()));
    assert_eq!(secure(&usual, "oci://docker.io/a/b"), (true, "registry-1.docker.io".to_owned()));
    assert_eq!(secure(&usual, "oci://localhost:5000/a"), (false, "localhost:5000".to_owned()));
    assert_eq!(secure(&usual, "oci://[::1]/a"), (false, "[::1]".to_owned()));
    assert!(secure(&usual, "oci://127.0.0.1.example/a").0, "a name is no address");
    assert!(secure(&usual, "oci://10.0.0.1:5000/a").0);
    let plain_http = vec!["Registry.local:5000".to_owned()];
    let asked = Client::new(Options { plain_http, ..Options::default() }).unwrap();
    assert!(!secure(&asked, "oci://registry.local:5000/a").0);
    assert!(secure(&asked, "oci://registry.local/a").0, "the port is part of the name");
}
