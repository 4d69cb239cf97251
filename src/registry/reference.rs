//! Names of policies in registries: `oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, shown};

/// How every reference begins.
pub const SCHEME: &str = "oci://";
/// Longest repository with its host, in bytes. Source: OCI distribution specification 1.1,
/// "Pulling manifests": many clients allow 255 for both together.
const NAME_BYTES: usize = 255;
/// Longest tag, in bytes. Source: the same, "a tag".
const TAG_BYTES: usize = 128;

/// A place in a registry: a repository, and a tag or a digest in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    host: String,
    port: Option<u16>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A reference that names bytes and not only a place: what a gateway may load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    reference: Reference,
    digest: Digest,
}

impl Reference {
    /// The registry's host; a literal address of IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The registry's port, where one is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port, as they stand in the reference.
    #[must_use]
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The repository, such as `team/policies/busy-bees`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where one is given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one is given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The last word of the repository: what people call the policy.
    #[must_use]
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// The same place, with the bytes that it names from now on.
    #[must_use]
    pub fn pin(&self, digest: Digest) -> Pinned {
        Pinned { reference: Self { digest: Some(digest), ..self.clone() }, digest }
    }

    /// Takes a reference that has a digest.
    ///
    /// # Errors
    /// [`Error::NotPinned`], when it has none.
    pub fn pinned(&self) -> Result<Pinned, Error> {
        match self.digest {
            Some(digest) => Ok(self.pin(digest)),
            None => Err(Error::NotPinned { reference: self.to_string() }),
        }
    }

    /// What the manifest is asked for by: the digest where there is one, else the tag, else
    /// `latest`.
    pub(crate) fn name_of_manifest(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Pinned {
    /// The whole reference.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digest of the manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.authority(), self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reference, f)
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// # Errors
    /// [`Error::Reference`] or [`Error::BadDigest`], when it cannot be one.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::Reference { reference: shown(text), why };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| bad("it must begin with oci://"))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (authority, path) = rest
            .split_once('/')
            .ok_or_else(|| bad("it must name a registry and a repository in it"))?;
        let (host, port) = host_and_port(authority).map_err(bad)?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if authority.len() + 1 + repository.len() > NAME_BYTES {
            return Err(bad("registry and repository together must be at most 255 bytes"));
        }
        if !repository.split('/').all(is_component) {
            return Err(bad("the repository must be words of a-z and 0-9, with . _ - within, \
                            separated by /"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("the tag must be 1 to 128 of letters, digits and . _ -, and begin \
                            with none of . -"));
        }
        Ok(Self {
            host,
            port,
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    const HOST: &str = "the registry must be a host name or an IP address, with an optional port";
    const PORT: &str = "the port must be from 1 to 65535";
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(HOST)?;
            let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')) };
            match (is_address, port) {
                (true, None) => (host, None),
                (true, Some(Some(port))) => (host, Some(port)),
                _ => return Err(HOST),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !authority.starts_with('[') && !host.split('.').all(is_label) {
        return Err(HOST);
    }
    let port = match port {
        None => None,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(PORT)?)
        }
        Some(_) => return Err(PORT),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// One word of a repository: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
///
/// Source: OCI distribution specification 1.1, "Pulling manifests".
fn is_component(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = word.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let ends = is_plain(*first) && is_plain(*last);
    let within = word.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let separators =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    ends && within.into_iter().all(separators)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. Source: the same.
fn is_tag(tag: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TAG_BYTES).contains(&tag.len()) && tag.bytes().all(allowed) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_part_of_a_reference_is_understood_and_shown_again() {
        for text in [
            format!("oci://ghcr.io/team/policies/busy-bees:1.2@{DIGEST}"),
            format!("oci://[::1]:5000/bees@{DIGEST}"),
            "oci://localhost:5000/a__b/c-d.e".to_owned(),
            "oci://127.0.0.1/bees:V_1.0-x".to_owned(),
        ] {
            assert_eq!(read(&text).to_string(), text);
        }
        let one = read(&format!("oci://Ghcr.IO:443/team/bees:1@{DIGEST}"));
        assert_eq!((one.host(), one.port(), one.repository()), ("ghcr.io", Some(443), "team/bees"));
        assert_eq!((one.tag(), one.name()), (Some("1"), "bees"));
        assert_eq!(one.pinned().unwrap().digest(), Digest::of(b""));
        assert_eq!(one.name_of_manifest(), DIGEST);
        assert_eq!(read("oci://h/bees").name_of_manifest(), "latest");
    }

    #[test]
    fn a_reference_without_a_digest_is_not_loaded_and_says_why() {
        let error = read("oci://ghcr.io/team/bees:1.2").pinned().unwrap_err();
        assert!(matches!(error, Error::NotPinned { .. }));
        let text = error.to_string();
        assert!(text.contains("a tag can be moved"), "{text}");
        assert!(text.contains("pulsegate policy pull oci://ghcr.io/team/bees:1.2"), "{text}");
    }

    #[test]
    fn what_is_no_reference_says_why() {
        for (text, why) in [
            ("ghcr.io/team/bees", "oci://"),
            ("docker://ghcr.io/team/bees", "oci://"),
            ("oci://ghcr.io", "a registry and a repository"),
            ("oci:///bees", "the registry must"),
            ("oci://user:secret@ghcr.io/bees", "names no sha256"),
            ("oci://-x/bees", "the registry must"),
            ("oci://h:0/bees", "the port"),
            ("oci://h:65536/bees", "the port"),
            ("oci://h:+1/bees", "the port"),
            ("oci://[::1/bees", "the registry must"),
            ("oci://[::1]5000/bees", "the registry must"),
            ("oci://[fe80::1%eth0]/bees", "the registry must"),
            ("oci://h/../../etc/passwd", "the repository"),
            ("oci://h/a//b", "the repository"),
            ("oci://h/a/", "the repository"),
            ("oci://h/Bees", "the repository"),
            ("oci://h/a.-b", "the repository"),
            ("oci://h/a___b", "the repository"),
            ("oci://h/a%2fb", "the repository"),
            ("oci://h/a?b", "the repository"),
            ("oci://h/a b", "the repository"),
            ("oci://h/a\r\nx: y", "the repository"),
            ("oci://h/bees:", "the tag"),
            ("oci://h/bees:../x", "the tag"),
            ("oci://h/bees:-x", "the tag"),
            ("oci://h/bees@sha512:00", "only sha256"),
            ("oci://h/bees@", "names no sha256"),
        ] {
            let error = text.parse::<Reference>().map(|read| read.to_string()).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        let long = format!("oci://h/{}", "a".repeat(254));
        assert!(long.parse::<Reference>().unwrap_err().to_string().contains("255 bytes"));
        let tag = format!("oci://h/a:{}", "t".repeat(129));
        assert!(tag.parse::<Reference>().unwrap_err().to_string().contains("the tag"));
    }
}
