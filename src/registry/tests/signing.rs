//! Signatures: those that openssl made, those as cosign stores them, and bad ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SigningKey as _};

use super::registry::{Auth, Registry, reply};
use super::{COMPONENT, client, descriptor, publish};
use crate::digest::Digest;
use crate::error::Error;
use crate::media;
use crate::reference::Pinned;
use crate::signature::{Keys, Signature};

/// `openssl ec -pubout` and `openssl pkey -pubout`, version 3.0.
const P256_PUB: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3H5IIgiLHXkPHE84lrAZPP0kcN/x
1rLF/UEz3hpRG5T7y/zQuV2cLkh+zP4a2wsH0lZ0QZROPV1eHfLUncDkkA==
-----END PUBLIC KEY-----
";
const ED_PUB: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAuRowWH2z37rFUY8twk0BXZtPy/USkaG5J1NYZ83Lg/0=
-----END PUBLIC KEY-----
";
const P384_PUB: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEv/mBsEsGeO/jEt5bL6Wi0XLrn6nAg3Hy
wIs18nAvVyLHIV7fEBO1TxslrOyt+v7U1NKaKhGqi+HLi9AypQf8kjG+l2JB9PTI
eXCb8SQ1QKa3LzZDZSf4i5MtP5p7UU2u
-----END PUBLIC KEY-----
";
/// What openssl signed.
const BLOB: &[u8] = b"a policy, for the sake of a test";
/// `openssl dgst -sha256 -sign a.key`, in base64: what `cosign sign-blob` writes.
const P256_SIGNATURE: &str = "MEUCIQDOyNuhoo5xul0xjo0RDedXddp/SE65NIP4hPJb0kitzgIgQwxkRuvuJRULL6RQ\
                              tPg6DvK4VscMbzHdG2n4M5HBIto=";
/// The same with another key.
const FOREIGN_SIGNATURE: &str = "MEUCIQDYZkYoA9EPnagYOV7EHrkeYqXc6gQ5klKm44DwoKtocgIgXmQwyoTGHy4wW9\
                                 /GZ4OVEV9P8bTDdA6E3ESiTQIBOiI=";
/// `openssl pkeyutl -sign -rawin`, in base64.
const ED_SIGNATURE: &str = "kA2HdQyQKyCs1mpKOhM1cTKi8jWga7zo4Y3N7zQuIQvBhwNqrBk/41ZbBaQlnbJkqBbmpfF\
                            jU5ccPzmQ1QwTCg==";

fn keys(pem: &str) -> Keys {
    Keys::from_pem("keys.pub", pem.as_bytes()).unwrap()
}

#[test]
fn what_openssl_signed_is_good_in_every_form_of_file() {
    let bundle = format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":
            {{"messageDigest":{{"algorithm":"SHA2_256"}},"signature":"{P256_SIGNATURE}"}}}}"#
    );
    let before = format!(r#"{{"base64Signature":"{P256_SIGNATURE}","cert":""}}"#);
    let (head, tail) = P256_SIGNATURE.split_at(64);
    let broken = format!("{head}\r\n{tail}\n");
    for file in [P256_SIGNATURE, &format!("{P256_SIGNATURE}\n"), &broken, &bundle, &before] {
        keys(P256_PUB).check_blob("x", BLOB, file.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    }
    keys(ED_PUB).check_blob("x", BLOB, ED_SIGNATURE.as_bytes()).unwrap();
    let both = keys(&format!("Two keys:\n{ED_PUB}\n{P256_PUB}"));
    for signature in [P256_SIGNATURE, ED_SIGNATURE] {
        both.check_blob("x", BLOB, signature.as_bytes()).unwrap();
    }
}

#[test]
fn bad_signatures_of_a_file_are_foreign_or_damaged() {
    let foreign = |bytes: &[u8], signature: &str| {
        let error =
            keys(P256_PUB).check_blob("bees.wasm", bytes, signature.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::ForeignSignature { .. }), "{error}");
    };
    foreign(BLOB, FOREIGN_SIGNATURE);
    foreign(b"a policy, for the sake of a tesT", P256_SIGNATURE);
    foreign(b"", P256_SIGNATURE);
    let truncated = STANDARD.encode(&STANDARD.decode(P256_SIGNATURE).unwrap()[..70]);
    for (signature, why) in [
        ("", "it is empty"),
        ("!", "no base64"),
        (&P256_SIGNATURE[..50], "no base64"),
        (&truncated, "its 70 bytes have not the form"),
        (ED_SIGNATURE, "its 64 bytes have not the form"),
        ("{", "no bundle"),
        (r#"{"dsseEnvelope":{}}"#, "no signature of bytes"),
    ] {
        let error = keys(P256_PUB).check_blob("bees.wasm", BLOB, signature.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::DamagedSignature { .. }), "{signature}: {error}");
        assert!(error.to_string().contains(why), "{signature}: {error}");
    }
    let error = keys(P256_PUB).check_blob("bees.wasm", BLOB, b"\xff\xfe").unwrap_err();
    assert!(error.to_string().contains("no text"), "{error}");
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let many = P256_PUB.repeat(17);
    let off_curve = P256_PUB.replace("E3H5II", "AAAAAA");
    let private = KeyPair::generate().unwrap().serialize_pem();
    for (pem, why) in [
        ("", "no block `PUBLIC KEY`"),
        (private.as_str(), "no block `PUBLIC KEY`"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "no PEM"),
        (P384_PUB, "neither ECDSA on P-256 nor Ed25519"),
        (&off_curve, "no point of the curve"),
        (&many, "more than 16 keys"),
    ] {
        let error = Keys::from_pem("keys.pub", pem.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Key { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(!error.to_string().contains(private.lines().nth(1).unwrap()), "no secret is shown");
    }
}

/// What `cosign sign` puts into a payload, byte for byte.
fn payload(digest: &str) -> String {
    format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"registry.example/team/bees\"}},\
         \"image\":{{\"docker-manifest-digest\":\"{digest}\"}},\
         \"type\":\"cosign container image signature\"}},\"optional\":null}}"
    )
}

fn sign(key: &KeyPair, payload: &str) -> Signature {
    let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
    Signature { payload: Bytes::copy_from_slice(payload.as_bytes()), signature }
}

#[test]
fn the_payload_is_the_one_that_cosign_writes() {
    // Of a signature that cosign 1.13.1 stored; its digest is that of the layer.
    let digest = "sha256:4c1c50d0ffc614f90b93b07d778028dc765548e823f676fb027f61d281ac380d";
    let text = payload(digest)
        .replace("registry.example/team/bees", "index.docker.io/chihjenhuang/cosign1");
    let stored = "sha256:b671489ededd1a180bd87235bba00fd83354f9c7d13b71d9f8b66a8e52965ebc";
    assert_eq!(Digest::of(text.as_bytes()).to_string(), stored);
}

/// Stores signatures beside a manifest, as cosign does.
pub(super) fn store(registry: &Registry, pinned: &Pinned, signatures: &[Signature]) {
    let layers: Vec<String> = signatures
        .iter()
        .map(|one| {
            let digest = registry.put_blob(&one.payload).to_string();
            let layer = descriptor(media::SIMPLE_SIGNING, &digest, one.payload.len());
            let annotation = format!(
                r#","annotations":{{"dev.cosignproject.cosign/signature":"{}"}}}}"#,
                one.signature
            );
            format!("{}{annotation}", layer.trim_end_matches('}'))
        })
        .collect();
    let json = super::manifest("application/vnd.oci.image.config.v1+json", &layers);
    let tag = format!("sha256-{}.sig", pinned.digest().hex());
    registry.put_manifest(&tag, media::MANIFEST, &json);
}

pub(super) fn good(key: &KeyPair, pinned: &Pinned) -> Signature {
    sign(key, &payload(&pinned.digest().to_string()))
}

pub(super) fn pair() -> (KeyPair, Keys) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let public = keys(&key.public_key_pem());
    (key, public)
}

async fn check(registry: &Registry, pinned: &Pinned, keys: &Keys) -> Result<(), Error> {
    let signatures = client().signatures(pinned).await?;
    let _ = registry;
    keys.check_manifest(pinned, &signatures)
}

#[tokio::test]
async fn one_good_signature_among_others_suffices() {
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let ((mine, public), (other, _)) = (pair(), pair());
    let damaged = Signature { signature: "AAAA".to_owned(), ..good(&mine, &pinned) };
    store(&registry, &pinned, &[damaged, good(&other, &pinned), good(&mine, &pinned)]);
    check(&registry, &pinned, &public).await.unwrap();

    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    store(&registry, &pinned, &[good(&ed, &pinned)]);
    check(&registry, &pinned, &keys(&ed.public_key_pem())).await.unwrap();
}

#[tokio::test]
async fn missing_foreign_other_and_damaged_signatures_are_told_apart() {
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let ((mine, public), (other, _)) = (pair(), pair());
    let refused = async |signatures: &[Signature]| {
        store(&registry, &pinned, signatures);
        check(&registry, &pinned, &public).await.unwrap_err()
    };
    let error = check(&registry, &pinned, &public).await.unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "no tag: {error}");
    let error = refused(&[]).await;
    assert!(matches!(error, Error::Unsigned { .. }), "no layer: {error}");
    let error = refused(&[good(&other, &pinned)]).await;
    assert!(matches!(error, Error::ForeignSignature { .. }), "another key: {error}");

    let of_other = sign(&mine, &payload(&Digest::of(b"other").to_string()));
    let error = refused(&[good(&other, &pinned), of_other.clone()]).await;
    assert!(matches!(error, Error::SignatureOfOther { .. }), "another digest: {error}");
    // The payload altered after it was signed, to name the right digest.
    let altered = Signature { payload: good(&mine, &pinned).payload, ..of_other };
    let error = refused(&[altered]).await;
    assert!(matches!(error, Error::ForeignSignature { .. }), "altered payload: {error}");

    let whole = good(&mine, &pinned);
    let short = STANDARD.encode(&STANDARD.decode(&whole.signature).unwrap()[..40]);
    let error = refused(&[Signature { signature: short, ..whole.clone() }]).await;
    assert!(matches!(error, Error::DamagedSignature { .. }), "truncated: {error}");
    for (text, why) in [
        ("{}".to_owned(), "none of cosign's"),
        (payload("x").replace("cosign container image", "some other"), "not one about a manifest"),
    ] {
        let error = refused(&[sign(&mine, &text)]).await;
        assert!(matches!(error, Error::DamagedSignature { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_lies_about_signatures_is_refused() {
    let (mine, _) = pair();
    let registry = Registry::with(|seen| {
        let is_payload = seen.path.contains("/blobs/");
        is_payload.then(|| reply(200, &[], "x".repeat(seen.path.len())))
    })
    .await;
    let pinned = publish(&registry, COMPONENT);
    store(&registry, &pinned, &[good(&mine, &pinned)]);
    let error = client().signatures(&pinned).await.unwrap_err();
    assert!(matches!(error, Error::Size { .. } | Error::Digest { .. }), "{error}");

    let tag = format!("sha256-{}.sig", pinned.digest().hex());
    registry.put_manifest(&tag, media::MANIFEST, "{}");
    let error = client().signatures(&pinned).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "{error}");

    let registry = Registry::with(|_| Some(reply(503, &[], ""))).await;
    let error =
        client().signatures(&registry.reference("").pin(pinned.digest())).await.unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 503, .. }),
        "an outage is no missing signature"
    );
}
