//! What operators are shown of policies.

use std::collections::{BTreeMap, BTreeSet};

use pulsegate_policy::{Difference, Revision, Share};
use pulsegate_wire::view::{
    FaultsView, PolicyPage, PolicyView, RevisionView, ShadowView, TrialView,
};

use super::inner::Inner;
use super::store::word;
use super::track::{Pick, Track};

/// All policies by name.
pub(super) fn all(inner: &Inner) -> PolicyPage {
    let configured = inner.config.policies.iter().map(|source| source.name.as_str());
    let names: BTreeSet<&str> = configured.chain(inner.tracks.keys().map(String::as_str)).collect();
    PolicyPage { policies: names.into_iter().map(|name| policy(inner, name)).collect() }
}

/// One policy.
pub(super) fn policy(inner: &Inner, name: &str) -> PolicyView {
    let track = inner.track(name);
    let mut revisions = Vec::new();
    if let Some(source) = inner.source(name).filter(|source| !source.uploaded) {
        let bytes = source.bytes.len() as u64;
        let view = revision(inner, name, &track, Pick::Configured);
        let digest = pulsegate_policy::Digest::of(&source.bytes);
        revisions.push(RevisionView {
            digest: digest.to_string(),
            revision: digest.short(),
            bytes,
            origin: source.origin.clone(),
            ..view
        });
    }
    for upload in track.uploads.iter().rev() {
        let view = revision(inner, name, &track, Pick::Uploaded(upload.digest));
        revisions.push(RevisionView {
            digest: upload.digest.to_string(),
            revision: upload.digest.short(),
            bytes: upload.bytes,
            added_at_unix_ms: Some(upload.added_unix_ms),
            origin: "upload".to_owned(),
            ..view
        });
    }
    PolicyView {
        name: name.to_owned(),
        routed: inner.source(name).is_some(),
        mode: mode(&track).to_owned(),
        enforced: track.enforced.map(word),
        trial: track.candidate.as_ref().map(|(pick, share)| trial(*pick, share)),
        before: track.before(inner.is_configured(name)).map(word),
        revisions,
    }
}

fn mode(track: &Track) -> &'static str {
    match (&track.enforced, &track.candidate) {
        (Some(_), _) => "enforce",
        (None, Some((_, Share::Shadow))) => "shadow",
        (None, Some(_)) => "canary",
        (None, None) => "none",
    }
}

fn trial(pick: Pick, share: &Share) -> TrialView {
    TrialView {
        revision: word(pick),
        mode: if *share == Share::Shadow { "shadow" } else { "canary" }.to_owned(),
        percent: match share {
            Share::Percent(hundredths) => Some(f64::from(*hundredths) / 100.0),
            _ => None,
        },
        labels: match share {
            Share::Labels(labels) => labels.clone(),
            _ => BTreeMap::new(),
        },
    }
}

fn revision(inner: &Inner, name: &str, track: &Track, pick: Pick) -> RevisionView {
    let loaded = inner.loaded.get(&(name.to_owned(), pick));
    let role = match &track.candidate {
        _ if track.enforced == Some(pick) => "enforced",
        Some((trial, share)) if *trial == pick => {
            if *share == Share::Shadow {
                "shadow"
            } else {
                "canary"
            }
        }
        _ if track.previous.contains(&pick) => "before",
        _ => "kept",
    };
    let counts = loaded.map(Revision::counts).unwrap_or_default();
    let [trap, timeout, bad_answer, slow] = counts.faults;
    let intervals = Difference::ALL.iter().zip(counts.intervals);
    let intervals = intervals.map(|(word, count)| (word.as_str().to_owned(), count)).collect();
    RevisionView {
        role: role.to_owned(),
        version: loaded.map(|revision| revision.version().to_owned()).unwrap_or_default(),
        answers: loaded
            .map(|revision| revision.answers().into_iter().map(str::to_owned).collect())
            .unwrap_or_default(),
        loaded: loaded.is_some(),
        breaker_open: loaded.is_some_and(Revision::is_broken),
        calls: counts.calls,
        faults: FaultsView { trap, timeout, bad_answer, slow },
        shadow: (counts.compared > 0 || role == "shadow").then_some(ShadowView {
            compared: counts.compared,
            health_differs: counts.health_differs,
            intervals,
        }),
        taken_back: track.taken_back.get(&pick).cloned(),
        ..RevisionView::default()
    }
}
