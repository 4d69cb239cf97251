//! What operators ask for.

use std::sync::Arc;

use pulsegate_core::builtin;
use pulsegate_policy::{Digest, Error, PolicySet, Revision, Share};
use pulsegate_wire::view::{PolicyPage, PolicyView};

use super::inner::Inner;
use super::store::Tracks;
use super::track::{Conflict, Pick, Track, Uploaded};
use super::{NAMES, Refusal, Rollout, admission};

/// What an upload becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// A trial for this share.
    Trial(Share),
    /// It is obeyed at once.
    Enforce,
}

/// Which revision a change is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// What is on trial, else what is enforced.
    #[default]
    Current,
    /// The one that is called so: `configured`, a digest, or its first digits.
    Called(String),
}

/// Fewest digits that a revision may be called by. Source: chosen; as git does, a few more.
const DIGITS: usize = 6;

impl Rollout {
    /// Admits a component, keeps it, and makes of it what was asked for. Says whether it was not
    /// kept before. Takes as long as compiling takes, and lets other changes pass meanwhile.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed.
    pub fn upload(
        &self,
        name: &str,
        component: &Arc<[u8]>,
        how: How,
        now_unix_ms: u64,
    ) -> Result<(bool, PolicyView), Refusal> {
        if name == builtin::NAME {
            let reason = "it is the name of the policy that is always there";
            return Err(Refusal::Policy(Error::Name { name: name.to_owned(), reason }));
        }
        let digest = Digest::of(component);
        let pick = Pick::Uploaded(digest);
        let key = (name.to_owned(), pick);
        let (source, config) = {
            let inner = self.shared.inner.lock();
            (inner.upload(name, component.to_vec()), inner.config.clone())
        };
        let settings = source.settings.clone();
        let admitted = admission::vet(&self.shared.engine, source, &config)?;
        let mut inner = self.shared.inner.lock();
        let revision = if Arc::ptr_eq(&inner.config, &config) {
            admitted
        } else {
            let source = inner.upload(name, Vec::new());
            let is_same = inner.config.classes == config.classes && source.settings == settings;
            let waits = inner.config.executor_waits();
            if is_same && waits == config.executor_waits() {
                admitted
            } else {
                admitted.readmit(&source.settings, &inner.config.classes, &waits)?
            }
        };
        let mut track = inner.track(name);
        let bytes = component.len() as u64;
        let is_new = track.add(Uploaded { digest, bytes, added_unix_ms: now_unix_ms });
        self.make(&inner, name, &mut track, pick, how)?;
        track.bound(inner.config.rollout.revisions as usize);
        check_room(&inner, name, &track)?;
        inner.store.put(digest, component)?;
        // What is in use goes on with its numbers and its warm instances.
        let is_used = inner.track(name).in_use().any(|used| used == pick);
        if !is_used || !inner.loaded.contains_key(&key) {
            inner.loaded.insert(key, revision);
        }
        self.change(&mut inner, name, Some(track))?;
        Ok((is_new, super::view::policy(&inner, name)))
    }

    fn make(
        &self,
        inner: &Inner,
        name: &str,
        track: &mut Track,
        pick: Pick,
        how: How,
    ) -> Result<(), Refusal> {
        match how {
            How::Enforce => {
                check_trial(inner, name, track, pick)?;
                track.enforce(pick);
            }
            // To watch what is obeyed already tells nothing.
            How::Trial(Share::Shadow) if track.enforced == Some(pick) => {}
            How::Trial(share) => track.try_out(pick, share).map_err(conflict)?,
        }
        Ok(())
    }

    /// Obeys a revision for all of its agents, or puts it into shadow.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed.
    pub fn set_mode(
        &self,
        name: &str,
        which: &Which,
        enforce: bool,
    ) -> Result<PolicyView, Refusal> {
        self.operate(name, |inner, track| {
            let pick = find(inner, name, track, which)?;
            if enforce {
                check_trial(inner, name, track, pick)?;
                track.enforce(pick);
                Ok(())
            } else {
                track.try_out(pick, Share::Shadow).map_err(conflict)
            }
        })
    }

    /// Lets a revision judge a share of the agents: what is on trial, or the one that is named.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed.
    pub fn set_canary(
        &self,
        name: &str,
        which: &Which,
        share: Share,
    ) -> Result<PolicyView, Refusal> {
        self.operate(name, |inner, track| {
            let pick = match which {
                Which::Current => track.trial().map_err(conflict)?,
                Which::Called(_) => find(inner, name, track, which)?,
            };
            check_trial(inner, name, track, pick)?;
            track.try_out(pick, share).map_err(conflict)
        })
    }

    /// Ends what is on trial; without a trial, obeys what was enforced before.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed.
    pub fn roll_back(&self, name: &str) -> Result<PolicyView, Refusal> {
        self.operate(name, |inner, track| {
            track.roll_back(inner.is_configured(name)).map_err(conflict)
        })
    }

    /// Forgets all uploads of a policy: what the configuration says is obeyed again.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when routes name it and there is no other source; nothing has changed.
    pub fn delete(&self, name: &str) -> Result<(), Refusal> {
        let mut inner = self.shared.inner.lock();
        if !inner.tracks.contains_key(name) {
            return Err(Refusal::Unknown);
        }
        if inner.source(name).is_some() && !inner.is_configured(name) {
            let why = "routes of the configuration name it, and there is no other source of it";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        self.change(&mut inner, name, None)
    }

    /// All policies that are configured or uploaded.
    #[must_use]
    pub fn list(&self) -> PolicyPage {
        super::view::all(&self.shared.inner.lock())
    }

    /// One policy; `None` when nothing of this name is configured or uploaded.
    #[must_use]
    pub fn show(&self, name: &str) -> Option<PolicyView> {
        let inner = self.shared.inner.lock();
        is_known(&inner, name).then(|| super::view::policy(&inner, name))
    }

    fn operate(
        &self,
        name: &str,
        change: impl FnOnce(&mut Inner, &mut Track) -> Result<(), Refusal>,
    ) -> Result<PolicyView, Refusal> {
        let mut inner = self.shared.inner.lock();
        if !is_known(&inner, name) {
            return Err(Refusal::Unknown);
        }
        let mut track = inner.track(name);
        change(&mut inner, &mut track)?;
        self.change(&mut inner, name, Some(track))?;
        Ok(super::view::policy(&inner, name))
    }

    /// Makes a set, and writes down what it is.
    fn write_down(&self, inner: &mut Inner, tracks: &Tracks) -> Result<PolicySet, Refusal> {
        let policies = inner.assemble(&self.shared.engine, tracks)?;
        inner.store.save(tracks, &inner.saved)?;
        Ok(policies)
    }

    /// Makes a track what it is from now on, `None` for what the configuration says: loads, writes
    /// down, swaps.
    fn change(&self, inner: &mut Inner, name: &str, track: Option<Track>) -> Result<(), Refusal> {
        let mut tracks = inner.tracks.clone();
        match &track {
            None => drop(tracks.remove(name)),
            Some(track) => {
                if inner.source(name).is_some() {
                    for pick in track.in_use() {
                        inner.ensure(&self.shared.engine, name, pick)?;
                    }
                }
                tracks.insert(name.to_owned(), track.clone());
            }
        }
        if tracks == inner.tracks && !inner.is_unsaved {
            return Ok(());
        }
        let was = inner.obeyed();
        let replaced = track.map(|track| refresh(inner, name, &track)).unwrap_or_default();
        let policies = match self.write_down(inner, &tracks) {
            Ok(policies) => policies,
            Err(refusal) => {
                inner.loaded.extend(replaced);
                return Err(refusal);
            }
        };
        inner.is_unsaved = false;
        inner.saved = tracks.clone();
        inner.tracks = tracks;
        self.shared.take_over(inner, &was, policies);
        Ok(())
    }
}

/// Gives every revision that agents depend on from now on a new start: what it did in shadow, or
/// when it was enforced before, must not count against it. Returns what was replaced.
fn refresh(inner: &mut Inner, name: &str, track: &Track) -> Vec<((String, Pick), Revision)> {
    let before = inner.track(name).obeyed();
    let picks = track.obeyed().into_iter().filter(|pick| !before.contains(pick));
    picks
        .filter_map(|pick| {
            let key = (name.to_owned(), pick);
            let fresh = inner.loaded.get(&key)?.afresh();
            let replaced = inner.loaded.insert(key.clone(), fresh)?;
            Some((key, replaced))
        })
        .collect()
}

fn conflict(conflict: Conflict) -> Refusal {
    Refusal::Conflict(conflict.to_string())
}

fn is_known(inner: &Inner, name: &str) -> bool {
    inner.source(name).is_some() || inner.tracks.contains_key(name)
}

/// What is on trial with its breaker open is not given more agents.
fn check_trial(inner: &Inner, name: &str, track: &Track, pick: Pick) -> Result<(), Refusal> {
    let is_trial = track.trial() == Ok(pick);
    let loaded = inner.loaded.get(&(name.to_owned(), pick));
    match loaded.filter(|revision| is_trial && revision.is_broken()) {
        None => Ok(()),
        Some(revision) => {
            let faults = revision.counts().faulty();
            let why = format!("its breaker is open on trial, after {faults} faults");
            Err(Refusal::Conflict(why))
        }
    }
}

/// The revision that is meant.
fn find(inner: &Inner, name: &str, track: &Track, which: &Which) -> Result<Pick, Refusal> {
    let text = match which {
        Which::Current => return track.current().map_err(conflict),
        Which::Called(text) => text,
    };
    if text == "configured" {
        return if inner.is_configured(name) {
            Ok(Pick::Configured)
        } else {
            Err(Refusal::Revision("the configuration has no component of this name".to_owned()))
        };
    }
    if text.len() < DIGITS {
        return Err(Refusal::Revision(format!("at least {DIGITS} digits of a digest are needed")));
    }
    let is_meant = |upload: &&Uploaded| upload.digest.to_string().starts_with(text.as_str());
    let mut meant = track.uploads.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(upload), None) => Ok(Pick::Uploaded(upload.digest)),
        (None, _) => Err(Refusal::Revision("no revision of this digest is kept".to_owned())),
        _ => Err(Refusal::Revision("more than one revision begins like this".to_owned())),
    }
}

fn check_room(inner: &Inner, name: &str, track: &Track) -> Result<(), Refusal> {
    let others = inner.tracks.iter().filter(|(other, _)| *other != name);
    let uploads = others.flat_map(|(_, other)| &other.uploads).chain(&track.uploads);
    let bytes: u64 = uploads.map(|upload| upload.bytes).sum();
    let most = inner.config.rollout.max_bytes;
    if bytes > most {
        return Err(Refusal::Full { bytes, most });
    }
    if !inner.tracks.contains_key(name) && inner.tracks.len() >= NAMES {
        return Err(Refusal::Names);
    }
    Ok(())
}
