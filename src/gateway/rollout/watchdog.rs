//! The way back without an operator: a revision whose breaker opens while agents depend on it
//! gives way to the one before it.

use std::time::Duration;

use pulsegate_wire::EventKind;
use pulsegate_wire::event::PolicyTripped;

use super::inner::Inner;
use super::store::word;
use super::track::{Pick, Track};
use super::{Rollout, Shared};
use crate::telemetry::Returned;

/// How often it looks. Larger: the built-in policy answers for longer in the place of one that
/// fails; smaller: more looks, of a microsecond each. Source: chosen.
const LOOK: Duration = Duration::from_millis(200);

/// Watches over the policies until it is dropped.
pub async fn watch_over(rollout: Rollout) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !rollout.is_due() {
            continue;
        }
        let looking = rollout.clone();
        // It ends before the next look; a panic in it is a bug that its thread told.
        let _ = tokio::task::spawn_blocking(move || looking.look()).await;
    }
}

impl Rollout {
    /// Whether there is anything to do; a change that is under way is waited for until later.
    fn is_due(&self) -> bool {
        let policies = self.shared.shards.policies();
        let mut all = 0..policies.names().len() as u16;
        let is_broken = all.any(|policy| policies.is_broken(policy));
        let inner = self.shared.inner.try_lock();
        inner.is_some_and(|inner| {
            is_broken || !inner.broken.is_empty() || !inner.warming.is_empty() || inner.is_unsaved
        })
    }

    /// Looks at every breaker once.
    pub(super) fn look(&self) {
        let mut inner = self.shared.inner.lock();
        let inner = &mut *inner;
        inner.warming.retain(|warming| !warming.is_over());
        for (name, pick) in self.shared.changed(inner) {
            self.shared.trip(inner, &name, pick);
        }
        if inner.is_unsaved && inner.store.save(&inner.tracks, &inner.saved).is_ok() {
            inner.is_unsaved = false;
            inner.saved = inner.tracks.clone();
        }
    }
}

impl Shared {
    /// Breakers that have opened since the last look; tells of those that closed.
    fn changed(&self, inner: &mut Inner) -> Vec<(String, Pick)> {
        let mut used = Vec::new();
        for source in &inner.config.policies {
            let track = inner.track(&source.name);
            used.extend(track.in_use().map(|pick| (source.name.clone(), pick)));
        }
        let is_broken = |key: &(String, Pick)| {
            inner.loaded.get(key).is_some_and(|revision| revision.is_broken())
        };
        let now: std::collections::BTreeSet<_> = used.into_iter().filter(is_broken).collect();
        let before = std::mem::replace(&mut inner.broken, now.clone());
        for (name, pick) in before.difference(&now) {
            // What is not in use any more was told of when it was taken back.
            if inner.loaded.contains_key(&(name.clone(), *pick)) {
                self.tell(inner, name, *pick, false, String::new());
            }
        }
        now.difference(&before).cloned().collect()
    }

    /// A breaker has opened.
    fn trip(&self, inner: &mut Inner, name: &str, pick: Pick) {
        let faults = inner.loaded.get(&(name.to_owned(), pick)).map(|known| known.counts());
        let [traps, timeouts, bad, slow] = faults.unwrap_or_default().faults;
        let why = format!(
            "{traps} traps, {timeouts} timeouts and {bad} bad answers; {slow} times too slow"
        );
        let before = inner.track(name);
        let mut track = before.clone();
        let is_configured = inner.is_configured(name);
        if !track.take_back(pick, &why, is_configured) {
            return self.tell(inner, name, pick, true, String::new());
        }
        // What is gone back to may have gone bad on the disk: then what was before that.
        while let Some(to) = track.enforced {
            let Err(error) = inner.ensure(&self.engine, name, to) else { break };
            self.telemetry.policies_damaged(&format!("policy {name}: {error}"));
            if !track.take_back(to, &error.to_string(), is_configured) {
                track.enforced = None;
            }
        }
        self.return_to(inner, name, pick, &before, track);
    }

    fn return_to(&self, inner: &mut Inner, name: &str, pick: Pick, before: &Track, track: Track) {
        let to = track.enforced.map_or_else(|| "none".to_owned(), |to| revision(inner, name, to));
        let from =
            if before.enforced == Some(pick) { Returned::Enforced } else { Returned::Canary };
        let mut tracks = inner.tracks.clone();
        tracks.insert(name.to_owned(), track);
        let policies = match inner.assemble(&self.engine, &tracks) {
            Ok(policies) => policies,
            Err(error) => {
                let complaint = format!("policy {name} cannot be taken back: {error}");
                self.telemetry.policies_damaged(&complaint);
                return self.tell(inner, name, pick, true, String::new());
            }
        };
        let failed = revision(inner, name, pick);
        let was = inner.obeyed();
        inner.tracks = tracks;
        inner.is_unsaved = true;
        inner.broken.remove(&(name.to_owned(), pick));
        self.tell(inner, name, pick, true, to.clone());
        self.take_over(inner, &was, policies);
        self.telemetry.policy_returned(name, &failed, from, &to);
    }

    fn tell(&self, inner: &Inner, name: &str, pick: Pick, open: bool, returned_to: String) {
        let revision = revision(inner, name, pick);
        self.telemetry.policy_tripped(name, &revision, open);
        let policy = name.to_owned();
        let tripped = PolicyTripped { policy, open, revision, returned_to };
        self.durable.note("", EventKind::PolicyTripped(tripped));
    }
}

/// The name of a revision in events and in the log.
fn revision(inner: &Inner, name: &str, pick: Pick) -> String {
    let loaded = inner.loaded.get(&(name.to_owned(), pick));
    loaded.map_or_else(|| word(pick), |revision| revision.digest().short())
}
