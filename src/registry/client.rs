//! Pulling and pushing.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::TlsConnector;

use crate::component;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::error::{Error, shown};
use crate::link::{self, Answer, Call};
use crate::manifest::{self, Content, Found};
use crate::media;
use crate::reference::{Pinned, Reference, is_loopback};
use crate::session::{Access, Session, complaint, encoded, within};
use crate::signature::Signature;
use crate::url::Url;

/// Largest component, in bytes. Source: chosen; twice that of a guest in Python.
pub const COMPONENT_BYTES: u64 = 64 * 1024 * 1024;
/// Largest manifest or index, in bytes. Source: OCI distribution specification 1.1, "Pushing
/// Manifests": registries should take 4 MiB.
pub const MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
/// Largest payload of a signature, in bytes. Source: chosen; cosign's have below 1 KiB.
const PAYLOAD_BYTES: u64 = 64 * 1024;
/// Most signatures that are looked at. Source: chosen; a registry could hold any number.
const SIGNATURES: usize = 32;
/// Where an operation ends by default. Source: chosen; 64 MiB in two minutes are 4.5 Mbit/s.
pub const TIMEOUT: Duration = Duration::from_secs(120);

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How registries are spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// PEM file of the certificate authorities to trust instead of those of the web. With one, a
    /// registry on loopback is spoken to with TLS as well.
    pub ca_file: Option<PathBuf>,
    /// Registries, as `HOST` or `HOST:PORT`, that are spoken to without TLS. What comes is still
    /// checked by digest; credentials and who reads what are not protected. Those on loopback
    /// need not be listed.
    pub plain_http: Vec<String>,
    /// Longest time of one operation, from connecting to the last byte; default [`TIMEOUT`].
    pub timeout: Duration,
    /// Who asks.
    pub credentials: Credentials,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_file: None,
            plain_http: Vec::new(),
            timeout: TIMEOUT,
            credentials: Credentials::default(),
        }
    }
}

/// Speaks to registries. It keeps no connection and no token between operations.
pub struct Client {
    pub(crate) tls: TlsConnector,
    pub(crate) credentials: Credentials,
    plain_http: Vec<String>,
    loopback_is_plain: bool,
    timeout: Duration,
}

/// What was pulled, every byte of it checked by digest.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The reference, with the digest that it had.
    pub pinned: Pinned,
    /// The manifest, with an index before it where there was one.
    pub manifests: Vec<Bytes>,
    /// The component.
    pub component: Bytes,
}

/// A manifest as it came.
struct Manifest {
    digest: Digest,
    bytes: Bytes,
    found: Found,
}

impl Client {
    /// Prepares to speak to registries; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Option`], when the file of certificate authorities cannot be used.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self {
            tls: link::connector(options.ca_file.as_deref())?,
            credentials: options.credentials,
            plain_http: options.plain_http.iter().map(|host| host.to_ascii_lowercase()).collect(),
            loopback_is_plain: options.ca_file.is_none(),
            timeout: options.timeout,
        })
    }

    /// Pulls a component. A reference without a digest yields what its tag names now.
    ///
    /// # Errors
    /// [`Error`], when it is not there, not one component, not what the digest names, larger than
    /// [`COMPONENT_BYTES`], or did not come in time.
    pub async fn pull(&self, reference: &Reference) -> Result<Pulled, Error> {
        let mut session = Session::new(self, reference, Access::Pull);
        within(self.timeout, session.host(), pull(&mut session, reference)).await
    }

    /// The signatures of a manifest that cosign stored beside it; none is no error.
    ///
    /// # Errors
    /// [`Error`], when the registry does not answer, or not with what its digests name.
    pub async fn signatures(&self, pinned: &Pinned) -> Result<Vec<Signature>, Error> {
        let mut session = Session::new(self, pinned.reference(), Access::Pull);
        within(self.timeout, session.host(), signatures(&mut session, pinned)).await
    }

    /// Pushes a component under the tag of `reference`, or by its digest alone where there is
    /// none. `created` is the time of its making, as RFC 3339 has it: the same bytes with the
    /// same time have the same digest again.
    ///
    /// # Errors
    /// [`Error::NotComponent`] before anything is sent; else [`Error`], and then parts may have
    /// arrived, but no tag has moved.
    pub async fn push(
        &self,
        reference: &Reference,
        component: Bytes,
        created: &str,
    ) -> Result<Pinned, Error> {
        if component.len() as u64 > COMPONENT_BYTES {
            return Err(Error::TooLarge { what: "the component".into(), limit: COMPONENT_BYTES });
        }
        if reference.digest().is_some() {
            let why = "what is pushed has the digest that it has: give a tag, or nothing";
            return Err(Error::Reference { reference: reference.to_string(), why });
        }
        let names = component::names(&component)?;
        let (manifest, config) = manifest::compose(&component, &names, created)
            .map_err(|error| Error::NotComponent { why: error.to_string() })?;
        let mut session = Session::new(self, reference, Access::Push);
        let work = async {
            push_blob(&mut session, Bytes::from(config)).await?;
            push_blob(&mut session, component).await?;
            push_manifest(&mut session, reference, Bytes::from(manifest)).await
        };
        let host = self.base(reference).authority();
        within(self.timeout, host, work).await
    }

    /// Where a registry listens.
    pub(crate) fn base(&self, reference: &Reference) -> Url {
        // The registry of Docker Hub listens elsewhere than it is called.
        let host = match reference.host() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let listed = self.plain_http.contains(&reference.authority().to_ascii_lowercase());
        let secure = !(listed || (self.loopback_is_plain && reference.is_loopback()));
        let port = reference.port().unwrap_or(if secure { 443 } else { 80 });
        Url { secure, host: host.to_owned(), port, path: "/".to_owned() }
    }

    /// Whether an address may be spoken to without TLS.
    pub(crate) fn may_be_plain(&self, url: &Url) -> bool {
        self.plain_http.contains(&url.authority())
            || (self.loopback_is_plain && is_loopback(&url.host))
    }

    /// What credentials call a registry.
    pub(crate) fn name_of(&self, base: &Url) -> String {
        base.authority()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

async fn pull(session: &mut Session<'_>, reference: &Reference) -> Result<Pulled, Error> {
    let name = reference.name_of_manifest();
    let top = fetch_manifest(session, &name, reference.digest()).await?;
    let mut manifests = vec![top.bytes.clone()];
    let content = match top.found {
        Found::Component(content) => content,
        Found::Manifest(child) => {
            let manifest =
                fetch_manifest(session, &child.digest.to_string(), Some(child.digest)).await?;
            manifests.push(manifest.bytes);
            match manifest.found {
                Found::Component(content) => content,
                Found::Manifest(_) => {
                    let why = "it is an index within an index".to_owned();
                    return Err(Error::Manifest { digest: manifest.digest, why });
                }
            }
        }
    };
    let component = fetch_blob(session, "the component", content, COMPONENT_BYTES).await?;
    Ok(Pulled { pinned: reference.pin(top.digest), manifests, component })
}

async fn fetch_manifest(
    session: &mut Session<'_>,
    name: &str,
    expected: Option<Digest>,
) -> Result<Manifest, Error> {
    let what = format!("the manifest {name}");
    let answer = get_manifest(session, &what, name).await?;
    let digest = Digest::of(&answer.body);
    if let Some(expected) = expected {
        check_digest(&what, expected, digest)?;
    }
    let came_as = answer.header(header::CONTENT_TYPE).unwrap_or_default();
    let found = manifest::read(digest, &answer.body, came_as)?;
    Ok(Manifest { digest, bytes: answer.body, found })
}

async fn get_manifest(session: &mut Session<'_>, what: &str, name: &str) -> Result<Answer, Error> {
    session.send(what, manifest_call(session, name)).await
}

fn manifest_call(session: &Session<'_>, name: &str) -> Call {
    const ACCEPT: &str =
        "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    let url = session.url(&format!("manifests/{name}"));
    Call::get(url, MANIFEST_BYTES).with(header::ACCEPT, HeaderValue::from_static(ACCEPT))
}

async fn fetch_blob(
    session: &mut Session<'_>,
    what: &str,
    content: Content,
    limit: u64,
) -> Result<Bytes, Error> {
    let what = format!("{what} {}", content.digest);
    if content.size > limit {
        return Err(Error::TooLarge { what, limit });
    }
    let url = session.url(&format!("blobs/{}", content.digest));
    // One byte more than there should be tells a longer one from the right one.
    let answer = session.send(&what, Call::get(url, content.size)).await?;
    let found = answer.body.len() as u64;
    if found != content.size {
        return Err(Error::Size { what, expected: content.size, found });
    }
    check_digest(&what, content.digest, Digest::of(&answer.body))?;
    Ok(answer.body)
}

fn check_digest(what: &str, expected: Digest, found: Digest) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Digest { what: what.to_owned(), expected, found })
}

async fn signatures(session: &mut Session<'_>, pinned: &Pinned) -> Result<Vec<Signature>, Error> {
    let tag = format!("sha256-{}.sig", pinned.digest().hex());
    let what = format!("the signatures {tag}");
    let answer = session.send_any(&what, manifest_call(session, &tag)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Vec::new());
    }
    if !answer.status.is_success() {
        return Err(complaint(&what, &answer));
    }
    let layers = manifest::signed_layers(Digest::of(&answer.body), &answer.body)?;
    let mut all = Vec::new();
    for layer in layers.into_iter().take(SIGNATURES) {
        let payload = fetch_blob(session, "the payload", layer.payload, PAYLOAD_BYTES).await?;
        all.push(Signature { payload, signature: layer.signature });
    }
    Ok(all)
}

async fn push_blob(session: &mut Session<'_>, bytes: Bytes) -> Result<(), Error> {
    let digest = Digest::of(&bytes);
    let what = format!("the blob {digest}");
    let head =
        Call { method: Method::HEAD, ..Call::get(session.url(&format!("blobs/{digest}")), 0) };
    let there = session.send_any(&what, head).await?;
    if there.status.is_success() {
        return Ok(());
    }
    let begin =
        Call { method: Method::POST, ..Call::get(session.url("blobs/uploads/"), MANIFEST_BYTES) };
    let begun = session.send(&what, begin).await?;
    let mut url = session.located(&begun)?;
    let separator = if url.path.contains('?') { '&' } else { '?' };
    url.path = format!("{}{separator}digest={}", url.path, encoded(&digest.to_string()));
    let mut headers = HeaderMap::new();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    let put = Call { method: Method::PUT, url, headers, body: bytes, limit: MANIFEST_BYTES };
    let put = session.send(&what, put).await?;
    check_pushed(session, digest, &put)
}

async fn push_manifest(
    session: &mut Session<'_>,
    reference: &Reference,
    bytes: Bytes,
) -> Result<Pinned, Error> {
    let digest = Digest::of(&bytes);
    let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
    let what = format!("the manifest {name}");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media::MANIFEST));
    let url = session.url(&format!("manifests/{name}"));
    let put = Call { method: Method::PUT, url, headers, body: bytes, limit: MANIFEST_BYTES };
    let put = session.send(&what, put).await?;
    check_pushed(session, digest, &put)?;
    Ok(reference.pin(digest))
}

/// A registry that calls what it took by another digest has taken something else.
fn check_pushed(session: &Session<'_>, expected: Digest, answer: &Answer) -> Result<(), Error> {
    match answer.header(CONTENT_DIGEST) {
        Some(found) if found != expected.to_string() => {
            let found = shown(found);
            Err(Error::PushedOther { host: session.host(), expected, found })
        }
        _ => Ok(()),
    }
}
