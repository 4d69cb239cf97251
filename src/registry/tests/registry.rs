//! A registry in memory that is stricter than real ones, and a way to make it lie.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::digest::Digest;
use crate::reference::Reference;

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) type Reply = Response<Bytes>;
type Lie = Box<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;

/// How it wants to be told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    Nobody,
    /// `USER:PASSWORD`.
    Basic(&'static str),
    /// `USER:PASSWORD`, or nothing for a token that everybody gets; the realm is this server.
    Bearer(Option<&'static str>),
}

struct State {
    address: SocketAddr,
    auth: Auth,
    blobs: Mutex<BTreeMap<String, Bytes>>,
    /// By tag and by digest: media type and bytes.
    manifests: Mutex<BTreeMap<String, (String, Bytes)>>,
    uploads: Mutex<BTreeSet<String>>,
    seen: Mutex<Vec<Seen>>,
    lie: Option<Lie>,
}

/// A registry with one repository, `team/bees`.
pub(super) struct Registry {
    state: Arc<State>,
}

const REPOSITORY: &str = "team/bees";

impl Registry {
    pub(super) async fn start(auth: Auth) -> Self {
        Self::lying(auth, None).await
    }

    /// One that answers as it should but where `lie` has another answer.
    pub(super) async fn with(lie: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::lying(Auth::Nobody, Some(Box::new(lie))).await
    }

    pub(super) async fn lying(auth: Auth, lie: Option<Lie>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(State {
            address: listener.local_addr().unwrap(),
            auth,
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            uploads: Mutex::default(),
            seen: Mutex::default(),
            lie,
        });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(serving.clone(), stream));
            }
        });
        Self { state }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// `oci://127.0.0.1:PORT/team/bees` and what is to follow.
    pub(super) fn reference(&self, rest: &str) -> Reference {
        format!("oci://{}/{REPOSITORY}{rest}", self.address()).parse().unwrap()
    }

    pub(super) fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut blobs = self.state.blobs.lock().unwrap();
        blobs.insert(digest.to_string(), Bytes::copy_from_slice(bytes));
        digest
    }

    pub(super) fn put_manifest(&self, tag: &str, media_type: &str, json: &str) -> Digest {
        let digest = Digest::of(json.as_bytes());
        let kept = (media_type.to_owned(), Bytes::copy_from_slice(json.as_bytes()));
        let mut manifests = self.state.manifests.lock().unwrap();
        manifests.insert(tag.to_owned(), kept.clone());
        manifests.insert(digest.to_string(), kept);
        digest
    }

    pub(super) fn forget_manifest(&self, tag: &str) {
        self.state.manifests.lock().unwrap().remove(tag);
    }

    /// Requests so far, as `METHOD path`.
    pub(super) fn requests(&self) -> Vec<String> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().map(|one| format!("{} {}", one.method, one.path)).collect()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }
}

/// Serves one connection of any kind.
async fn serve<T>(state: Arc<State>, stream: T)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let state = state.clone();
        async move {
            let reply = state.answer(request).await;
            Ok::<_, Infallible>(reply.map(Full::new))
        }
    });
    // A client that goes away is what some tests do.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

fn error(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"told by the test"}}]}}"#);
    reply(status, &[("content-type", "application/json")], body)
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let seen = Seen {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        if let Some(lie) = self.lie.as_ref().and_then(|lie| lie(&seen)) {
            return lie;
        }
        let host = seen.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if host != Some(self.address.to_string().as_str()) {
            return error(400, "HOST_WRONG");
        }
        if seen.path == "/token" {
            return self.token(&seen);
        }
        if let Some(refused) = self.refuse(&seen) {
            return refused;
        }
        let Some(rest) = seen.path.strip_prefix(&format!("/v2/{REPOSITORY}/")) else {
            return error(404, "NAME_UNKNOWN");
        };
        match (&seen.method, rest.split_once('/')) {
            (&Method::GET | &Method::HEAD, Some(("blobs", digest))) => {
                match self.blobs.lock().unwrap().get(digest) {
                    Some(bytes) => reply(200, &[("docker-content-digest", digest)], bytes.clone()),
                    None => error(404, "BLOB_UNKNOWN"),
                }
            }
            (&Method::GET, Some(("manifests", name))) => self.manifest(&seen, name),
            (&Method::POST, Some(("blobs", "uploads/"))) => self.begin(&seen),
            (&Method::PUT, Some(("blobs", _))) => self.upload(&seen, rest),
            (&Method::PUT, Some(("manifests", name))) => self.take_manifest(&seen, name),
            _ => error(405, "UNSUPPORTED"),
        }
    }

    /// A manifest of a type that the client did not ask for is not shown.
    fn manifest(&self, seen: &Seen, name: &str) -> Reply {
        let accept = seen.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        match self.manifests.lock().unwrap().get(name) {
            Some((media_type, bytes)) if accept.is_some_and(|list| list.contains(media_type)) => {
                reply(200, &[("content-type", media_type)], bytes.clone())
            }
            _ => error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn begin(&self, seen: &Seen) -> Reply {
        if seen.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length != "0") {
            return error(400, "SIZE_INVALID");
        }
        let mut uploads = self.uploads.lock().unwrap();
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/{}", uploads.len() + 7);
        uploads.insert(path.clone());
        reply(202, &[("location", &format!("{path}?_state=a%3Db"))], Bytes::new())
    }

    fn upload(&self, seen: &Seen, rest: &str) -> Reply {
        let path = format!("/v2/{REPOSITORY}/{rest}");
        if !self.uploads.lock().unwrap().remove(&path) {
            return error(404, "BLOB_UPLOAD_UNKNOWN");
        }
        let digest = Digest::of(&seen.body).to_string();
        let expected = format!("_state=a%3Db&digest={}", digest.replace(':', "%3A"));
        let octets = seen.headers.get(header::CONTENT_TYPE);
        if seen.query != expected || octets.is_none_or(|kind| kind != "application/octet-stream") {
            return error(400, "DIGEST_INVALID");
        }
        self.blobs.lock().unwrap().insert(digest.clone(), seen.body.clone());
        reply(201, &[("docker-content-digest", &digest)], Bytes::new())
    }

    fn take_manifest(&self, seen: &Seen, name: &str) -> Reply {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&seen.body) else {
            return error(400, "MANIFEST_INVALID");
        };
        let kind = seen.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_none() || json["mediaType"].as_str() != kind || json["schemaVersion"] != 2 {
            return error(400, "MANIFEST_INVALID");
        }
        let blobs = self.blobs.lock().unwrap();
        let layers = json["layers"].as_array().cloned().unwrap_or_default();
        for part in layers.iter().chain([&json["config"]]) {
            let found = part["digest"].as_str().and_then(|digest| blobs.get(digest));
            if found.map(|blob| blob.len() as u64) != part["size"].as_u64() {
                return error(400, "MANIFEST_BLOB_UNKNOWN");
            }
        }
        let digest = Digest::of(&seen.body).to_string();
        let kept = (kind.unwrap_or_default().to_owned(), seen.body.clone());
        let mut manifests = self.manifests.lock().unwrap();
        manifests.insert(name.to_owned(), kept.clone());
        manifests.insert(digest.clone(), kept);
        reply(201, &[("docker-content-digest", &digest)], Bytes::new())
    }

    fn refuse(&self, seen: &Seen) -> Option<Reply> {
        let shown = seen.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let refused = |challenge: String| {
            let mut refused = error(401, "UNAUTHORIZED");
            let value = challenge.parse().unwrap();
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            Some(refused)
        };
        let writes = [Method::POST, Method::PUT].contains(&seen.method);
        match &self.auth {
            Auth::Nobody => None,
            Auth::Basic(pair) => {
                let expected = format!("Basic {}", STANDARD.encode(pair));
                if shown == Some(expected.as_str()) {
                    return None;
                }
                refused(r#"Basic realm="the test""#.to_owned())
            }
            Auth::Bearer(_) => {
                let expected = if writes { "Bearer pull,push" } else { "Bearer pull" };
                if shown.is_some_and(|shown| shown.starts_with(expected)) {
                    return None;
                }
                let realm = format!("http://{}/token", self.address);
                refused(format!(r#"Bearer realm="{realm}",service="the test",scope="x""#))
            }
        }
    }

    /// Hands out a token that is good for what was asked for, named in the token itself.
    fn token(&self, seen: &Seen) -> Reply {
        let Auth::Bearer(pair) = self.auth else { return error(404, "NO_REALM") };
        let shown = seen.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let expected = pair.map(|pair| format!("Basic {}", STANDARD.encode(pair)));
        if shown != expected.as_deref() {
            return error(401, "UNAUTHORIZED");
        }
        let scope = |actions: &str| {
            format!("scope=repository%3Ateam%2Fbees%3A{actions}&service=the%20test")
        };
        let token = match seen.query.as_str() {
            query if query == scope("pull") => "pull",
            query if query == scope("pull%2Cpush") => "pull,push",
            _ => return error(400, "SCOPE_INVALID"),
        };
        reply(200, &[], format!(r#"{{"token":"{token}","expires_in":60}}"#))
    }
}

/// A server that reads one request's head and then does as it likes, for every connection.
pub(super) async fn raw<F>(talk: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            tokio::spawn(talk(stream));
        }
    });
    address
}

/// A registry behind TLS, with the certificate that it shows as a file.
pub(super) async fn with_tls(name: &str) -> (Registry, SocketAddr, std::path::PathBuf) {
    let registry = Registry::with(|seen| {
        // The strict one knows itself by another port: only the paths matter here. Tag `p80` sends
        // to port 80 of this machine, without TLS.
        match seen.path.strip_prefix("/v2/team/bees/manifests/")? {
            "none" => Some(error(404, "MANIFEST_UNKNOWN")),
            tag => {
                Some(reply(307, &[("location", &format!("http://127.0.0.1:{}/", &tag[1..]))], ""))
            }
        }
    })
    .await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = registry.state.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(state.clone(), stream));
            }
        }
    });
    let file = super::directory(name).join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    (registry, address, file)
}
