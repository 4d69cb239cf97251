//! One HTTP/1.1 connection to a gateway, kept alive, made anew when it is lost.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;
use crate::target::Target;

/// Largest answer that is read, in bytes. Source: chosen; a page of 1,000 agents is below 1 MiB,
/// a directive with eight commands and eight rules below 4 KiB.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

const USER_AGENT: &str = concat!("pulsegate-client/", env!("CARGO_PKG_VERSION"));

/// A connection to a gateway, for tools: one request at a time. An agent needs only
/// [`Agent`](crate::Agent).
pub struct Connection {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// Why no answer came back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Nobody listens there, or TLS was not agreed on.
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    /// The connection broke off before the answer was whole.
    #[error("the exchange broke off: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is larger than any of a gateway, or broke off within its body.
    #[error("the answer could not be read: {0}")]
    Body(String),
    /// What was to be sent cannot be put into a request.
    #[error("the request could not be written: {0}")]
    Request(String),
}

impl Connection {
    /// Prepares a connection to the gateway at `url`, such as `http://127.0.0.1:8420`; it is made
    /// with the first request.
    ///
    /// # Errors
    /// [`Error`], when what was given cannot be used.
    pub fn new(url: &str, authorities: Option<&Path>, token: Option<&str>) -> Result<Self, Error> {
        Target::new(url, authorities, token).map(Self::from)
    }

    /// Whether a connection that was there is gone; says so once.
    pub(crate) fn was_lost(&mut self) -> bool {
        self.sender.take_if(|sender| sender.is_closed()).is_some()
    }

    /// Sends one request and waits for the answer, without a limit of time; whoever gives it up
    /// drops the connection with it, so that a late answer cannot meet another request.
    ///
    /// A connection that was kept may turn out to be closed only when it is used; then the same
    /// request is sent once more over a new one. So send only what may arrive twice.
    ///
    /// # Errors
    /// [`LinkError`], when no answer came back.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, LinkError> {
        if let Some(mut kept) = self.sender.take() {
            let request = self.compose(method.clone(), path, body.clone())?;
            if let Ok(answer) = send(&mut kept, request).await {
                self.sender = Some(kept);
                return Ok(answer);
            }
        }
        let request = self.compose(method, path, body)?;
        let mut fresh = self.connect().await?;
        let answer = send(&mut fresh, request).await?;
        self.sender = Some(fresh);
        Ok(answer)
    }

    /// Sends `PUT path` with bytes of this media type over a connection of its own, once: what is
    /// large is not sent again by itself.
    ///
    /// # Errors
    /// [`LinkError`], when no answer came back; it may have been taken.
    pub async fn upload(
        &self,
        path: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Response<Bytes>, LinkError> {
        let mut request = self.compose(Method::PUT, path, body)?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        send(&mut self.connect().await?, request).await
    }

    /// Sends `GET path` over a connection of its own and hands the body over in pieces, however
    /// long it is; that of an answer other than a success comes back with it.
    ///
    /// # Errors
    /// [`LinkError`], when no answer came back, it stopped for longer than `pause`, or a piece was
    /// not taken; then some pieces may have been.
    pub async fn download(
        &self,
        path: &str,
        pause: Duration,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Response<Bytes>, LinkError> {
        let stopped = |_| LinkError::Body(format!("nothing came for {} s", pause.as_secs()));
        let request = self.compose(Method::GET, path, Bytes::new())?;
        let mut sender = self.connect().await?;
        let sent = sender.send_request(request);
        let (head, mut body) = timeout(pause, sent).await.map_err(stopped)??.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| LinkError::Body(error.to_string()))?.to_bytes();
            return Ok(Response::from_parts(head, body));
        }
        while let Some(frame) = timeout(pause, body.frame()).await.map_err(stopped)? {
            if let Ok(piece) = frame?.into_data() {
                take(&piece).map_err(|error| LinkError::Body(error.to_string()))?;
            }
        }
        Ok(Response::from_parts(head, Bytes::new()))
    }

    fn compose(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, LinkError> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        let path = format!("{}{path}", self.target.prefix);
        let uri: Uri = path.parse().map_err(|_| LinkError::Request(format!("path {path}")))?;
        let has_body = !body.is_empty();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.target.authority.clone());
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if has_body {
            headers.insert(header::CONTENT_TYPE, JSON);
        }
        if let Some(token) = &self.target.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        Ok(request)
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

impl From<Target> for Connection {
    fn from(target: Target) -> Self {
        Self { target, sender: None }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.target.host)
            .field("port", &self.target.port)
            .finish_non_exhaustive()
    }
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, LinkError> {
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| LinkError::Body(error.to_string()))?.to_bytes();
    Ok(Response::from_parts(head, body))
}

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
