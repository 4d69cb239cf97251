//! One HTTP/1.1 connection to the gateway, kept alive, made anew when it is lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pulsegate_wire::{Directive, Heartbeat, Problem};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::engine::Refusal;

/// Largest answer that is read, in bytes. Source: chosen; a directive with eight commands and
/// eight rules is below 4 KiB.
const ANSWER_BYTES: usize = 64 * 1024;

/// Where the gateway is and how to speak to it.
pub(crate) struct Target {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    path: String,
    authority: HeaderValue,
    token: Option<HeaderValue>,
}

/// What came back for one heartbeat.
pub(crate) enum Answer {
    Directive(Box<Directive>),
    Refusal(Refusal),
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the exchange broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is no answer of a gateway (status {0})")]
    Foreign(StatusCode),
    #[error("the heartbeat could not be written: {0}")]
    Encode(String),
}

/// The connection, when there is one.
pub(crate) struct Link {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Target {
    /// Reads the address of a gateway: `http://host:port` or `https://host:port`, with an
    /// optional path in front of the gateway's own.
    pub(crate) fn new(
        url: &str,
        authorities: Option<&Path>,
        token: Option<&str>,
    ) -> Result<Self, Error> {
        let bad = |why| Error::Url { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| bad("it is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(bad("it must hold neither user nor query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority =
            HeaderValue::from_str(authority.as_str()).map_err(|_| bad("it names no host"))?;
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| bad("it names no host"))?;
            Some((connector(authorities)?, name))
        } else {
            None
        };
        let token = token.map(bearer).transpose()?;
        let path = format!("{}/v1/heartbeats", uri.path().trim_end_matches('/'));
        Ok(Self { host, port, tls, path, authority, token })
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn connector(authorities: Option<&Path>) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |why: String| Error::Authorities { path: path.display().to_string(), why };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it holds no certificate".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Authorities { path: String::new(), why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Link {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Whether a connection that was there is gone; says so once.
    pub(crate) fn was_lost(&mut self) -> bool {
        self.sender.take_if(|sender| sender.is_closed()).is_some()
    }

    /// Sends one heartbeat and waits for the answer, without a limit of time; whoever gives it up
    /// drops the connection with it, so that a late answer cannot meet another heartbeat.
    ///
    /// A connection that was kept may turn out to be closed only when it is used; then the same
    /// heartbeat is sent once more over a new one, which its sequence makes harmless.
    pub(crate) async fn exchange(&mut self, heartbeat: &Heartbeat) -> Result<Answer, LinkError> {
        let body = serde_json::to_vec(heartbeat).map_err(|e| LinkError::Encode(e.to_string()))?;
        let body = Bytes::from(body);
        if let Some(mut kept) = self.sender.take() {
            if let Ok(answer) = self.request(&mut kept, body.clone()).await {
                self.sender = Some(kept);
                return Ok(answer);
            }
        }
        let mut fresh = self.connect().await?;
        let answer = self.request(&mut fresh, body).await?;
        self.sender = Some(fresh);
        Ok(answer)
    }

    async fn request(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        body: Bytes,
    ) -> Result<Answer, LinkError> {
        sender.ready().await?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            self.target.path.parse().map_err(|_| LinkError::Encode(self.target.path.clone()))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.target.authority.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(token) = &self.target.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        read_answer(sender.send_request(request).await?).await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        let address = (self.target.host.as_str(), self.target.port);
        let tcp = TcpStream::connect(address).await.map_err(LinkError::Connect)?;
        tcp.set_nodelay(true).map_err(LinkError::Connect)?;
        match &self.target.tls {
            None => handshake(TokioIo::new(tcp)).await,
            Some((connector, name)) => {
                let connecting = connector.connect(name.clone(), tcp);
                handshake(TokioIo::new(connecting.await.map_err(LinkError::Connect)?)).await
            }
        }
    }
}

const USER_AGENT: &str = concat!("pulsegate-client/", env!("CARGO_PKG_VERSION"));

async fn handshake<T>(io: T) -> Result<SendRequest<Full<Bytes>>, LinkError>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    // It ends by itself when the sender is dropped or the peer closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the gateway ended");
        }
    });
    Ok(sender)
}

async fn read_answer(response: http::Response<Incoming>) -> Result<Answer, LinkError> {
    let (head, body) = response.into_parts();
    let foreign = || LinkError::Foreign(head.status);
    // 502 and 504 come from something in between that did not reach the gateway.
    if matches!(head.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
        return Err(foreign());
    }
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|_| foreign())?.to_bytes();
    if head.status.is_success() {
        let directive: Directive = serde_json::from_slice(&body).map_err(|_| foreign())?;
        // Every field has a default, so any JSON object parses; a directive always paces.
        if directive.next_interval_ms == 0 {
            return Err(foreign());
        }
        return Ok(Answer::Directive(Box::new(directive)));
    }
    let problem: Option<Problem> = serde_json::from_slice(&body).ok();
    let code = problem.as_ref().and_then(Problem::code);
    tracing::debug!(
        status = head.status.as_u16(),
        detail = problem.as_ref().map_or("", |problem| &problem.detail),
        "the gateway refused a heartbeat"
    );
    let exact = problem.as_ref().and_then(|problem| problem.retry_after_ms);
    Ok(Answer::Refusal(Refusal {
        code,
        retry_after: exact.map(Duration::from_millis).or_else(|| retry_after(&head.headers)),
        limit: problem.and_then(|problem| problem.limit).map(|limit| limit as u64),
    }))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_say_why() {
        for (url, why) in [
            ("", "no URL"),
            ("127.0.0.1:8420", "http://"),
            ("ftp://host", "http://"),
            ("http://user@host", "neither user"),
            ("http://host/?a=b", "neither user"),
        ] {
            let error = Target::new(url, None, None).err().map(|error| error.to_string());
            assert!(error.as_deref().is_some_and(|text| text.contains(why)), "{url}: {error:?}");
        }
    }

    #[test]
    fn ports_paths_and_literal_addresses_are_understood() {
        let target = Target::new("https://[::1]/pulse/", None, Some("secret")).expect("fits");
        assert_eq!((target.host.as_str(), target.port), ("::1", 443));
        assert_eq!(target.path, "/pulse/v1/heartbeats");
        let target = Target::new("http://gateway", None, None).expect("fits");
        assert_eq!((target.port, target.path.as_str()), (80, "/v1/heartbeats"));
        assert!(matches!(Target::new("http://h", None, Some("a\nb")), Err(Error::Token)));
    }
}
