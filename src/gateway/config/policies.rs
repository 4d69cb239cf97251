//! Policies to load, and the routes that name them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pulsegate_core::builtin;
use pulsegate_policy as policy;

use super::credentials::Tenants;
use super::pulled::Remote;
use super::read::bounded;
use super::table::Table;

/// Largest component of a policy, in bytes: twice that of a Python guest.
pub const COMPONENT_BYTES: u64 = 64 * 1024 * 1024;
/// Most policies and most routes.
const MAX: usize = 64;

/// A policy to load.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySource {
    /// What routes, explanations and metrics call it.
    pub name: String,
    /// Where it came from, for people.
    pub origin: String,
    /// The component; empty for one that is uploaded.
    pub bytes: Arc<[u8]>,
    /// There is no component here: operators upload it.
    pub uploaded: bool,
    /// Settings, handed to it as JSON.
    pub settings: serde_json::Value,
    /// Which limits it runs under.
    pub pool: policy::Pool,
}

/// The reference policies that the defaults name.
#[derive(Debug)]
pub struct Reference;

impl Reference {
    /// Judges and paces every agent where no route says otherwise.
    pub const STEADY: &'static str = "steady";
    /// Plans every recovery where no route says otherwise.
    pub const LADDER: &'static str = "ladder";
}

impl PolicySource {
    pub(crate) fn source(&self) -> policy::Source {
        policy::Source {
            name: self.name.clone(),
            bytes: self.bytes.to_vec(),
            settings: self.settings.clone(),
            pool: self.pool,
        }
    }

    fn reference(name: &str) -> Option<Self> {
        let (_, bytes) = policy::reference::ALL.iter().find(|(known, _)| *known == name)?;
        Some(Self {
            name: name.to_owned(),
            origin: format!("reference policy {name}"),
            bytes: Arc::from(*bytes),
            uploaded: false,
            settings: serde_json::Value::Object(serde_json::Map::new()),
            pool: policy::Pool::Native,
        })
    }

    /// Reads one entry; `None` where a problem was reported.
    fn read(table: &mut Table<'_, '_>, index: usize, remote: &mut Remote<'_>) -> Option<Self> {
        let name: Option<String> = table.value("name");
        let given = Given {
            file: table.value("file"),
            signature: table.value("signature_file"),
            reference: table.value("reference"),
            oci: table.value("oci"),
            uploaded: table.value("uploaded").unwrap_or(false),
        };
        let uploaded = given.uploaded;
        let pool: String = table.value("pool").unwrap_or_default();
        let settings = match table.take("settings") {
            Some(value) => json(value.get_ref()),
            None => serde_json::Value::Object(serde_json::Map::new()),
        };
        table.refuse_rest();
        if !settings.is_object() {
            table.problem("settings", "must be a table");
            return None;
        }
        let pool = match pool.as_str() {
            "" => Some(policy::Pool::Native),
            word => policy::Pool::find(word),
        };
        let Some(pool) = pool else {
            table.problem("pool", "must be native or interpreted");
            return None;
        };
        let Some(name) = name.filter(|name| is_name(name)) else {
            table.problem("name", "is needed: 1 to 63 of letters, digits and . _ -");
            return None;
        };
        if name == builtin::NAME {
            table.problem("name", "builtin is the name of the policy that is always there");
            return None;
        }
        let (origin, bytes) = given.read(table, index, &name, remote)?;
        Some(Self { name, origin, bytes, uploaded, settings, pool })
    }
}

/// Where an entry says that its component is.
struct Given {
    file: Option<PathBuf>,
    signature: Option<PathBuf>,
    reference: Option<String>,
    oci: Option<String>,
    uploaded: bool,
}

impl Given {
    /// The component and where it came from; that of a registry is brought later, with the others.
    fn read(
        self,
        table: &mut Table<'_, '_>,
        index: usize,
        name: &str,
        remote: &mut Remote<'_>,
    ) -> Option<(String, Arc<[u8]>)> {
        if self.signature.is_some() && self.file.is_none() {
            table.problem("signature_file", "belongs to file: a registry has its own signatures");
            return None;
        }
        let (key, read) = match (self.file, self.reference, self.oci) {
            (None, None, None) if self.uploaded => {
                return Some(("uploads".to_owned(), Arc::default()));
            }
            _ if self.uploaded => ("", Err("has another source beside uploaded".to_owned())),
            (Some(file), None, None) => {
                let path = remote.directory.join(file);
                let read = component(&path).map(|bytes| (path.display().to_string(), bytes));
                let checked = read.as_ref().map_or(Ok(()), |(_, bytes)| {
                    remote.check_file(&path, bytes, self.signature.as_deref())
                });
                if let Err(why) = checked {
                    let key = if self.signature.is_some() { "signature_file" } else { "file" };
                    table.problem(key, why);
                    return None;
                }
                ("file", read)
            }
            (None, Some(reference), None) => {
                let found = PolicySource::reference(&reference);
                let found = found.map(|found| (found.origin, found.bytes));
                ("reference", found.ok_or_else(|| format!("must be one of {}", reference_names())))
            }
            (None, None, Some(text)) => {
                let pinned = remote.want(table, index, name, &text)?;
                return Some((pinned.to_string(), Arc::default()));
            }
            _ => ("", Err("needs one of file, reference, oci and uploaded".to_owned())),
        };
        read.map_err(|why| table.problem(key, why)).ok()
    }
}

/// Reads policies and routes together: a route may name an entry, a reference policy or
/// `builtin`; what no route names is not loaded.
pub(super) fn read(
    root: &mut Table<'_, '_>,
    mut remote: Remote<'_>,
    tenants: &Tenants,
    is_class: &dyn Fn(&str) -> bool,
) -> (Vec<PolicySource>, Vec<policy::Route>) {
    let mut known: Vec<PolicySource> = Vec::new();
    let mut index = 0;
    let listed = root.each("policies", |table| {
        index += 1;
        let source = PolicySource::read(table, index - 1, &mut remote)?;
        if known.iter().any(|other| other.name == source.name) {
            table.problem("name", "another policy has this name");
        }
        known.push(source);
        Some(())
    });
    if listed.len() <= MAX {
        remote.bring(root, &mut known);
    }
    let mut routes = Vec::new();
    let given = root.each("routes", |table| {
        routes.push(read_route(table, tenants, is_class));
    });
    for (key, count) in [("policies", listed.len()), ("routes", given.len())] {
        if count > MAX {
            root.problem(key, format!("must be at most {MAX}"));
        }
    }
    routes.push(default_route());
    let mut sources = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let named = [("health", &route.health), ("cadence", &route.cadence)];
        for (key, name) in named.into_iter().chain([("recovery", &route.recovery)]) {
            let Some(name) = name.as_deref().filter(|name| *name != builtin::NAME) else {
                continue;
            };
            if sources.iter().any(|source: &PolicySource| source.name == name) {
                continue;
            }
            let entry = known.iter().find(|source| source.name == name).cloned();
            match entry.or_else(|| PolicySource::reference(name)) {
                Some(source) => sources.push(source),
                // An entry that could not be read was reported where it stands.
                None if index < given.len() && listed.iter().all(Option::is_some) => {
                    let known = names(&known);
                    let message = format!("no policy of this name; known: {known}");
                    root.problem(&format!("routes[{index}].{key}"), message);
                }
                None => {}
            }
        }
    }
    (sources, routes)
}

/// What decides where no route does.
pub(super) fn default_route() -> policy::Route {
    policy::Route {
        agents: policy::Match::default(),
        health: Some(Reference::STEADY.to_owned()),
        cadence: Some(Reference::STEADY.to_owned()),
        recovery: Some(Reference::LADDER.to_owned()),
    }
}

fn read_route(
    table: &mut Table<'_, '_>,
    tenants: &Tenants,
    is_class: &dyn Fn(&str) -> bool,
) -> policy::Route {
    let classes: Vec<String> = table.value("classes").unwrap_or_default();
    for class in classes.iter().filter(|class| !is_class(class)) {
        table.problem("classes", format!("no class is called {class}"));
    }
    let tenant = table.value::<String>("tenant").and_then(|name| {
        let tenant = tenants.find(&name);
        if tenant.is_none() {
            table.problem("tenant", "no credential names this tenant");
        }
        tenant
    });
    let labels = table.within("labels", |labels| {
        let names = labels.names();
        let pairs = names.into_iter().filter_map(|name| {
            let value = labels.value::<String>(&name)?;
            Some((name, value))
        });
        pairs.collect::<BTreeMap<_, _>>()
    });
    let route = policy::Route {
        agents: policy::Match { tenant, classes, labels },
        health: table.value("health"),
        cadence: table.value("cadence"),
        recovery: table.value("recovery"),
    };
    if !["health", "cadence", "recovery"].iter().any(|key| table.has(key)) {
        table.problem("", "names no policy: set health, cadence or recovery");
    }
    table.refuse_rest();
    route
}

fn component(path: &Path) -> Result<Arc<[u8]>, String> {
    let bytes = bounded(path, COMPONENT_BYTES)?;
    if bytes.len() as u64 > COMPONENT_BYTES {
        return Err(format!("is larger than {COMPONENT_BYTES} bytes, and no more are taken"));
    }
    Ok(bytes.into())
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

fn reference_names() -> String {
    let names: Vec<&str> = policy::reference::ALL.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn names(known: &[PolicySource]) -> String {
    let mut names: Vec<&str> = known.iter().map(|source| source.name.as_str()).collect();
    names.extend(policy::reference::ALL.iter().map(|(name, _)| *name));
    names.push(builtin::NAME);
    names.join(", ")
}

/// A value of the file as JSON.
fn json(value: &toml::de::DeValue<'_>) -> serde_json::Value {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| integer.to_string().into(), serde_json::Value::from),
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| float.to_string().into(), serde_json::Value::from),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(entries) => {
            let pairs = entries.iter();
            let pairs =
                pairs.map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
            serde_json::Value::Object(pairs.collect())
        }
    }
}
