//! Signatures that are checked with a public key: those of cosign beside a manifest, and one in a
//! file beside a component.
//!
//! A signature is judged before what it was made over is parsed, so that nobody without the key
//! chooses what the parser sees. No certificate, no transparency log, no revocation: who holds the
//! private key decides, and taking its public half out of the configuration is the revocation.
//!
//! Source: cosign, `SIGNATURE_SPEC.md`; RFC 5480 (ECDSA), RFC 8410 (Ed25519).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, shown};
use crate::reference::Pinned;

/// Most keys of a file. Source: chosen; two during a change of keys, and a few teams.
pub const KEYS: usize = 16;
/// Largest file of keys, in bytes. Source: chosen; a key has 200.
pub const KEY_FILE_BYTES: u64 = 64 * 1024;
/// Largest file of a signature, in bytes. Source: chosen; cosign's bundles have below 16 KiB.
pub const SIGNATURE_FILE_BYTES: u64 = 256 * 1024;

/// Everything before the point of a key on P-256, uncompressed. Source: RFC 5480, section 2.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Everything before the bytes of a key of Ed25519. Source: RFC 8410, section 4.
const ED: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What the payload of a signature says it is: cosign, cosign before version 1, and what newer
/// ones call a signature of theirs.
const TYPES: [&str; 3] = [
    "cosign container image signature",
    "atomic container signature",
    "https://sigstore.dev/cosign/sign/v1",
];

/// The public keys of those who may sign policies; one good signature of one of them suffices.
#[derive(Clone)]
pub struct Keys {
    file: String,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    kind: Kind,
    key: ParsedPublicKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

/// A signature of cosign's, with what it was made over.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Signature {
    /// The payload, a JSON document.
    #[serde(with = "as_base64")]
    pub payload: Bytes,
    /// The signature over it, in base64.
    pub signature: String,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Keys {
    /// Reads one or more public keys in PEM, as `cosign generate-key-pair` and
    /// `openssl pkey -pubout` write them; `file` stands in errors.
    ///
    /// # Errors
    /// [`Error::Key`], when one of them is neither ECDSA on P-256 nor Ed25519, or there is none.
    pub fn from_pem(file: &str, pem: &[u8]) -> Result<Self, Error> {
        let bad = |why: String| Error::Key { file: file.to_owned(), why };
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| bad(format!("it is no PEM: {error}")))?;
            keys.push(Key::from_der(&der).map_err(|why| bad(why.to_owned()))?);
            if keys.len() > KEYS {
                return Err(bad(format!("it holds more than {KEYS} keys")));
            }
        }
        if keys.is_empty() {
            return Err(bad("it holds no block `PUBLIC KEY` in PEM".to_owned()));
        }
        Ok(Self { file: file.to_owned(), keys })
    }

    /// Where the keys came from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Checks that one of these signatures is good and speaks of this manifest.
    ///
    /// # Errors
    /// [`Error::Unsigned`], [`Error::ForeignSignature`], [`Error::SignatureOfOther`] or
    /// [`Error::DamagedSignature`]; of several bad ones the one that came closest.
    pub fn check_manifest(&self, pinned: &Pinned, signatures: &[Signature]) -> Result<(), Error> {
        let what = pinned.to_string();
        let mut closest = None;
        for signature in signatures {
            match self.check_one(&what, pinned.digest(), signature) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if closeness(&error) >= closest.as_ref().map_or(0, closeness) {
                        closest = Some(error);
                    }
                }
            }
        }
        Err(closest.unwrap_or(Error::Unsigned { what }))
    }

    fn check_one(&self, what: &str, digest: Digest, one: &Signature) -> Result<(), Error> {
        let damaged = |why: &str| damaged(what, why);
        self.check_bytes(what, &one.payload, &one.signature)?;
        let payload: Payload = serde_json::from_slice(&one.payload)
            .map_err(|_| damaged("its payload is none of cosign's"))?;
        if !TYPES.contains(&payload.critical.kind.as_str()) {
            return Err(damaged("its payload is not one about a manifest"));
        }
        let signed = payload.critical.image.digest;
        if signed != digest.to_string() {
            return Err(Error::SignatureOfOther { what: what.to_owned(), signed: shown(&signed) });
        }
        Ok(())
    }

    /// Checks a signature in a file of its own over all bytes of `what`: in base64, as
    /// `cosign sign-blob` and `openssl` with `base64` write it, or a bundle of cosign in JSON, of
    /// which only the signature is looked at.
    ///
    /// # Errors
    /// [`Error::ForeignSignature`] or [`Error::DamagedSignature`].
    pub fn check_blob(&self, what: &str, bytes: &[u8], signature: &[u8]) -> Result<(), Error> {
        let text = std::str::from_utf8(signature).map_err(|_| damaged(what, "it is no text"))?;
        let text = text.trim();
        if text.is_empty() {
            return Err(damaged(what, "it is empty"));
        }
        if text.starts_with('{') {
            let bundle: Bundle = serde_json::from_str(text)
                .map_err(|_| damaged(what, "it is no bundle of cosign"))?;
            let signature = bundle.message.map(|message| message.signature).or(bundle.before);
            let signature =
                signature.ok_or_else(|| damaged(what, "the bundle holds no signature of bytes"))?;
            return self.check_bytes(what, bytes, &signature);
        }
        self.check_bytes(what, bytes, text)
    }

    fn check_bytes(&self, what: &str, bytes: &[u8], signature: &str) -> Result<(), Error> {
        // Tools break lines after 64 or 76 characters.
        let joined: String = signature.split_ascii_whitespace().collect();
        let signature = STANDARD.decode(joined).map_err(|_| damaged(what, "it is no base64"))?;
        let mut is_whole = false;
        for key in &self.keys {
            is_whole |= key.kind.is_whole(&signature);
            if key.key.verify_sig(bytes, &signature).is_ok() {
                return Ok(());
            }
        }
        if is_whole {
            Err(Error::ForeignSignature { what: what.to_owned() })
        } else {
            Err(damaged(what, &format!("its {} bytes have not the form of one", signature.len())))
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} in {})", self.keys.len(), self.file)
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |keys: &Self| -> Vec<Vec<u8>> {
            keys.keys.iter().map(|key| key.key.as_ref().to_vec()).collect()
        };
        self.file == other.file && bytes(self) == bytes(other)
    }
}

/// A file that `cosign sign-blob --bundle` writes; the second form is that before version 3.
#[derive(Deserialize)]
struct Bundle {
    #[serde(default, rename = "messageSignature")]
    message: Option<Message>,
    #[serde(default, rename = "base64Signature")]
    before: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    signature: String,
}

impl Key {
    fn from_der(der: &SubjectPublicKeyInfoDer<'_>) -> Result<Self, &'static str> {
        const P256_SHA256: &dyn VerificationAlgorithm = &ECDSA_P256_SHA256_ASN1;
        let der: &[u8] = der.as_ref();
        let (kind, key) = match (der.strip_prefix(&P256), der.strip_prefix(&ED)) {
            (Some(point), _) => (Kind::P256, ParsedPublicKey::new(P256_SHA256, point)),
            (_, Some(key)) => (Kind::Ed25519, ParsedPublicKey::new(&ED25519, key)),
            _ => return Err("it is neither ECDSA on P-256 nor Ed25519"),
        };
        let key = key.map_err(|_| "its bytes are no point of the curve")?;
        Ok(Self { kind, key })
    }
}

impl Kind {
    /// Whether these bytes have the form of a signature: then it is foreign, and else damaged.
    fn is_whole(self, signature: &[u8]) -> bool {
        match (self, signature) {
            (Self::P256, [0x30, length, rest @ ..]) => usize::from(*length) == rest.len(),
            (Self::Ed25519, bytes) => bytes.len() == 64,
            _ => false,
        }
    }
}

fn damaged(what: &str, why: &str) -> Error {
    Error::DamagedSignature { what: what.to_owned(), why: why.to_owned() }
}

/// Which of several errors tells most: a good signature of something else, then one of another
/// key, then a damaged one.
fn closeness(error: &Error) -> u8 {
    match error {
        Error::SignatureOfOther { .. } => 3,
        Error::ForeignSignature { .. } => 2,
        _ => 1,
    }
}

/// Bytes within JSON.
mod as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}
