//! Policies that are not on this machine, and whom to believe them.
//!
//! Reading a configuration stays a plain function: who brings policies comes in as a [`Fetch`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pulsegate_registry::{KEY_FILE_BYTES, Keys, Pinned, Reference, SIGNATURE_FILE_BYTES};

use super::options::{PolicyRegistry, PolicyTrust, Signed};
use super::policies::PolicySource;
use super::read::bounded;
use super::table::Table;

/// Brings policies from registries.
pub trait Fetch {
    /// Brings all of them, in this order; an error is a text for people.
    fn fetch(&self, wanted: &Wanted<'_>) -> Vec<Result<Brought, String>>;
}

/// Policies that a configuration names.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Each with the name of its entry.
    pub policies: &'a [(String, Pinned)],
    /// Who must have signed them; `None` where nobody must.
    pub keys: Option<&'a Keys>,
    /// How registries are spoken to; paths begin at the file's directory already.
    pub options: &'a PolicyRegistry,
    /// The directory of the journal, where the configuration names one.
    pub data_dir: Option<&'a Path>,
    /// Whether nothing is to be kept over a restart.
    pub ephemeral: bool,
}

/// A policy that was brought.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The component; empty where it was only looked for.
    pub bytes: Arc<[u8]>,
    /// Where it came from and whether it was signed, for people.
    pub origin: String,
}

/// Brings nothing: for whoever reads a configuration and runs no policy of it. A gateway that is
/// started with such a one refuses the empty component.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

impl Fetch for Nowhere {
    fn fetch(&self, wanted: &Wanted<'_>) -> Vec<Result<Brought, String>> {
        let each = wanted.policies.iter();
        each.map(|(_, pinned)| {
            Ok(Brought { bytes: Arc::default(), origin: format!("{pinned} (not pulled)") })
        })
        .collect()
    }
}

/// What the entries of one configuration have in common.
pub(super) struct Remote<'a> {
    pub(super) directory: &'a Path,
    pub(super) fetch: &'a dyn Fetch,
    pub(super) options: PolicyRegistry,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) ephemeral: bool,
    keys: Option<Keys>,
    require: Signed,
    /// Index of each entry that is to be brought, and what it names.
    wanted: Vec<(usize, String, Pinned)>,
}

impl<'a> Remote<'a> {
    /// Reads whom to believe and how to speak to registries.
    pub(super) fn read(
        root: &mut Table<'_, '_>,
        directory: &'a Path,
        fetch: &'a dyn Fetch,
    ) -> (Self, PolicyTrust) {
        let trust = root.section("policy_trust", PolicyTrust::default());
        let mut options = root.section("policy_registry", PolicyRegistry::default());
        let paths = [&mut options.store_dir, &mut options.ca_file, &mut options.credentials_file];
        for path in paths.into_iter().flatten() {
            *path = directory.join(&*path);
        }
        let keys = trust.public_key_file.as_ref().and_then(|file| {
            let path = directory.join(file);
            read_keys(&path).map_err(|why| root.problem("policy_trust.public_key_file", why)).ok()
        });
        if trust.require == Signed::All && trust.public_key_file.is_none() {
            root.problem("policy_trust.require", "needs public_key_file: whose signature?");
        }
        let require = trust.require;
        let remote = Self {
            directory,
            fetch,
            options,
            data_dir: None,
            ephemeral: false,
            keys,
            require,
            wanted: Vec::new(),
        };
        (remote, trust)
    }

    /// Reads a reference; `None` where a problem was reported.
    pub(super) fn want(
        &mut self,
        table: &mut Table<'_, '_>,
        index: usize,
        name: &str,
        text: &str,
    ) -> Option<Pinned> {
        let pinned = text.parse::<Reference>().and_then(|reference| reference.pinned());
        match pinned {
            Ok(pinned) => {
                self.wanted.push((index, name.to_owned(), pinned.clone()));
                Some(pinned)
            }
            Err(error) => {
                table.problem("oci", error.to_string());
                None
            }
        }
    }

    /// Checks the signature of a file, where there is one or must be one.
    pub(super) fn check_file(
        &self,
        path: &Path,
        bytes: &[u8],
        signature: Option<&Path>,
    ) -> Result<(), String> {
        let Some(signature) = signature else {
            return match self.require {
                Signed::All => Err("needs signature_file: policy_trust.require = \"all\"".into()),
                Signed::Pulled => Ok(()),
            };
        };
        let Some(keys) = &self.keys else {
            return Err("cannot be checked: set policy_trust.public_key_file".to_owned());
        };
        let signature = bounded(&self.directory.join(signature), SIGNATURE_FILE_BYTES)?;
        if signature.len() as u64 > SIGNATURE_FILE_BYTES {
            return Err(format!("is larger than {SIGNATURE_FILE_BYTES} bytes: it is no signature"));
        }
        let what = path.display().to_string();
        keys.check_blob(&what, bytes, &signature).map_err(|error| error.to_string())
    }

    /// Brings everything that was wanted, and puts it where it belongs.
    pub(super) fn bring(self, root: &mut Table<'_, '_>, known: &mut [PolicySource]) {
        // A key that cannot be read was reported; without it nothing is to be pulled unchecked.
        let is_unchecked = self.keys.is_none() && root.is_set("policy_trust.public_key_file");
        if self.wanted.is_empty() || is_unchecked {
            return;
        }
        let (places, policies): (Vec<usize>, Vec<(String, Pinned)>) =
            self.wanted.into_iter().map(|(index, name, pinned)| (index, (name, pinned))).unzip();
        let brought = self.fetch.fetch(&Wanted {
            policies: &policies,
            keys: self.keys.as_ref(),
            options: &self.options,
            data_dir: self.data_dir.as_deref(),
            ephemeral: self.ephemeral,
        });
        for ((index, (name, _)), brought) in places.into_iter().zip(&policies).zip(brought) {
            match brought {
                Ok(brought) => {
                    let sources = known.iter_mut().filter(|source| source.name == *name);
                    for source in sources {
                        source.bytes = brought.bytes.clone();
                        source.origin = brought.origin.clone();
                    }
                }
                Err(why) => root.problem(&format!("policies[{index}].oci"), why),
            }
        }
    }
}

impl fmt::Debug for Remote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

fn read_keys(path: &Path) -> Result<Keys, String> {
    let pem = bounded(path, KEY_FILE_BYTES)?;
    if pem.len() as u64 > KEY_FILE_BYTES {
        return Err(format!("is larger than {KEY_FILE_BYTES} bytes: it holds no public key"));
    }
    Keys::from_pem(&path.display().to_string(), &pem).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
