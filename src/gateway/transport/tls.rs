//! TLS 1.2 and 1.3, with HTTP/2 or HTTP/1.1 by ALPN.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Certificate;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{file} holds no usable PEM")]
    Pem {
        /// The file.
        file: String,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate and the key do not make a server.
    #[error("the certificate cannot be used")]
    Certificate(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no development certificate could be made")]
    Development(#[from] rcgen::Error),
}

/// What encrypts connections with this certificate.
///
/// # Errors
/// It says what is wrong with the certificate.
pub fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, Error> {
    let (chain, key) = match certificate {
        Certificate::Files { cert, key } => {
            let pem = |file: &std::path::Path| {
                let file = file.display().to_string();
                move |source| Error::Pem { file, source }
            };
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(pem(cert))?;
            (chain, PrivateKeyDer::from_pem_file(key).map_err(pem(key))?)
        }
        Certificate::Development => development()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A certificate for this machine that nobody but a developer trusts.
fn development() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}
