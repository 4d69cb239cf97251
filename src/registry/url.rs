//! Addresses within one exchange: where to connect, and what may be followed.

use http::Uri;

use crate::reference::is_loopback;

/// An address of HTTP, without a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, beginning with a slash.
    pub(crate) path: String,
}

impl Url {
    /// Reads an absolute address.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "it is no address")?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is neither http nor https"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it carries a user");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("it names no host");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        Ok(Self {
            secure,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path,
        })
    }

    /// What a `Location` names, seen from here: an address, or a path on this host.
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        if location.starts_with('/') && !location.starts_with("//") {
            let uri: Uri = location.parse().map_err(|_| "it is no path")?;
            let path = uri.path_and_query().ok_or("it is no path")?.as_str().to_owned();
            return Ok(Self { path, ..self.clone() });
        }
        Self::parse(location)
    }

    /// Host and port, as they stand in a `Host` header; the port only where it is not the usual.
    pub(crate) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether two addresses are the same program on the same machine, as credentials see it.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// Whether credentials of this registry may go to `realm`: to the registry's own host, or
    /// within the domain that the registry's host stands in, as `auth.docker.io` for
    /// `registry-1.docker.io` or `gitlab.com` for `registry.gitlab.com`.
    pub(crate) fn owns(&self, realm: &Self) -> bool {
        if self.host == realm.host {
            return true;
        }
        let is_address = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
        if is_address(&self.host) || is_address(&realm.host) || is_loopback(&realm.host) {
            return false;
        }
        let within = |domain: &str| {
            realm.host == domain
                || realm.host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        };
        // A domain of one word, such as `com` or `local`, belongs to nobody in particular.
        let parent = self.host.split_once('.').map(|(_, parent)| parent);
        within(&self.host) || parent.is_some_and(|parent| parent.contains('.') && within(parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn locations_are_addresses_or_paths_on_the_same_host() {
        let base = url("http://127.0.0.1:5000/v2/a/blobs/uploads/");
        let joined = base.join("/v2/a/blobs/uploads/7?_state=x%3D").unwrap();
        assert_eq!(joined.path, "/v2/a/blobs/uploads/7?_state=x%3D");
        assert!(joined.is_same_origin(&base));
        let away = base.join("https://CDN.example/x?y").unwrap();
        assert_eq!((away.authority().as_str(), away.path.as_str()), ("cdn.example", "/x?y"));
        assert_eq!(url("https://h?x=1").path, "/?x=1");
        assert_eq!(url("https://[::1]:5000/a").authority(), "[::1]:5000");
        for text in ["//evil/x", "x", "../x", "ftp://h/x", "http://u:p@h/x", "", "http:///x"] {
            assert!(base.join(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_stay_in_the_domain_of_their_registry() {
        for (registry, realm, owns) in [
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("ghcr.io", "ghcr.io", true),
            ("ghcr.io", "auth.ghcr.io", true),
            ("ghcr.io", "evil.io", false),
            ("registry.docker.io", "evildocker.io", false),
            ("registry.docker.io", "docker.io.evil.example", false),
            ("registry.example.com", "127.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "20.0.0.1", false),
            ("registry.local", "other.local", false),
        ] {
            let (from, to) = (url(&format!("https://{registry}/")), format!("https://{realm}/t"));
            assert_eq!(from.owns(&url(&to)), owns, "{registry} {realm}");
        }
    }
}
