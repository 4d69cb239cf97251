//! Which policies there are, and which agents each one judges, paces and recovers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pulsegate_core::{ClassId, Classes, TenantId, VerdictSource, builtin};
use pulsegate_wire::{EarlyRule, limits};

use crate::engine::Engine;
use crate::loader::Policy;
use crate::route::{CompiledRoute, Names, Route, Subject};
use crate::{Error, Named, Revision, Source, route};

/// Most policies of a set by name, the built-in one not counted. Source: chosen; each keeps a warm
/// instance of 0.1 to 1 MiB for every thread and class.
const POLICIES_MAX: usize = 64;
/// Most routes of a set. Source: chosen; routes are walked when an agent is assigned.
const ROUTES_MAX: usize = 256;
/// Most different assignments. Source: an [`Assignment`] is 16 bits.
const ASSIGNMENTS_MAX: usize = 1 << 16;

/// An agent, as far as it matters to which policies it gets.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'a> {
    /// Its tenant by index.
    pub tenant: TenantId,
    /// Its class.
    pub class: ClassId,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Hash of tenant and name, by which percentages choose; stable as long as it is known.
    pub hash: u64,
}

/// Which policies judge, pace and recover an agent: indices into a [`PolicySet`]. The default is
/// the agent that nothing is known of: of the first class, and no route matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Place in the table of what is obeyed.
    pub(crate) entry: u16,
    /// Place in the table of what is watched.
    pub(crate) shadow: u16,
}

impl Assignment {
    /// Whether some policy is evaluated beside those that are obeyed.
    #[must_use]
    pub fn has_shadow(self) -> bool {
        self.shadow != 0
    }
}

/// Names and texts behind a [`VerdictSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceText<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// Its revision: the first 12 hexadecimal digits of its digest; empty for the built-in one.
    pub revision: &'a str,
    /// The reason.
    pub reason: &'a str,
}

/// An immutable choice of policies, shared by all threads.
pub struct PolicySet {
    pub(crate) engine: Engine,
    pub(crate) classes: Classes,
    pub(crate) executors: Vec<(String, u32)>,
    class_count: usize,
    generation: u64,
    names: Vec<String>,
    /// Policy of index `i` at `i - 1`.
    policies: Vec<Arc<Policy>>,
    /// What each of them is in this set; the first is the built-in one.
    roles: Vec<Role>,
    routes: Vec<CompiledRoute>,
    /// For each question, the policies that any route gives; the built-in one first.
    choices: [Vec<u16>; 3],
    table: Vec<Entry>,
    /// For each question, the policies that are watched; 0, which is none, first.
    watched: [Vec<u16>; 3],
}

/// What a revision is in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is obeyed.
    Enforced,
    /// It is obeyed for some agents, on trial.
    Canary,
    /// It is watched and never obeyed.
    Shadow,
}

/// What an [`Assignment`] stands for.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) health: u16,
    pub(crate) cadence: u16,
    pub(crate) recovery: u16,
    early: Vec<EarlyRule>,
}

/// The three questions, in the order of [`PolicySet::choices`].
pub(crate) const QUESTIONS: [&str; 3] = ["health", "cadence", "recovery"];

impl PolicySet {
    /// Loads every policy, warms it up and runs a canary call; then resolves the routes.
    /// `executors` are the ids of the configured executors with their default wait in ms, told
    /// to policies when they are configured and proposed by the built-in plan.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed.
    pub fn load(
        engine: &Engine,
        classes: &Classes,
        sources: Vec<Source>,
        routes: Vec<Route>,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        at_most("policies", sources.len(), POLICIES_MAX)?;
        let mut named: Vec<Named> = Vec::new();
        for source in sources {
            check_taken(named.iter().map(|other| other.name.as_str()), &source.name)?;
            let name = source.name.clone();
            let enforced = Some(Revision::admit(engine, source, classes, executors)?);
            named.push(Named { name, enforced, candidate: None });
        }
        Self::assemble(engine, classes, named, routes, executors)
    }

    /// Makes a set of revisions that were admitted before, under the same classes and executors.
    /// Compiles nothing.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed.
    pub fn assemble(
        engine: &Engine,
        classes: &Classes,
        named: Vec<Named>,
        routes: Vec<Route>,
        executors: &[(String, u32)],
    ) -> Result<Self, Error> {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        at_most("policies", named.len(), POLICIES_MAX)?;
        at_most("routes", routes.len(), ROUTES_MAX)?;
        let mut names = Names::default();
        for one in &named {
            check_taken(names.known(), &one.name)?;
            names.add(one);
        }
        // After all that are enforced, so that a trial leaves their indices as they are.
        named.iter().for_each(|one| names.add_candidate(one));
        let routes = routes
            .into_iter()
            .enumerate()
            .map(|(at, route)| route::compile(at + 1, route, classes, &mut names))
            .collect::<Result<Vec<_>, _>>()?;
        let Names { texts, policies, roles, choices, watched, .. } = names;
        let table = table(&choices, classes, &policies)?;
        let watching = watched.iter().map(Vec::len).product();
        at_most("combinations of policies in shadow", watching, ASSIGNMENTS_MAX)?;
        Ok(Self {
            engine: engine.clone(),
            classes: classes.clone(),
            executors: executors.to_vec(),
            class_count: classes.iter().count(),
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            names: texts,
            policies,
            roles,
            routes,
            choices,
            table,
            watched,
        })
    }

    /// Differs between any two sets of one process: an [`Assignment`] belongs to one set.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Which policies an agent gets of which no hash is known: as one with hash 0.
    #[must_use]
    pub fn assign(
        &self,
        tenant: TenantId,
        class: ClassId,
        labels: &BTreeMap<String, String>,
    ) -> Assignment {
        self.assign_agent(&Agent { tenant, class, labels, hash: 0 })
    }

    /// Which policies an agent gets.
    ///
    /// A route whose policy is not enforced at all decides nothing: the next one that matches
    /// does. What it has in shadow is watched for the agents that it matches.
    #[must_use]
    pub fn assign_agent(&self, agent: &Agent<'_>) -> Assignment {
        let mut picks = [None; 3];
        let mut watched = [None; 3];
        for route in &self.routes {
            if picks.iter().all(Option::is_some) {
                break;
            }
            if route.matches(agent) {
                for (question, choice) in route.choices.iter().enumerate() {
                    let Some(choice) = choice.as_ref().filter(|_| picks[question].is_none()) else {
                        continue;
                    };
                    watched[question] = watched[question].or(choice.shadow);
                    picks[question] = choice.of(agent);
                }
            }
        }
        let place = |picks: &[Option<u16>; 3], lists: &[Vec<u16>; 3]| {
            let each = picks.iter().zip(lists);
            each.fold(0, |place, (pick, list)| place * list.len() + usize::from(pick.unwrap_or(0)))
        };
        let class = usize::from(self.known_class(agent.class).0);
        let entry = place(&picks, &self.choices) * self.class_count + class;
        let shadow = place(&watched, &self.watched);
        Assignment {
            entry: u16::try_from(entry).unwrap_or(0),
            shadow: u16::try_from(shadow).unwrap_or(0),
        }
    }

    /// Names and texts behind a source.
    #[must_use]
    pub fn text(&self, source: VerdictSource) -> SourceText<'_> {
        let reason = usize::from(source.reason);
        match self.policy(source.policy) {
            None => SourceText {
                policy: builtin::NAME,
                revision: "",
                reason: builtin::REASONS.get(reason).copied().unwrap_or_default(),
            },
            Some(policy) => SourceText {
                policy: &policy.name,
                revision: &policy.revision,
                reason: policy.shape.reasons.get(reason).map_or("", String::as_str),
            },
        }
    }

    /// Rules for early heartbeats of an assignment's policies, at most eight: those of the
    /// cadence policy first.
    #[must_use]
    pub fn early_rules(&self, assignment: Assignment) -> &[EarlyRule] {
        &self.entry(assignment).early
    }

    /// Custom metrics that the policies which judge and pace this assignment want to see.
    #[must_use]
    pub fn wanted_metrics(&self, assignment: Assignment) -> Vec<&str> {
        let asked = self.asked(assignment);
        let mut names: Vec<&str> =
            asked.flat_map(|policy| policy.shape.metrics.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a policy that judges or paces this assignment keeps memory with each agent.
    #[must_use]
    pub fn keeps_memory(&self, assignment: Assignment) -> bool {
        self.asked(assignment).any(|policy| policy.shape.columns > 0)
    }

    /// The policies that are asked at each heartbeat, the built-in one not among them.
    fn asked(&self, assignment: Assignment) -> impl Iterator<Item = &Policy> {
        let entry = self.entry(assignment);
        [entry.health, entry.cadence].into_iter().filter_map(|index| self.policy(index))
    }

    /// Every policy of the set, as `name@revision`; one on trial with what it is after it.
    #[must_use]
    pub fn revisions(&self) -> Vec<String> {
        let all = self.policies.iter().zip(self.roles.iter().skip(1));
        let text = |(policy, role): (&Arc<Policy>, &Role)| {
            let trial = match role {
                Role::Enforced => "",
                Role::Canary => " (canary)",
                Role::Shadow => " (shadow)",
            };
            format!("{}@{}{trial}", policy.name, policy.revision)
        };
        all.map(text).collect()
    }

    /// Whether any policy is in shadow.
    #[must_use]
    pub fn has_shadow(&self) -> bool {
        self.watched.iter().any(|list| list.len() > 1)
    }

    /// The policies in shadow of an assignment, each once.
    pub fn shadows(&self, assignment: Assignment) -> impl Iterator<Item = u16> {
        let all = [Subject::Health, Subject::Cadence, Subject::Recovery];
        let all = all.map(|subject| self.watched(assignment, subject));
        let is_new = move |at: usize| all[at] != 0 && !all[..at].contains(&all[at]);
        (0..all.len()).filter(move |at| is_new(*at)).map(move |at| all[at])
    }

    /// What the policy of an index is in this set.
    #[must_use]
    pub fn role(&self, policy: u16) -> Role {
        self.roles.get(usize::from(policy)).copied().unwrap_or(Role::Enforced)
    }

    /// Names by policy index; the first is `builtin`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the breaker of a policy is open, so that the built-in policy answers in its place.
    #[must_use]
    pub fn is_broken(&self, policy: u16) -> bool {
        self.policy(policy).is_some_and(|policy| policy.breaker.is_open())
    }

    /// The policy of an index; `None` for the built-in one.
    pub(crate) fn policy(&self, index: u16) -> Option<&Policy> {
        self.policies.get(usize::from(index).checked_sub(1)?).map(Arc::as_ref)
    }

    /// The policies, without the built-in one.
    pub(crate) fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// What an assignment stands for; one of another set is understood as the default.
    pub(crate) fn entry(&self, assignment: Assignment) -> &Entry {
        self.table.get(usize::from(assignment.entry)).unwrap_or(&self.table[0])
    }

    /// Which policy an assignment has watched for a question; 0 is none.
    pub(crate) fn watched(&self, assignment: Assignment, subject: Subject) -> u16 {
        let behind: usize = self.watched[subject as usize + 1..].iter().map(Vec::len).product();
        let list = &self.watched[subject as usize];
        list[usize::from(assignment.shadow) / behind % list.len()]
    }

    pub(crate) fn policy_count(&self) -> usize {
        self.policies.len()
    }

    pub(crate) fn class_count(&self) -> usize {
        self.class_count
    }

    /// A class of this set, whatever is asked: one that is not known is understood as the last.
    #[inline]
    pub(crate) fn known_class(&self, class: ClassId) -> ClassId {
        ClassId(class.0.min((self.class_count - 1) as u8))
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("generation", &self.generation)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), Error> {
    if count > most { Err(Error::TooMany { what, count, most }) } else { Ok(()) }
}

fn check_taken<'a>(mut taken: impl Iterator<Item = &'a str>, name: &str) -> Result<(), Error> {
    if name == builtin::NAME || taken.any(|other| other == name) {
        return Err(Error::Name { name: name.to_owned(), reason: "it is taken" });
    }
    Ok(())
}

/// Every assignment that can happen, health the slowest and class the fastest to change.
fn table(
    choices: &[Vec<u16>; 3],
    classes: &Classes,
    policies: &[Arc<Policy>],
) -> Result<Vec<Entry>, Error> {
    let [healths, cadences, recoveries] = choices;
    let class_count = classes.iter().count();
    let count = healths.len() * cadences.len() * recoveries.len() * class_count;
    at_most("combinations of policies and classes", count, ASSIGNMENTS_MAX)?;
    let mut table = Vec::with_capacity(count);
    for &health in healths {
        for &cadence in cadences {
            for &recovery in recoveries {
                for class in 0..class_count {
                    let early = early_rules(policies, [cadence, health], class);
                    table.push(Entry { health, cadence, recovery, early });
                }
            }
        }
    }
    Ok(table)
}

fn early_rules(policies: &[Arc<Policy>], of: [u16; 2], class: usize) -> Vec<EarlyRule> {
    let mut rules: Vec<EarlyRule> = Vec::new();
    for index in of {
        let Some(at) = usize::from(index).checked_sub(1) else { continue };
        for rule in &policies[at].classes[class].early {
            if rules.len() < limits::EARLY_RULES && !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

impl Policy {
    /// Whether it answers a question, by position in [`QUESTIONS`].
    pub(crate) fn answers(&self, question: usize) -> bool {
        let exports = &self.prepared.exports;
        [exports.health.is_some(), exports.cadence.is_some(), exports.recovery.is_some()][question]
    }
}
