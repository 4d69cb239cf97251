//! Asking a running gateway.

use std::path::PathBuf;
use std::time::Duration;

use pulsegate_client::Connection;
use pulsegate_wire::Problem;
use serde::de::DeserializeOwned;

use super::{Exit, Failure, Outcome};

/// Longest time that one question takes. Source: chosen; people wait no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause within a download. Source: chosen; a gateway first writes the copy that it sends,
/// which takes minutes where the journal is large and the disk is slow.
const DOWNLOAD_PAUSE: Duration = Duration::from_secs(600);

/// Longest time that an upload takes. Source: chosen; a gateway answers within 30 s, and goes on
/// with what takes longer.
const UPLOAD: Duration = Duration::from_secs(60);

/// Which gateway to ask, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Gateway {
    /// Address of the gateway, such as https://gateway.example:8420
    #[arg(
        long,
        env = "PULSEGATE_URL",
        default_value = "http://127.0.0.1:8420",
        value_name = "URL"
    )]
    url: String,
    /// File with the bearer token to show, such as /etc/pulsegate/admin.token; none by default
    #[arg(long, env = "PULSEGATE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust; default: those of the web
    #[arg(long, env = "PULSEGATE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A gateway that can be asked.
pub(super) struct Asked {
    url: String,
    connection: Connection,
}

impl Gateway {
    pub(super) fn connect(&self) -> Result<Asked, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error);
        let token = match &self.token_file {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                usage(&format!("the token in {} cannot be read: {error}", path.display()))
            })?),
        };
        let token = token.as_deref().map(str::trim);
        let connection = Connection::new(&self.url, self.ca_file.as_deref(), token)
            .map_err(|error| usage(&error))?;
        Ok(Asked { url: self.url.clone(), connection })
    }
}

impl Asked {
    /// The body of `GET path`.
    pub(super) async fn get(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.request(http::Method::GET, path, Vec::new()).await
    }

    /// The JSON of `GET path`.
    pub(super) async fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let body = self.get(path).await?;
        self.parse(&body)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            let message =
                format!("{} does not answer as a gateway of this version: {error}", self.url);
            Failure::new(Exit::Unavailable, message)
        })
    }

    /// The body of a request that succeeds; a problem becomes the failure's message.
    pub(super) async fn request(
        &mut self,
        method: http::Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let (status, body) = self.exchange(method, path, body, TIMEOUT).await?;
        self.accept(status, &body)?;
        Ok(body)
    }

    /// The body of `PUT path` with bytes of this media type; waits as long as a gateway may take to
    /// look at them.
    pub(super) async fn upload(
        &mut self,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let request = self.connection.upload(path, media_type, body.into());
        let answer = tokio::time::timeout(UPLOAD, request).await;
        let why = match answer {
            Ok(Ok(response)) => {
                self.accept(response.status(), response.body())?;
                return Ok(response.into_body().to_vec());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it takes longer than {} s", UPLOAD.as_secs()),
        };
        Err(Failure::new(Exit::Unavailable, format!("no answer from {}: {why}", self.url)))
    }

    /// What `GET path` is answered with, whatever it is, within this time.
    pub(super) async fn ask(
        &mut self,
        path: &str,
        patience: Duration,
    ) -> Result<(http::StatusCode, Vec<u8>), Failure> {
        self.exchange(http::Method::GET, path, Vec::new(), patience).await
    }

    /// An answer that is a problem is a failure, with a message for people.
    pub(super) fn accept(&self, status: http::StatusCode, body: &[u8]) -> Outcome {
        if status.is_success() {
            return Ok(());
        }
        let problem: Option<Problem> = serde_json::from_slice(body).ok();
        Err(Failure::new(Exit::Refused, describe(status, problem)))
    }

    /// Hands the body of `GET path` over in pieces, however long it is.
    pub(super) async fn download(
        &mut self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Outcome {
        let answer = self.connection.download(path, DOWNLOAD_PAUSE, &mut take).await;
        let response = answer.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("no answer from {}: {error}", self.url))
        })?;
        self.accept(response.status(), response.body())
    }

    async fn exchange(
        &mut self,
        method: http::Method,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(http::StatusCode, Vec<u8>), Failure> {
        let unreachable = |url: &str, why: &dyn std::fmt::Display| {
            Failure::new(Exit::Unavailable, format!("no answer from {url}: {why}"))
        };
        let request = self.connection.request(method, path, body.into());
        let late = || format!("it takes longer than {} s", patience.as_secs());
        let response = tokio::time::timeout(patience, request)
            .await
            .map_err(|_| unreachable(&self.url, &late()))?
            .map_err(|error| unreachable(&self.url, &error))?;
        Ok((response.status(), response.into_body().to_vec()))
    }
}

fn describe(status: http::StatusCode, problem: Option<Problem>) -> String {
    let Some(problem) = problem.filter(|problem| !problem.title.is_empty()) else {
        return format!("the gateway answered {status}");
    };
    let mut text = format!("{} ({})", problem.title, problem.code);
    if let Some(field) = &problem.field {
        text.push_str(&format!(": {field}"));
    }
    if !problem.detail.is_empty() {
        text.push_str(&format!(": {}", problem.detail));
    }
    if let Some(limit) = problem.limit {
        text.push_str(&format!(" (limit {limit})"));
    }
    if let Some(after) = problem.retry_after_ms {
        text.push_str(&format!("; try again in {}", super::text::duration(after)));
    }
    text
}

/// A text as part of a path or of a query: everything but unreserved characters is escaped.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_one_sentence() {
        let problem = Problem::on_field("metrics.cpu_percent", "must be from 0 to 100");
        let text =
            describe(http::StatusCode::UNPROCESSABLE_ENTITY, Some(problem.with_limit(100.0)));
        assert_eq!(
            text,
            "a field has a value that it must not have (field_invalid): metrics.cpu_percent: must \
             be from 0 to 100 (limit 100)"
        );
        let text = describe(http::StatusCode::BAD_GATEWAY, None);
        assert_eq!(text, "the gateway answered 502 Bad Gateway");
    }

    #[test]
    fn what_a_path_cannot_carry_is_escaped() {
        assert_eq!(escape("a:b/c d@é"), "a%3Ab%2Fc%20d%40%C3%A9");
    }
}
