//! From a file to a [`Config`]: read every section, then check them against each other.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pulsegate_core as core;
use toml::de::DeTable;

use super::credentials::{Credentials, Digest, Tenants};
use super::executors::Executor;
use super::options::{
    Cadence, ClassOptions, Detection, Directives, Journal, Limits, Log, PolicyLimits, Probes,
    Recovery, Rollout, Server, Tls,
};
use super::overrides::Overrides;
use super::problem::Error;
use super::pulled::{Fetch, Nowhere, Remote};
use super::section::Section;
use super::table::{Reader, Table};
use super::{Certificate, Config, policies};

/// Largest token, in bytes.
const TOKEN_BYTES: usize = 4_096;
/// Most that is read of the file of a token, in bytes: there may be white space around it.
const FILE_BYTES: u64 = 4 * TOKEN_BYTES as u64;
/// Shortest token, in bytes: a plain digest protects only what cannot be guessed.
const TOKEN_MIN_BYTES: usize = 16;

/// Reads a configuration from a text.
pub(super) fn parse(
    name: &str,
    text: &str,
    directory: &Path,
    overrides: &Overrides,
    fetch: &dyn Fetch,
) -> Result<Config, Error> {
    let mut reader = Reader::new(name, text, overrides);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = error.message().replace('\n', ", ");
        match error.span() {
            Some(span) => reader.problem_at(reader.place(&span), "", message),
            // Tables within each other, too deep for the parser to say where.
            None => reader.problem_at(name.to_owned(), "", format!("no TOML: {message}")),
        }
    }
    let config = errors
        .is_empty()
        .then(|| read(&mut Table::root(&mut reader, document.get_ref()), directory, fetch));
    match config {
        Some(config) if reader.is_clean() => Ok(config),
        _ => Err(Error::new(reader.finish())),
    }
}

/// The configuration of an empty file.
pub(super) fn defaults() -> Config {
    let overrides = Overrides::default();
    let mut reader = Reader::new("defaults", "", &overrides);
    read(&mut Table::root(&mut reader, &DeTable::new()), Path::new("."), &Nowhere)
}

fn read(root: &mut Table<'_, '_>, directory: &Path, fetch: &dyn Fetch) -> Config {
    let server = Server::read(root, Server::default());
    let tls = root.section("tls", Tls::default());
    let tls = certificate(root, tls, directory);
    let mut tenants = Tenants::default();
    let credentials = read_credentials(root, directory, &mut tenants);
    let admin_token = server.admin_token_file.as_ref().and_then(|file| {
        token(&directory.join(file)).map_err(|why| root.problem("admin_token_file", why)).ok()
    });
    let cadence: Cadence = root.section("cadence", Cadence::default());
    let classes = root.within("classes", |table| read_classes(table, &cadence));
    let is_class = |name: &str| classes.find(name).is_some();
    let journal = journal(root, directory);
    let (mut remote, policy_trust) = Remote::read(root, directory, fetch);
    remote.data_dir.clone_from(&journal.data_dir);
    remote.ephemeral = journal.ephemeral;
    let policy_registry = remote.options.clone();
    let (policies, routes) = policies::read(root, remote, &tenants, &is_class);
    let (recovery, executors) = root.within("recovery", read_recovery);
    let config = Config {
        server,
        tls,
        journal,
        credentials,
        tenants,
        admin_token,
        cadence,
        detection: root.section("detection", Detection::default()),
        limits: root.section("limits", Limits::default()),
        policy_limits: root.section("policy_limits", PolicyLimits::default()),
        policies,
        policy_trust,
        policy_registry,
        routes,
        rollout: rollout(root, directory),
        directives: root.section("directives", Directives::default()),
        recovery,
        executors,
        probes: root.section("probes", Probes::default()),
        log: root.section("log", Log::default()),
        classes,
    };
    root.refuse_rest();
    check_listeners(root, &config);
    check_directives(root, &config);
    config
}

fn journal(root: &mut Table<'_, '_>, directory: &Path) -> Journal {
    let mut journal = root.section("journal", Journal::default());
    journal.data_dir = journal.data_dir.map(|data| directory.join(data));
    journal
}

fn rollout(root: &mut Table<'_, '_>, directory: &Path) -> Rollout {
    let mut rollout = root.section("rollout", Rollout::default());
    rollout.dir = rollout.dir.map(|dir| directory.join(dir));
    rollout
}

fn certificate(root: &mut Table<'_, '_>, tls: Tls, directory: &Path) -> Option<Certificate> {
    match (tls.cert_file, tls.key_file, tls.development) {
        (None, None, false) => None,
        (None, None, true) => Some(Certificate::Development),
        (Some(cert), Some(key), false) => {
            let (cert, key) = (directory.join(cert), directory.join(key));
            readable(root, "tls.cert_file", &cert);
            readable(root, "tls.key_file", &key);
            Some(Certificate::Files { cert, key })
        }
        (_, _, true) => {
            root.problem("tls.development", "stands instead of cert_file and key_file, not beside");
            None
        }
        (cert, _, false) => {
            let missing = if cert.is_none() { "cert_file" } else { "key_file" };
            root.problem("tls", format!("{missing} is needed as well"));
            None
        }
    }
}

fn readable(root: &mut Table<'_, '_>, key: &str, path: &Path) {
    if let Err(error) = std::fs::File::open(path) {
        root.problem(key, format!("{} cannot be read: {error}", path.display()));
    }
}

fn read_credentials(
    root: &mut Table<'_, '_>,
    directory: &Path,
    tenants: &mut Tenants,
) -> Credentials {
    let mut credentials = Credentials::default();
    root.each("credentials", |table| {
        let tenant = table.value::<String>("tenant");
        let tenant = tenant.unwrap_or_else(|| Tenants::DEFAULT.to_owned());
        let file: Option<PathBuf> = table.value("token_file");
        let hex: Option<String> = table.value("token_sha256");
        table.refuse_rest();
        if !is_tenant(&tenant) {
            table.problem("tenant", "must be 1 to 63 of letters, digits and . _ -");
            return;
        }
        if tenants.find(&tenant).is_none() && tenants.names().len() >= Tenants::MAX {
            table.problem("tenant", format!("there may be {} tenants", Tenants::MAX));
            return;
        }
        let (key, digest) = match (file, hex) {
            (Some(file), None) => ("token_file", token(&directory.join(file))),
            (None, Some(hex)) => (
                "token_sha256",
                Digest::from_hex(&hex).ok_or_else(|| "must be 64 hexadecimal digits".to_owned()),
            ),
            _ => ("", Err("needs either token_file or token_sha256".to_owned())),
        };
        match digest {
            Ok(digest) => {
                if !credentials.add(digest, tenants.number(&tenant)) {
                    table.problem(key, "another credential has the same token");
                }
            }
            Err(why) => table.problem(key, why),
        }
    });
    credentials
}

fn is_tenant(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

/// What is in a file; of one that does not end, such as a device, a byte more than may be in it.
pub(super) fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// The digest of the token in a file, without the white space around it.
fn token(path: &Path) -> Result<Digest, String> {
    let bytes = bounded(path, FILE_BYTES)?;
    let token = bytes.trim_ascii();
    if (TOKEN_MIN_BYTES..=TOKEN_BYTES).contains(&token.len()) {
        return Ok(Digest::of(token));
    }
    let range = format!("{TOKEN_MIN_BYTES} to {TOKEN_BYTES} bytes");
    Err(format!("{} must hold a token of {range}", path.display()))
}

fn read_classes(table: &mut Table<'_, '_>, cadence: &Cadence) -> core::Classes {
    let mut classes: Vec<core::Class> =
        core::Classes::default().iter().map(|(_, class)| class.clone()).collect();
    let fresh = |name: &str, classes: &[core::Class]| {
        let normal = classes.iter().find(|class| class.name == "normal");
        normal.map(|class| core::Class { name: name.to_owned(), ..class.clone() })
    };
    let known: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
    for name in known.iter().cloned().chain(table.names()) {
        let position = classes.iter().position(|class| class.name == name);
        if position.is_some() && table.was_taken(&name) {
            continue;
        }
        if position.is_none() {
            classes.extend(fresh(&name, &classes));
        }
        let Some(class) = classes.iter_mut().find(|class| class.name == name) else { continue };
        let base = ClassOptions::of(class);
        let options = table.within(&name, |table| {
            let options = ClassOptions::read(table, base);
            table.refuse_rest();
            check_class(table, &options, cadence).then_some(options)
        });
        // A wrong class keeps its defaults, so that those that follow it are judged on their own.
        if let Some(options) = options {
            options.apply(class);
        }
    }
    if classes.len() > core::Classes::MAX {
        table.problem("", format!("there may be {} classes", core::Classes::MAX));
    }
    core::Classes::new(classes).unwrap_or_default()
}

impl ClassOptions {
    /// The options of a class.
    pub(super) fn of(class: &core::Class) -> Self {
        Self {
            interval_ms: class.interval_ms,
            detect_within_ms: class.detect_within_ms,
            suspect_grace_ms: class.suspect_grace_ms,
            fail_grace_ms: class.fail_grace_ms,
            act_grace_ms: class.act_grace_ms,
            floor_weight: class.floor_weight,
        }
    }

    fn apply(&self, class: &mut core::Class) {
        class.interval_ms = self.interval_ms;
        class.detect_within_ms = self.detect_within_ms;
        class.suspect_grace_ms = self.suspect_grace_ms;
        class.fail_grace_ms = self.fail_grace_ms;
        class.act_grace_ms = self.act_grace_ms;
        class.floor_weight = self.floor_weight;
    }
}

/// Whether the numbers of a class fit together; reports where not.
fn check_class(table: &mut Table<'_, '_>, class: &ClassOptions, cadence: &Cadence) -> bool {
    let suspect = class.suspect_grace_ms;
    let least = suspect.saturating_add(cadence.min_ms);
    if class.detect_within_ms <= least {
        table.problem(
            "detect_within_ms",
            format!("must be larger than suspect_grace_ms and cadence.min_ms together, {least}"),
        );
        return false;
    }
    let most = (class.detect_within_ms - suspect).min(cadence.max_ms);
    let mut problem = |key: &str, wrong: bool, message: String| {
        if wrong {
            table.problem(key, message);
        }
        wrong
    };
    let interval = problem(
        "interval_ms",
        !(cadence.min_ms..=most).contains(&class.interval_ms),
        format!(
            "must be from cadence.min_ms, {}, to {most}, the smaller of cadence.max_ms and \
             detect_within_ms - suspect_grace_ms",
            cadence.min_ms
        ),
    );
    let fail = problem(
        "fail_grace_ms",
        class.fail_grace_ms <= suspect,
        format!("must be larger than suspect_grace_ms, {suspect}"),
    );
    let act = problem(
        "act_grace_ms",
        class.act_grace_ms < class.fail_grace_ms,
        format!("must be at least fail_grace_ms, {}", class.fail_grace_ms),
    );
    !(interval || fail || act)
}

fn read_recovery(table: &mut Table<'_, '_>) -> (Recovery, Vec<Executor>) {
    let recovery = Recovery::read(table, Recovery::default());
    let given = table.has("executors");
    let executors = table.within("executors", |table| {
        let names = table.names();
        if names.len() > Executor::MAX {
            table.problem("", format!("there may be {} executors", Executor::MAX));
        }
        let mut executors = Vec::new();
        for name in names.iter().take(Executor::MAX) {
            if !is_tenant(name) {
                table.problem(name, "an id must be 1 to 63 of letters, digits and . _ -");
            }
            executors.extend(table.within(name, |table| Executor::read(name, table)));
        }
        executors
    });
    table.refuse_rest();
    (recovery, if given { executors } else { Executor::defaults() })
}

fn check_listeners(root: &mut Table<'_, '_>, config: &Config) {
    let server = &config.server;
    let outside = !server.listen.ip().is_loopback();
    if outside && !server.insecure {
        if config.tls.is_none() {
            root.problem("listen", "is not on loopback: set tls, or insecure = true");
        }
        if config.credentials.is_empty() {
            root.problem("listen", "is not on loopback: set credentials, or insecure = true");
        }
    }
    if server.quic == Some(true) && config.tls.is_none() {
        root.problem("quic", "needs a certificate: set tls");
    }
    let quic_outside = server.quic_listen.is_some_and(|address| !address.ip().is_loopback());
    if quic_outside && config.credentials.is_empty() && !server.insecure {
        root.problem("quic_listen", "is not on loopback: set credentials, or insecure = true");
    }
    match server.admin_listen {
        Some(admin) if !admin.ip().is_loopback() && server.admin_token_file.is_none() => {
            root.problem("admin_listen", "is not on loopback: set admin_token_file");
        }
        Some(admin) if admin == server.listen && admin.port() != 0 => {
            root.problem("admin_listen", "must not be the same address as listen");
        }
        _ => {}
    }
    if config.cadence.min_ms > config.cadence.max_ms {
        root.problem("cadence.min_ms", "must not be larger than cadence.max_ms");
    }
}

fn check_directives(root: &mut Table<'_, '_>, config: &Config) {
    let directives = &config.directives;
    if directives.retry_ms.len() > Directives::RETRIES {
        root.problem("directives.retry_ms", format!("must be at most {}", Directives::RETRIES));
    }
    if directives.early_spread_ms > directives.early_min_gap_ms {
        root.problem("directives.early_spread_ms", "must not be larger than early_min_gap_ms");
    }
}

impl Directives {
    /// Most delays of a retry.
    pub const RETRIES: usize = 8;
}
