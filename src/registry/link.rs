//! One exchange of HTTP/1.1: connect, ask, read an answer of bounded size.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::Error;
use crate::url::Url;

/// Largest answer that tells of an error, in bytes: what is beyond is not shown.
/// Source: chosen; a registry's list of errors has below 1 KiB.
const COMPLAINT_BYTES: u64 = 64 * 1024;

const USER_AGENT: &str = concat!("pulsegate/", env!("CARGO_PKG_VERSION"));

/// One request, as it may be sent twice.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Largest body of a success, in bytes.
    pub(crate) limit: u64,
}

/// One answer, wholly read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Who answered.
    pub(crate) from: Url,
}

impl Call {
    pub(crate) fn get(url: Url, limit: u64) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), limit }
    }

    pub(crate) fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl Answer {
    /// A header as text; one that is no text is as good as none.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What TLS trusts: the authorities of the web, or those in a file instead.
pub(crate) fn connector(authorities: Option<&Path>) -> Result<TlsConnector, Error> {
    let bad = |why: String| Error::Option { option: "the file of certificate authorities", why };
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let at = |why: &dyn std::fmt::Display| bad(format!("{}: {why}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| at(&error))? {
                let certificate = certificate.map_err(|error| at(&error))?;
                roots.add(certificate).map_err(|error| at(&error))?;
            }
            if roots.is_empty() {
                return Err(at(&"it holds no certificate"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Sends one request over a connection of its own and reads the answer.
pub(crate) async fn exchange(tls: &TlsConnector, call: &Call) -> Result<Answer, Error> {
    let host = call.url.authority();
    let refused = |source| Error::Connect { host: host.clone(), source };
    let broke = |source| Error::Broke { host: host.clone(), source };
    let request = compose(call)?;
    let tcp = TcpStream::connect((call.url.host.as_str(), call.url.port)).await;
    let tcp = tcp.map_err(refused)?;
    tcp.set_nodelay(true).map_err(refused)?;
    let mut sender = if call.url.secure {
        let name = ServerName::try_from(call.url.host.clone())
            .map_err(|error| refused(std::io::Error::other(error)))?;
        let stream = tls.connect(name, tcp).await.map_err(refused)?;
        handshake(TokioIo::new(stream)).await.map_err(broke)?
    } else {
        handshake(TokioIo::new(tcp)).await.map_err(broke)?
    };
    let answer = sender.send_request(request).await.map_err(broke)?;
    let (head, mut body) = answer.into_parts();
    let is_success = head.status.is_success();
    let limit = if is_success { call.limit } else { COMPLAINT_BYTES };
    let too_large =
        || Error::TooLarge { what: format!("the answer of {host} to {}", call.url.path), limit };
    let announced = head.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if is_success && call.method != Method::HEAD && announced.is_some_and(|size| size > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(broke)?.into_data() else { continue };
        if (bytes.len() + piece.len()) as u64 > limit {
            if is_success {
                return Err(too_large());
            }
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: bytes.freeze(),
        from: call.url.clone(),
    })
}

fn compose(call: &Call) -> Result<Request<Full<Bytes>>, Error> {
    let host = call.url.authority();
    let bad = |why: &str| Error::Option { option: "the address", why: format!("{host}: {why}") };
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.url.path.parse().map_err(|_| bad("its path is none of HTTP"))?;
    *request.headers_mut() = call.headers.clone();
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&host).map_err(|_| bad("its host is none of HTTP"))?;
    headers.insert(header::HOST, host);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    // A request that could carry a body says that it has none: RFC 9110, section 8.6.
    if call.body.is_empty() && [Method::POST, Method::PUT].contains(&call.method) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

async fn handshake<T>(io: T) -> Result<SendRequest<Full<Bytes>>, hyper::Error>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    // It ends by itself when the sender and the body are dropped, or the peer closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to a registry ended");
        }
    });
    Ok(sender)
}
