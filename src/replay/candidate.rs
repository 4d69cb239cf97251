//! The policy that is tried, loaded as a gateway would load it.

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_core::{ClassId, Classes, TenantId, builtin};
use pulsegate_policy::{
    Assignment, Engine, Error as PolicyError, Limits, Match, PolicySet, Pool, Route, Source,
    reference,
};
use pulsegate_wire::EarlyRule;

use crate::Error;

/// Policy time of a batch. Source: chosen; a replay waits, where a gateway would let the built-in
/// policy answer.
const BATCH: Duration = Duration::from_secs(3_600);
/// Paces where the candidate only judges: the gateway's default.
const PACER: &str = "steady";

/// Who paces in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paced {
    /// The candidate.
    Candidate,
    /// The reference policy `steady`, with the health that the candidate judges.
    Steady,
}

/// The policy that is tried, in a set of its own.
#[derive(Debug)]
pub struct Candidate {
    pub(crate) set: PolicySet,
    pub(crate) name: String,
    pub(crate) revision: String,
    /// Whether it judges; otherwise the health that was judged stands.
    pub(crate) judges: bool,
    pub(crate) paced: Paced,
    /// By class.
    classes: Vec<OfClass>,
}

#[derive(Debug, Default)]
struct OfClass {
    assignment: Assignment,
    early: Vec<EarlyRule>,
}

impl Candidate {
    /// Loads a component for these classes, with limits on its memory, stack and single calls. Its
    /// breaker never opens: what it would have done is counted.
    ///
    /// # Errors
    /// When a gateway would refuse it, or it answers neither question of a heartbeat.
    pub fn load(source: Source, classes: &Classes, limits: Limits) -> Result<Self, Error> {
        let limits = Limits { batch: BATCH, breaker_faults: u32::MAX, ..limits };
        let engine = Engine::new(limits)?;
        let name = source.name.clone();
        let load = |judges, paced| {
            let (sources, route) = plan(&source, judges, paced);
            PolicySet::load(&engine, classes, sources, vec![route], &[])
        };
        // Which questions it answers is known once it is compiled: ask for both, then for either.
        let mut outcome = (true, Paced::Candidate, load(true, Paced::Candidate));
        if let Err(PolicyError::WrongQuestion { question, .. }) = &outcome.2 {
            outcome = match *question {
                "health" => (false, Paced::Candidate, load(false, Paced::Candidate)),
                _ => (true, Paced::Steady, load(true, Paced::Steady)),
            };
        }
        let (judges, paced, loaded) = outcome;
        let set = match loaded {
            Err(PolicyError::WrongQuestion { .. }) => return Err(Error::NoQuestion { name }),
            loaded => loaded?,
        };
        Ok(Self::of(set, name, judges, paced, classes))
    }

    /// The built-in policy, as native code: what a replay costs beside its candidate.
    ///
    /// # Errors
    /// When the machine cannot run an engine.
    pub fn builtin(classes: &Classes, limits: Limits) -> Result<Self, Error> {
        let set = PolicySet::load(&Engine::new(limits)?, classes, Vec::new(), Vec::new(), &[])?;
        Ok(Self::of(set, builtin::NAME.to_owned(), true, Paced::Candidate, classes))
    }

    fn of(set: PolicySet, name: String, judges: bool, paced: Paced, classes: &Classes) -> Self {
        let labels = BTreeMap::new();
        let of_class = |class: ClassId| {
            let assignment = set.assign(TenantId(0), class, &labels);
            OfClass { assignment, early: set.early_rules(assignment).to_vec() }
        };
        let of_classes = classes.iter().map(|(class, _)| of_class(class)).collect();
        let revision = set.revisions().iter().find_map(|known| {
            let (of, revision) = known.rsplit_once('@')?;
            (of == name).then(|| revision.to_owned())
        });
        let revision = revision.unwrap_or_default();
        Self { name, revision, judges, paced, classes: of_classes, set }
    }

    pub(crate) fn assignment(&self, class: ClassId) -> Assignment {
        self.classes.get(usize::from(class.0)).map(|of| of.assignment).unwrap_or_default()
    }

    pub(crate) fn early(&self, class: ClassId) -> &[EarlyRule] {
        self.classes.get(usize::from(class.0)).map_or(&[], |of| &of.early)
    }

    pub(crate) fn keeps_memory(&self) -> bool {
        self.classes.iter().any(|of| self.set.keeps_memory(of.assignment))
    }

    /// Custom metrics that it wants, or that its rules for early heartbeats name.
    pub(crate) fn wanted_metrics(&self) -> Vec<String> {
        let of_classes = self.classes.iter();
        let wanted = of_classes.flat_map(|of| {
            let ruled = of.early.iter().map(|rule| rule.metric.as_str());
            self.set.wanted_metrics(of.assignment).into_iter().chain(ruled)
        });
        let mut names: Vec<String> = wanted.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What is loaded, and who is asked what.
fn plan(source: &Source, judges: bool, paced: Paced) -> (Vec<Source>, Route) {
    let mut sources = vec![source.clone()];
    let mut cadence = source.name.clone();
    if paced == Paced::Steady {
        let pacer = reference::ALL.iter().find(|(name, _)| *name == PACER);
        // A candidate of the same name would be taken for it.
        cadence = if source.name == PACER { format!("{PACER}-pacer") } else { PACER.to_owned() };
        sources.extend(pacer.map(|(_, bytes)| Source {
            name: cadence.clone(),
            bytes: bytes.to_vec(),
            settings: serde_json::Value::Null,
            pool: Pool::Native,
        }));
    }
    let health = judges.then(|| source.name.clone());
    let agents = Match::default();
    (sources, Route { agents, health, cadence: Some(cadence), recovery: None })
}
