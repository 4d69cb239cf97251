//! Where a gateway is, and how it is spoken to.

use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::Error;

/// An address that can be used.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Path in front of the gateway's own, without a slash at its end.
    pub(crate) prefix: String,
    pub(crate) authority: HeaderValue,
    pub(crate) token: Option<HeaderValue>,
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
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { host, port, tls, prefix, authority, token })
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
        assert_eq!(target.prefix, "/pulse");
        let target = Target::new("http://gateway", None, None).expect("fits");
        assert_eq!((target.port, target.prefix.as_str()), (80, ""));
        assert!(matches!(Target::new("http://h", None, Some("a\nb")), Err(Error::Token)));
    }
}
