//! Asking one registry on behalf of one operation: redirects, credentials, what went wrong.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::challenge::{self, Challenge};
use crate::client::Client;
use crate::credentials::Entry;
use crate::error::{Error, shown};
use crate::link::{self, Answer, Call};
use crate::reference::Reference;
use crate::url::Url;

/// Most redirects of one request. Source: chosen; registries send to their store of blobs, which
/// is one, and some of those on to the next region.
const REDIRECTS: usize = 5;
/// Largest answer of a realm, in bytes. Source: chosen; tokens have below 16 KiB.
const TOKEN_BYTES: u64 = 256 * 1024;

/// What an operation may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// One registry, asked for one repository.
pub(crate) struct Session<'c> {
    client: &'c Client,
    base: Url,
    repository: String,
    access: Access,
    /// What proves who asks; only ever sent to the registry itself.
    authorization: Option<HeaderValue>,
}

impl<'c> Session<'c> {
    pub(crate) fn new(client: &'c Client, reference: &Reference, access: Access) -> Self {
        Self {
            client,
            base: client.base(reference),
            repository: reference.repository().to_owned(),
            access,
            authorization: None,
        }
    }

    /// Host and port, for errors.
    pub(crate) fn host(&self) -> String {
        self.base.authority()
    }

    /// `/v2/REPOSITORY/REST` of the registry.
    pub(crate) fn url(&self, rest: &str) -> Url {
        Url { path: format!("/v2/{}/{rest}", self.repository), ..self.base.clone() }
    }

    /// An address that the registry named, if it may be spoken to.
    pub(crate) fn located(&self, answer: &Answer) -> Result<Url, Error> {
        let refused = |why: String| Error::Redirect { host: answer.from.authority(), why };
        let location = answer
            .header(header::LOCATION)
            .ok_or_else(|| refused("it does not say where to".to_owned()))?;
        let url = answer
            .from
            .join(location)
            .map_err(|why| refused(format!("{}: {why}", shown(location))))?;
        if !self.may_be_spoken_to(&url) {
            let why = format!("{} is without TLS", url.authority());
            return Err(refused(why));
        }
        Ok(url)
    }

    /// A registry with TLS sends nobody to where there is none, which on loopback would be programs
    /// that trust whoever is on this machine.
    fn may_be_spoken_to(&self, url: &Url) -> bool {
        url.secure || (!self.base.secure && self.client.may_be_plain(url))
    }

    /// Sends a request, proves who asks where that is asked for, and hands back a success.
    pub(crate) async fn send(&mut self, what: &str, call: Call) -> Result<Answer, Error> {
        let answer = self.send_any(what, call).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(complaint(what, &answer))
    }

    /// The same, whatever the answer is.
    pub(crate) async fn send_any(&mut self, what: &str, call: Call) -> Result<Answer, Error> {
        let answer = self.follow(call.clone()).await?;
        let is_own = answer.from.is_same_origin(&self.base);
        if answer.status != StatusCode::UNAUTHORIZED || !is_own || self.authorization.is_some() {
            return Ok(answer);
        }
        self.authorization = Some(self.authorize(what, &answer).await?);
        self.follow(call).await
    }

    async fn follow(&self, mut call: Call) -> Result<Answer, Error> {
        for _ in 0..=REDIRECTS {
            call.headers.remove(header::AUTHORIZATION);
            if call.url.is_same_origin(&self.base)
                && let Some(authorization) = &self.authorization
            {
                call.headers.insert(header::AUTHORIZATION, authorization.clone());
            }
            let answer = link::exchange(&self.client.tls, &call).await?;
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            if ![Method::GET, Method::HEAD].contains(&call.method) {
                let why = format!("a {} is sent where it was meant for", call.method);
                return Err(Error::Redirect { host: answer.from.authority(), why });
            }
            call.url = self.located(&answer)?;
        }
        let why = format!("{REDIRECTS} times is enough");
        Err(Error::Redirect { host: self.host(), why })
    }

    /// What to answer a challenge with.
    async fn authorize(&self, what: &str, answer: &Answer) -> Result<HeaderValue, Error> {
        let headers = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> =
            headers.filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect();
        let known = self.client.credentials.find(&self.client.name_of(&self.base));
        let find = |scheme| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            return self.token(what, bearer, known).await;
        }
        if find("basic").is_some() {
            return match known {
                Some(Entry::Basic { encoded }) => secret(&format!("Basic {encoded}"))
                    .ok_or_else(|| self.unauthorized(what, "its credentials fit no header")),
                Some(Entry::Elsewhere(why)) => Err(self.unauthorized(what, why)),
                None => Err(self.unauthorized(what, NO_CREDENTIALS)),
            };
        }
        let schemes: Vec<&str> = challenges.iter().map(|one| one.scheme.as_str()).collect();
        let why = match schemes.is_empty() {
            true => "it answers 401 and does not say what it wants".to_owned(),
            false => format!("known are bearer and basic, not {}", shown(&schemes.join(", "))),
        };
        Err(Error::Challenge { host: self.host(), why })
    }

    /// Asks a realm for a token. Source: Docker registry, "Token Authentication Specification".
    async fn token(
        &self,
        what: &str,
        bearer: &Challenge,
        known: Option<Entry>,
    ) -> Result<HeaderValue, Error> {
        let challenge = |why: String| Error::Challenge { host: self.host(), why };
        let realm = bearer.params.get("realm");
        let realm = realm.ok_or_else(|| challenge("it names no realm".to_owned()))?;
        let mut url = Url::parse(realm)
            .map_err(|why| challenge(format!("the realm {}: {why}", shown(realm))))?;
        if !self.may_be_spoken_to(&url) {
            let why = format!("the realm {} is without TLS", shown(realm));
            return Err(challenge(why));
        }
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.repository);
        let separator = if url.path.contains('?') { '&' } else { '?' };
        url.path = format!("{}{separator}scope={}", url.path, encoded(&scope));
        if let Some(service) = bearer.params.get("service") {
            url.path = format!("{}&service={}", url.path, encoded(service));
        }
        let mut call = Call::get(url.clone(), TOKEN_BYTES);
        let hint = match known {
            Some(Entry::Basic { encoded }) => {
                if !self.base.owns(&url) {
                    let realm = url.authority();
                    return Err(Error::ForeignRealm { host: self.host(), realm });
                }
                let basic = secret(&format!("Basic {encoded}"));
                let basic = basic
                    .ok_or_else(|| self.unauthorized(what, "its credentials fit no header"))?;
                call = call.with(header::AUTHORIZATION, basic);
                "its credentials were not accepted"
            }
            Some(Entry::Elsewhere(why)) => why,
            None => NO_CREDENTIALS,
        };
        let answer = link::exchange(&self.client.tls, &call).await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.unauthorized(what, hint));
            }
            status if status.is_redirection() => {
                return Err(challenge("its realm redirects, and nobody goes there".to_owned()));
            }
            _ => return Err(complaint("the request for a token", &answer)),
        }
        let token = token_in(&answer.body)
            .and_then(|token| secret(&format!("Bearer {token}")))
            .ok_or_else(|| challenge("its realm answers without a token".to_owned()))?;
        Ok(token)
    }

    fn unauthorized(&self, what: &str, why: &str) -> Error {
        Error::Unauthorized { host: self.host(), what: what.to_owned(), why: why.to_owned() }
    }
}

const NO_CREDENTIALS: &str = "there are no credentials for it";

fn token_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Token {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        access_token: Option<String>,
    }
    let token: Token = serde_json::from_slice(body).ok()?;
    token.token.or(token.access_token).filter(|token| !token.is_empty())
}

/// A header that no log shows; `None` for what fits into none.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A text as it stands in a query. Source: RFC 3986, section 2.3.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What an answer other than a success means.
pub(crate) fn complaint(what: &str, answer: &Answer) -> Error {
    let host = answer.from.authority();
    let what = what.to_owned();
    let detail = details(&answer.body);
    match answer.status {
        StatusCode::NOT_FOUND => Error::NotFound { host, what },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let status = answer.status.as_u16();
            Error::Unauthorized { host, what, why: format!("it answers {status}{detail}") }
        }
        status => Error::Status { host, status: status.as_u16(), what, detail },
    }
}

/// What a registry says about an error: its codes and messages, or nothing.
fn details(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return String::new() };
    let all: Vec<String> =
        body.errors.iter().map(|one| format!("{} {}", one.code, one.message)).collect();
    if all.is_empty() { String::new() } else { format!(": {}", shown(all.join(", ").trim())) }
}

/// Ends an operation that takes too long.
pub(crate) async fn within<T>(
    limit: Duration,
    host: String,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::TimedOut { host, after: limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("repository:a/b:pull,push"), "repository%3Aa%2Fb%3Apull%2Cpush");
    }

    #[test]
    fn what_a_registry_says_is_shown_in_short() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\n"},{"code":"X"}]}"#;
        assert_eq!(details(body), ": DENIED no\u{fffd}, X");
        for body in [&b"<html>"[..], b"{}", br#"{"errors":[]}"#, br#"{"errors":"x"}"#] {
            assert_eq!(details(body), "");
        }
    }
}
