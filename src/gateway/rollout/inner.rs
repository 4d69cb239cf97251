//! What is known of all policies, and how a set is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pulsegate_policy::{self as policy, Engine, Named, PolicySet, Revision, Share, Source};

use super::Refusal;
use super::store::{Store, Tracks};
use super::track::{Pick, Track};
use crate::config::{Config, PolicySource};

/// How long instances wait for their first call. Source: chosen; a busy thread takes its own
/// within milliseconds, and an idle one may make another.
const WARM: Duration = Duration::from_secs(10);

/// All policies of a gateway.
pub(super) struct Inner {
    pub(super) config: Arc<Config>,
    pub(super) tracks: Tracks,
    /// What the manifest says.
    pub(super) saved: Tracks,
    /// What is loaded: all that is in use, and what is gone back to.
    pub(super) loaded: BTreeMap<(String, Pick), Revision>,
    pub(super) store: Store,
    /// What is in force could not be written down.
    pub(super) is_unsaved: bool,
    /// Agents beat: what is compiled now gives way to them.
    pub(super) is_serving: bool,
    /// Breakers that were open at the last look.
    pub(super) broken: BTreeSet<(String, Pick)>,
    /// Revisions with instances that wait.
    pub(super) warming: Vec<Warming>,
}

/// A revision with instances that wait for their first call.
pub(super) struct Warming {
    revision: Revision,
    since: Instant,
}

impl Warming {
    pub(super) fn new(revision: Revision) -> Self {
        Self { revision, since: Instant::now() }
    }

    /// Drops what nobody took in time; says whether that is done.
    pub(super) fn is_over(&self) -> bool {
        let is_over = self.since.elapsed() >= WARM;
        if is_over {
            self.revision.cool_down();
        }
        is_over
    }
}

impl Inner {
    /// The policies of a configuration, without uploads.
    pub(super) fn configured(engine: &Engine, config: &Arc<Config>) -> Result<Self, policy::Error> {
        let mut loaded = BTreeMap::new();
        for source in config.policies.iter().filter(|source| !source.uploaded) {
            let revision = admit(engine, source.source(), config)?;
            loaded.insert((source.name.clone(), Pick::Configured), revision);
        }
        Ok(Self {
            config: config.clone(),
            tracks: Tracks::new(),
            saved: Tracks::new(),
            loaded,
            store: Store::new(config.policies_dir()),
            is_unsaved: false,
            is_serving: false,
            broken: BTreeSet::new(),
            warming: Vec::new(),
        })
    }

    /// Takes what the manifest says, as far as it can be loaded. Says what cannot.
    pub(super) fn restore(&mut self, engine: &Engine) -> Vec<String> {
        let (tracks, mut complaints) = self.store.load();
        self.saved = tracks.clone();
        for (name, mut track) in tracks {
            if self.source(&name).is_some() {
                self.restore_track(engine, &name, &mut track, &mut complaints);
            }
            self.tracks.insert(name, track);
        }
        complaints
    }

    fn restore_track(
        &mut self,
        engine: &Engine,
        name: &str,
        track: &mut Track,
        complaints: &mut Vec<String>,
    ) {
        let is_configured = self.is_configured(name);
        while let Some(pick) = track.enforced {
            let Err(error) = self.ensure(engine, name, pick) else { break };
            complaints.push(format!("policy {name}: what is enforced {}", failed(&error)));
            let trial = track.candidate.take();
            if !track.take_back(pick, &error.to_string(), is_configured) {
                track.enforced = None;
            }
            track.candidate = trial;
        }
        if let Some((pick, _)) = track.candidate
            && let Err(error) = self.ensure(engine, name, pick)
        {
            complaints.push(format!("policy {name}: what is on trial {}", failed(&error)));
            track.candidate = None;
        }
        // So that a revision which fails gives way at once. Without it, it would be loaded then.
        if let Some(before) = track.before(is_configured) {
            let _ = self.ensure(engine, name, before);
        }
    }

    /// The first set of a gateway: uploads that do not fit to the routes give way.
    pub(super) fn settle(
        &mut self,
        engine: &Engine,
        complaints: &mut Vec<String>,
    ) -> Result<PolicySet, policy::Error> {
        loop {
            let error = match self.assemble(engine, &self.tracks) {
                Ok(set) => return Ok(set),
                Err(error) => error,
            };
            let name = error.policy().filter(|name| self.tracks.contains_key(*name));
            match name.map(str::to_owned) {
                Some(name) => drop(self.tracks.remove(&name)),
                None if !self.tracks.is_empty() => self.tracks.clear(),
                None => return Err(error),
            }
            complaints.push(format!("uploads are not used: {error}"));
        }
    }

    /// The same under another configuration: nothing is compiled again that is known.
    pub(super) fn reconfigured(
        &self,
        engine: &Engine,
        config: &Arc<Config>,
    ) -> Result<Self, policy::Error> {
        let mut next = Self {
            config: config.clone(),
            tracks: self.tracks.clone(),
            saved: self.saved.clone(),
            loaded: BTreeMap::new(),
            store: self.store.clone(),
            is_unsaved: self.is_unsaved,
            is_serving: self.is_serving,
            broken: self.broken.clone(),
            warming: Vec::new(),
        };
        for source in &config.policies {
            let track = next.track(&source.name);
            let before = track.before(!source.uploaded);
            let base = Some(Pick::Configured).filter(|_| !source.uploaded);
            let picks: BTreeSet<Pick> = track.in_use().chain(before).chain(base).collect();
            for pick in picks {
                match self.again(engine, source, pick, config) {
                    Ok(Some(revision)) => {
                        next.loaded.insert((source.name.clone(), pick), revision);
                    }
                    // What cannot be loaded is missed where it is needed, and not before.
                    Ok(None) => {}
                    Err(error) if track.in_use().any(|used| used == pick) => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(next)
    }

    /// A revision under another configuration; `None` where it is not known.
    fn again(
        &self,
        engine: &Engine,
        source: &PolicySource,
        pick: Pick,
        config: &Arc<Config>,
    ) -> Result<Option<Revision>, policy::Error> {
        let known = self.loaded.get(&(source.name.clone(), pick));
        let same_bytes = |revision: &&Revision| match pick {
            Pick::Uploaded(_) => true,
            Pick::Configured => revision.digest() == policy::Digest::of(&source.bytes),
        };
        if let Some(revision) = known.filter(same_bytes) {
            let same_frame = self.config.classes == config.classes
                && self.config.executor_waits() == config.executor_waits()
                && self.settings(&source.name) == source.settings;
            if same_frame {
                return Ok(Some(revision.clone()));
            }
            let waits = config.executor_waits();
            return revision.readmit(&source.settings, &config.classes, &waits).map(Some);
        }
        let bytes = match pick {
            Pick::Configured => source.bytes.to_vec(),
            Pick::Uploaded(digest) => match self.store.component(digest) {
                Ok(bytes) => bytes,
                Err(_) => return Ok(None),
            },
        };
        admit(engine, Source { bytes, ..source.source() }, config).map(Some)
    }

    /// A revision, loaded now if it was not.
    pub(super) fn ensure(
        &mut self,
        engine: &Engine,
        name: &str,
        pick: Pick,
    ) -> Result<Revision, Refusal> {
        let key = (name.to_owned(), pick);
        if let Some(revision) = self.loaded.get(&key) {
            return Ok(revision.clone());
        }
        let bytes = match pick {
            Pick::Configured => match self.source(name).filter(|source| !source.uploaded) {
                Some(source) => source.bytes.to_vec(),
                None => return Err(Refusal::Unloadable("it is not configured".to_owned())),
            },
            Pick::Uploaded(digest) => self.store.component(digest).map_err(Refusal::Unloadable)?,
        };
        let source = self.upload(name, bytes);
        let revision = if self.is_serving {
            super::admission::vet(engine, source, &self.config)?
        } else {
            admit(engine, source, &self.config)?
        };
        self.loaded.insert(key, revision.clone());
        Ok(revision)
    }

    /// A set of the policies that routes name, as these tracks say.
    pub(super) fn assemble(
        &self,
        engine: &Engine,
        tracks: &Tracks,
    ) -> Result<PolicySet, policy::Error> {
        let config = &self.config;
        let waits = config.executor_waits();
        let named = self.named(tracks);
        PolicySet::assemble(engine, &config.classes, named, config.routes.clone(), &waits)
    }

    fn named(&self, tracks: &Tracks) -> Vec<Named> {
        let loaded = |name: &str, pick: Pick| self.loaded.get(&(name.to_owned(), pick)).cloned();
        let named = self.config.policies.iter().map(|source| {
            let name = source.name.clone();
            let track = tracks.get(&name).cloned().unwrap_or_else(|| start(source));
            let enforced = track.enforced.and_then(|pick| loaded(&name, pick));
            let candidate = track
                .candidate
                .and_then(|(pick, share)| loaded(&name, pick).map(|revision| (revision, share)));
            Named { name, enforced, candidate }
        });
        named.collect()
    }

    /// Every revision that agents depend on.
    pub(super) fn obeyed(&self) -> Vec<Revision> {
        let named = self.named(&self.tracks).into_iter();
        named
            .flat_map(|one| {
                let trial = one.candidate.filter(|(_, share)| *share != Share::Shadow);
                one.enforced.into_iter().chain(trial.map(|(revision, _)| revision))
            })
            .collect()
    }

    /// Forgets revisions that are neither in use nor gone back to.
    pub(super) fn prune(&mut self) {
        let mut needed = BTreeSet::new();
        for source in &self.config.policies {
            let track = self.track(&source.name);
            let picks = track.in_use().chain(track.before(!source.uploaded));
            let base = Some(Pick::Configured).filter(|_| !source.uploaded);
            needed.extend(picks.chain(base).map(|pick| (source.name.clone(), pick)));
        }
        self.loaded.retain(|key, _| needed.contains(key));
    }

    /// What the configuration says of a policy that some route names.
    pub(super) fn source(&self, name: &str) -> Option<&PolicySource> {
        self.config.policies.iter().find(|source| source.name == name)
    }

    /// Whether the configuration has a component for this name.
    pub(super) fn is_configured(&self, name: &str) -> bool {
        self.source(name).is_some_and(|source| !source.uploaded)
    }

    /// Settings that the configuration has for this name.
    fn settings(&self, name: &str) -> serde_json::Value {
        self.source(name).map(|source| source.settings.clone()).unwrap_or_default()
    }

    /// An uploaded component, with what the configuration says to its name: settings and pool.
    pub(super) fn upload(&self, name: &str, bytes: Vec<u8>) -> Source {
        let pool = self.source(name).map(|source| source.pool).unwrap_or_default();
        Source { name: name.to_owned(), bytes, settings: self.settings(name), pool }
    }

    /// What a policy is now.
    pub(super) fn track(&self, name: &str) -> Track {
        let known = self.tracks.get(name).cloned();
        known.or_else(|| self.source(name).map(start)).unwrap_or_default()
    }
}

/// What a policy is that nothing was uploaded for.
fn start(source: &PolicySource) -> Track {
    if source.uploaded { Track::default() } else { Track::configured() }
}

/// At the start, on all cores: nothing is served yet, and whoever reloads waits.
fn admit(engine: &Engine, source: Source, config: &Config) -> Result<Revision, policy::Error> {
    Revision::admit(engine, source, &config.classes, &config.executor_waits())
}

fn failed(error: &Refusal) -> String {
    format!("cannot be used, and gives way to what was before: {error}")
}
