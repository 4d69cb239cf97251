//! TLS: one certificate for all transports, which can be replaced while the gateway runs.
//!
//! TCP speaks TLS 1.2 and 1.3, with HTTP/2 or HTTP/1.1 by ALPN; QUIC speaks TLS 1.3 only.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Certificate;

/// Name of HTTP/3 in the handshake (RFC 9114 §3.1).
pub(super) const ALPN_H3: &[u8] = b"h3";

/// Sessions that clients of QUIC can come back to without a round trip; the oldest gives way.
/// Larger: more clients of a large fleet find theirs; smaller: less memory, at about 0.5 KiB each.
/// Source: chosen, 8 MiB.
const SESSIONS: usize = 16_384;

/// Tickets for each handshake. An agent opens one connection at a time and gets another ticket
/// with it. Source: chosen, the smallest that works; rustls gives two by default.
const TICKETS: usize = 1;

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
    /// QUIC cannot be served with what the cryptography offers.
    #[error("QUIC cannot be encrypted")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// The certificate in use; every handshake takes the newest.
#[derive(Debug)]
pub struct Certificates {
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    /// What the keys of stateless resets are made from: fixed at the start, because connections
    /// that are open were told their reset tokens.
    secret: ResetSecret,
}

/// Secret of the gateway that survives a restart with the same private key.
struct ResetSecret(aws_lc_rs::hmac::Key);

impl Certificates {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It says what is wrong with the certificate.
    pub fn load(certificate: &Certificate) -> Result<Arc<Self>, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (chain, key) = read(certificate)?;
        let secret = ResetSecret::of(&key);
        let current = CertifiedKey::from_der(chain, key, &provider)?;
        Ok(Arc::new(Self { provider, current: ArcSwap::from_pointee(current), secret }))
    }

    /// Takes another certificate for all handshakes from now on; connections that are open keep
    /// theirs.
    ///
    /// # Errors
    /// It says what is wrong; the certificate in use stays.
    pub fn replace(&self, certificate: &Certificate) -> Result<(), Error> {
        let (chain, key) = read(certificate)?;
        let new = CertifiedKey::from_der(chain, key, &self.provider)?;
        self.current.store(Arc::new(new));
        Ok(())
    }

    /// What encrypts connections of TCP.
    ///
    /// # Errors
    /// The cryptography does not offer what is asked for.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// What encrypts connections of QUIC: with early data, whose sessions can be used once.
    pub(super) fn quic(self: &Arc<Self>) -> Result<quinn::crypto::rustls::QuicServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![pulsegate_wire::ALPN.into(), ALPN_H3.to_vec()];
        // QUIC has its own limit and allows only all or nothing here (RFC 9001 §4.6.1).
        config.max_early_data_size = u32::MAX;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        config.send_tls13_tickets = TICKETS;
        Ok(config.try_into()?)
    }

    /// Key bytes for one purpose, the same after a restart with the same private key.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let tag = aws_lc_rs::hmac::sign(&self.secret.0, purpose.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&tag.as_ref()[..32]);
        bytes
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl ResetSecret {
    fn of(key: &PrivateKeyDer<'_>) -> Self {
        Self(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.secret_der()))
    }
}

impl std::fmt::Debug for ResetSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResetSecret(hidden)")
    }
}

/// When the files of a certificate were written last; `None` where it has none, or one cannot be
/// looked at.
#[must_use]
pub fn written_at(certificate: &Certificate) -> Option<[SystemTime; 2]> {
    let Certificate::Files { cert, key } = certificate else { return None };
    let at = |file: &Path| file.metadata().and_then(|meta| meta.modified()).ok();
    Some([at(cert)?, at(key)?])
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(certificate: &Certificate) -> Result<Identity, Error> {
    let Certificate::Files { cert, key } = certificate else { return development() };
    let pem = |file: &Path| {
        let file = file.display().to_string();
        move |source| Error::Pem { file, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(cert))?;
    Ok((chain, PrivateKeyDer::from_pem_file(key).map_err(pem(key))?))
}

/// A certificate for this machine that nobody but a developer trusts.
fn development() -> Result<Identity, Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_for_resets_follow_from_the_private_key_and_differ_by_purpose() {
        let (_, key) = development().unwrap();
        let secret = |key: &PrivateKeyDer<'_>| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let (chain, other) = development().unwrap();
            let current = CertifiedKey::from_der(chain, other, &provider).unwrap();
            let current = ArcSwap::from_pointee(current);
            Certificates { provider, current, secret: ResetSecret::of(key) }
        };
        let (before, after) = (secret(&key), secret(&key));
        assert_eq!(before.derive("a"), after.derive("a"), "a restart with the same key");
        assert_ne!(before.derive("a"), before.derive("b"));
        let (_, another) = development().unwrap();
        assert_ne!(before.derive("a"), secret(&another).derive("a"));
        assert!(!format!("{before:?}").contains("hmac"));
    }
}
