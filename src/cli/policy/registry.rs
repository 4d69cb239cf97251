//! `pulsegate policy pull` and `push`.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use pulsegate_registry::{
    COMPONENT_BYTES, Client, Digest, Error, KEY_FILE_BYTES, Keys, Options, Pinned, Reference,
};
use serde::Serialize;

use super::super::block_on;
use super::text::{instant, print, print_json};
use super::{Exit, Failure, Outcome, pulled};

/// How a registry is spoken to.
#[derive(Debug, clap::Args)]
struct Registry {
    /// Credentials in the form of Docker's config.json, such as /etc/pulsegate/registries.json;
    /// default: config.json in $DOCKER_CONFIG or ~/.docker, where there is one
    #[arg(long, env = "PULSEGATE_POLICY_REGISTRY_CREDENTIALS_FILE", value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust; default: those of the web
    #[arg(long, env = "PULSEGATE_POLICY_REGISTRY_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Speak to this registry without TLS; default: only on loopback
    #[arg(long)]
    plain_http: bool,
    /// Longest time of it all, in milliseconds, from 1000 to 3600000
    #[arg(
        long,
        env = "PULSEGATE_POLICY_REGISTRY_TIMEOUT_MS",
        default_value_t = 120_000,
        value_parser = clap::value_parser!(u32).range(1_000..=3_600_000),
        value_name = "MS"
    )]
    timeout_ms: u32,
}

/// Arguments of `pulsegate policy pull`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What a gateway loads needs the digest that this prints: a tag can be moved.\n\
                  Credentials of one registry may also be given as PULSEGATE_REGISTRY_HOST, \
                  PULSEGATE_REGISTRY_USERNAME and PULSEGATE_REGISTRY_PASSWORD.\nExample: pulsegate \
                  policy pull oci://ghcr.io/team/busy-bees:1.2 --key cosign.pub"
)]
pub(super) struct PullArgs {
    /// Where it is: oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]; without tag and digest, the
    /// tag `latest`
    reference: String,
    /// File to write the component to; default: the last word of the repository with .wasm, in
    /// this directory, where nothing of that name is there
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Public keys in PEM, such as cosign.pub: it must be signed by one; default: not checked
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: Registry,
}

/// Arguments of `pulsegate policy push`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The manifest is that of the Wasm community (application/wasm), which wkg and \
                  other tools read. To sign it: cosign sign --key cosign.key, with what this \
                  prints, without oci://.\nExample: pulsegate policy push busy-bees.wasm \
                  oci://ghcr.io/team/busy-bees:1.2"
)]
pub(super) struct PushArgs {
    /// The component, such as busy-bees.wasm
    file: PathBuf,
    /// Where to: oci://HOST[:PORT]/REPOSITORY[:TAG]; without a tag it has only its digest
    reference: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: Registry,
}

impl Registry {
    fn client(&self, reference: &Reference) -> Result<Client, Failure> {
        let credentials = pulled::credentials(self.credentials_file.as_deref())
            .map_err(|why| Failure::new(Exit::Usage, why))?;
        let plain_http = self.plain_http.then(|| reference.authority()).into_iter().collect();
        let timeout = Duration::from_millis(self.timeout_ms.into());
        let ca_file = self.ca_file.clone();
        Client::new(Options { ca_file, plain_http, timeout, credentials }).map_err(failed)
    }
}

/// What was pulled or pushed.
#[derive(Serialize)]
struct Done<'a> {
    /// What a configuration names.
    reference: String,
    digest: String,
    component_digest: String,
    bytes: usize,
    file: &'a Path,
    /// Whether a signature was checked.
    signed: bool,
}

impl<'a> Done<'a> {
    fn new(pinned: &Pinned, component: &[u8], file: &'a Path, signed: bool) -> Self {
        Self {
            reference: pinned.to_string(),
            digest: pinned.digest().to_string(),
            component_digest: Digest::of(component).to_string(),
            bytes: component.len(),
            file,
            signed,
        }
    }
}

pub(super) fn pull(args: &PullArgs) -> Outcome {
    let reference: Reference = args.reference.parse().map_err(failed)?;
    let keys = args.key.as_deref().map(read_keys).transpose()?;
    let client = args.registry.client(&reference)?;
    let own = PathBuf::from(format!("{}.wasm", reference.name()));
    let file = args.output.as_deref().unwrap_or(&own);
    if args.output.is_none() && own.exists() {
        let message = format!("{} is there already: give -o FILE", own.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let pulled = block_on(async {
        let pulled = client.pull(&reference).await.map_err(failed)?;
        if let Some(keys) = &keys {
            let signatures = client.signatures(&pulled.pinned).await.map_err(failed)?;
            keys.check_manifest(&pulled.pinned, &signatures).map_err(failed)?;
        }
        Ok(pulled)
    })?;
    write(file, &pulled.component).map_err(|error| {
        let message = format!("{} cannot be written: {error}", file.display());
        Failure::new(Exit::Refused, message)
    })?;
    let done = Done::new(&pulled.pinned, &pulled.component, file, keys.is_some());
    if args.json {
        print_json(&done);
        return Ok(());
    }
    let signature = match &keys {
        Some(keys) => format!("good, by a key in {}", keys.file()),
        None => "not checked: no --key was given".to_owned(),
    };
    print(&format!(
        "pulled {} bytes into {}\nsignature: {signature}\n\n[[policies]]\nname = \"{}\"\noci = \
         \"{}\"\n",
        done.bytes,
        file.display(),
        reference.name(),
        done.reference
    ));
    Ok(())
}

pub(super) fn push(args: &PushArgs) -> Outcome {
    let reference: Reference = args.reference.parse().map_err(failed)?;
    let client = args.registry.client(&reference)?;
    let (component, made) = read(&args.file, COMPONENT_BYTES)?;
    let pinned = block_on(async {
        client.push(&reference, component.clone(), &made).await.map_err(failed)
    })?;
    let done = Done::new(&pinned, &component, &args.file, false);
    if args.json {
        print_json(&done);
    } else {
        print(&format!("pushed {} bytes\n{}\n", done.bytes, done.reference));
    }
    Ok(())
}

fn read_keys(path: &Path) -> Result<Keys, Failure> {
    let (pem, _) = read(path, KEY_FILE_BYTES)?;
    Keys::from_pem(&path.display().to_string(), &pem).map_err(failed)
}

/// A file of at most so many bytes, and when it was made.
fn read(path: &Path, most: u64) -> Result<(Bytes, String), Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let unread = |error: io::Error| usage(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unread)?;
    let made = file.metadata().and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH);
    let made = made.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > most {
        return Err(usage(format!("has more than {most} bytes, and no more are taken")));
    }
    Ok((bytes.into(), instant(u64::try_from(made).unwrap_or_default())))
}

/// Writes a file aside and gives it its name, so that nobody finds half of it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.tmp", std::process::id()));
    let aside = PathBuf::from(aside);
    let written = File::create(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // What is left of it is of no use; the error that matters is the first one.
        let _ = fs::remove_file(&aside);
    }
    written
}

fn failed(error: Error) -> Failure {
    let exit = match &error {
        Error::Reference { .. }
        | Error::BadDigest { .. }
        | Error::Option { .. }
        | Error::Key { .. }
        | Error::NotComponent { .. } => Exit::Usage,
        error if error.retry() => Exit::Unavailable,
        _ => Exit::Refused,
    };
    Failure::new(exit, error.chain())
}
