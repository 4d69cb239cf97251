//! What content is called: `sha256:` and 64 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;

use crate::error::{Error, shown};

/// The SHA-256 of some bytes.
///
/// Registries know other algorithms; none but this one is taken, because a gateway that pins a
/// policy and a signature that names one must mean the same bytes.
///
/// Source: OCI image specification 1.1, "Digests".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hashed = digest::digest(&digest::SHA256, bytes);
        let mut all = [0; 32];
        all.copy_from_slice(hashed.as_ref());
        Self(all)
    }

    /// The 64 digits, without the name of the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// # Errors
    /// [`Error::BadDigest`], when it is no SHA-256 in lower case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadDigest { digest: shown(text), why };
        let Some(hex) = text.strip_prefix("sha256:") else {
            let is_other = text.contains(':');
            return Err(bad(if is_other { "only sha256 is taken" } else { "it names no sha256" }));
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 64 || !hex.bytes().all(is_hex) {
            return Err(bad("it must be 64 hexadecimal digits in lower case"));
        }
        let mut all = [0; 32];
        for (byte, at) in all.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16)
                .map_err(|_| bad("it must be 64 hexadecimal digits in lower case"))?;
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one_and_reads_back() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn other_algorithms_and_other_lengths_are_refused() {
        let long = "0".repeat(128);
        for (text, why) in [
            (format!("sha512:{long}"), "only sha256"),
            ("e3b0".to_owned(), "names no sha256"),
            (EMPTY.to_uppercase().replace("SHA256", "sha256"), "lower case"),
            (format!("{EMPTY}0"), "64 hexadecimal"),
            ("sha256:../../../etc/passwd".to_owned(), "64 hexadecimal"),
            (format!("sha256:{}", "ä".repeat(32)), "64 hexadecimal"),
        ] {
            let error = text.parse::<Digest>().unwrap_err();
            assert!(matches!(error, Error::BadDigest { .. }));
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
