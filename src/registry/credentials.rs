//! Who asks a registry: what `docker login` and its like wrote, and what is given besides.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::Error;

/// Largest file of credentials, in bytes. Source: chosen; a hundred registries fit into 64 KiB.
pub const CREDENTIALS_BYTES: u64 = 1024 * 1024;

/// User names and passwords by registry. Never shown, not by `Debug` either.
#[derive(Clone, Default)]
pub struct Credentials {
    entries: BTreeMap<String, Entry>,
    /// Whether all others are in the hands of a helper.
    helper: bool,
}

/// What is known for one registry.
#[derive(Clone)]
pub(crate) enum Entry {
    /// A user and a password.
    Basic {
        /// `USER:PASSWORD` in base64, as the header carries it.
        encoded: String,
    },
    /// They are somewhere where they are not looked for; a text for people.
    Elsewhere(&'static str),
}

const HELPER: &str = "its credentials are with a credential helper, which is not asked; put them \
                      into `auths` of a file of their own";
const IDENTITY: &str = "its credentials are an identity token, which is not understood; use a \
                        user and a password";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

impl Credentials {
    /// Reads a file of the form of Docker's `config.json`, which podman and Kubernetes write as
    /// well: `{"auths": {"HOST": {"auth": "base64 of USER:PASSWORD"}}}`.
    ///
    /// # Errors
    /// [`Error::Option`], when it is no such file. No part of its content is in the error.
    pub fn from_docker_config(json: &[u8]) -> Result<Self, Error> {
        let bad = |why: String| Error::Option { option: "the file of credentials", why };
        // The message of the parser could quote a secret: line and column must do.
        let file: File = serde_json::from_slice(json).map_err(|error| {
            bad(format!("line {}, column {} is not as expected", error.line(), error.column()))
        })?;
        let mut credentials =
            Self { entries: BTreeMap::new(), helper: file.store.is_some_and(|s| !s.is_empty()) };
        for host in file.helpers.into_keys() {
            credentials.entries.insert(bare(&host), Entry::Elsewhere(HELPER));
        }
        for (key, auth) in file.auths {
            let host = bare(&key);
            let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            let encoded = match (given(&auth.auth), given(&auth.username), given(&auth.password)) {
                (Some(encoded), _, _) => encoded,
                (None, Some(user), Some(password)) => STANDARD.encode(format!("{user}:{password}")),
                _ => {
                    // What `docker login` leaves where a helper has the rest.
                    if given(&auth.identitytoken).is_some() {
                        credentials.entries.insert(host, Entry::Elsewhere(IDENTITY));
                    }
                    continue;
                }
            };
            let decoded = STANDARD.decode(encoded.trim()).ok();
            if !decoded.is_some_and(|pair| pair.contains(&b':')) {
                return Err(bad(format!("the auth of {host} is not base64 of USER:PASSWORD")));
            }
            let entry = if given(&auth.identitytoken).is_some() {
                Entry::Elsewhere(IDENTITY)
            } else {
                Entry::Basic { encoded: encoded.trim().to_owned() }
            };
            credentials.entries.insert(host, entry);
        }
        Ok(credentials)
    }

    /// Adds a user and a password of one registry, in place of what was known of it.
    #[must_use]
    pub fn with(mut self, host: &str, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.entries.insert(bare(host), Entry::Basic { encoded });
        self
    }

    pub(crate) fn find(&self, authority: &str) -> Option<Entry> {
        let found = self.entries.get(&bare(authority)).cloned();
        found.or_else(|| self.helper.then_some(Entry::Elsewhere(HELPER)))
    }
}

/// A key of `auths` as host and port: some tools write URLs, and Docker Hub has a name of its own.
fn bare(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = key.split('/').next().unwrap_or(key).to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host,
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(credentials: &Credentials, host: &str) -> Option<String> {
        match credentials.find(host)? {
            Entry::Basic { encoded } => {
                Some(String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
            }
            Entry::Elsewhere(why) => Some(why.to_owned()),
        }
    }

    #[test]
    fn what_docker_podman_and_kubernetes_write_is_understood() {
        let json = br#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YWRhOmxvdmU="},
            "registry.example:5000": {"username": "bob", "password": "p:w"},
            "empty.example": {},
            "azure.example": {"auth": "MDo=", "identitytoken": "ey"}
        }, "credHelpers": {"ecr.example": "ecr-login"}, "HttpHeaders": {}}"#;
        let credentials = Credentials::from_docker_config(json).unwrap();
        assert_eq!(basic(&credentials, "docker.io").as_deref(), Some("ada:love"));
        assert_eq!(basic(&credentials, "Registry.example:5000").as_deref(), Some("bob:p:w"));
        assert_eq!(basic(&credentials, "registry.example"), None, "the port is part of the name");
        assert_eq!(basic(&credentials, "empty.example"), None);
        assert_eq!(basic(&credentials, "azure.example").as_deref(), Some(IDENTITY));
        assert_eq!(basic(&credentials, "ecr.example").as_deref(), Some(HELPER));
        let stored = Credentials::from_docker_config(br#"{"credsStore": "desktop"}"#).unwrap();
        assert_eq!(basic(&stored, "anywhere.example").as_deref(), Some(HELPER));
        let own = stored.with("anywhere.example", "eve", "x");
        assert_eq!(basic(&own, "anywhere.example").as_deref(), Some("eve:x"));
    }

    #[test]
    fn a_wrong_file_is_refused_without_a_secret_in_the_error() {
        for json in [
            &br#"{"auths": {"h": {"auth": "c2VjcmV0"}}}"#[..],
            br#"{"auths": {"h": {"auth": "!secret"}}}"#,
            br#"{"auths": {"h": "secret"}}"#,
            b"secret",
        ] {
            let error = Credentials::from_docker_config(json).unwrap_err();
            assert!(matches!(error, Error::Option { .. }));
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let shown = format!("{:?}", Credentials::default().with("h", "u", "secret"));
        assert_eq!(shown, r#"["h"]"#);
    }
}
