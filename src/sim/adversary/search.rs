//! How the adversary looks for the worst play: annealing in rounds, from the best so far.

use pulsegate_core::cadence::Config;

use super::mutate::Maker;
use super::objective::Objective;
use super::play::{Cap, Fleet, Hint, Move, Play, Wait};
use super::stage::Stage;
use super::subject::Subject;
use crate::random::Random;

/// Evaluations of one round. Longer ones climb farther, more of them begin in more places.
/// Source: chosen; of 500 to 8,000 the best found did not differ by more than the seed does.
const ROUND: u64 = 2_000;
/// Plays that rounds begin from. Source: chosen.
const ELITE: usize = 8;
/// Share of a score that a worse play may cost, at the start of a round. Source: chosen.
const WARMTH: f64 = 0.05;
/// Share of rounds that begin with a play of their own, for what the elite does not lead to.
/// Source: chosen.
const FRESH: f64 = 0.25;

/// The worst play found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whom it was played against.
    pub subject: &'static str,
    /// What was tried.
    pub objective: Objective,
    /// How far it came.
    pub score: u64,
    /// What should never be exceeded.
    pub limit: u64,
    /// The true maximum, where it is known.
    pub exact: Option<u64>,
    /// How far plays in plain random numbers came; `None` where they were not tried.
    pub random: Option<u64>,
    /// A play that reached it, as short as it could be made.
    pub play: Play,
    /// Plays played.
    pub evaluations: u64,
    /// Heartbeats in them.
    pub beats: u64,
}

/// One search: a stage, and how often it was used.
struct Search<'a> {
    stage: Stage<'a>,
    config: &'a Config,
    objective: Objective,
    evaluations: u64,
    beats: u64,
}

impl Search<'_> {
    fn score<S: Subject>(&mut self, play: &Play) -> f64 {
        let history = self.stage.play::<S>(play, self.objective);
        self.evaluations += 1;
        self.beats += history.samples.len() as u64;
        self.objective.score(history, play.start_ms, self.config)
    }

    fn found<S: Subject>(self, score: f64, play: Play) -> Found {
        Found {
            subject: S::NAME,
            objective: self.objective,
            score: score as u64,
            limit: self.objective.limit(self.config),
            exact: self.objective.exact(self.config),
            random: None,
            play,
            evaluations: self.evaluations,
            beats: self.beats,
        }
    }
}

fn begin(objective: Objective, config: &Config) -> Search<'_> {
    Search { stage: Stage::new(config), config, objective, evaluations: 0, beats: 0 }
}

/// The worst of so many plays in plain random numbers: what a search must surpass.
pub fn guess<S: Subject>(
    objective: Objective,
    config: &Config,
    seed: u64,
    evaluations: u64,
) -> Found {
    let mut maker = Maker { config, random: Random::new(seed, "adversary-guess") };
    let mut search = begin(objective, config);
    let (mut best, mut worst) = (f64::MIN, maker.plain());
    while search.evaluations < evaluations {
        let play = maker.plain();
        let score = search.score::<S>(&play);
        if score > best {
            (best, worst) = (score, play);
        }
    }
    search.found::<S>(best.max(0.0), worst)
}

/// The worst play that annealing finds with so many plays. The same seed finds the same.
pub fn attack<S: Subject>(
    objective: Objective,
    config: &Config,
    seed: u64,
    evaluations: u64,
) -> Found {
    let mut maker = Maker { config, random: Random::new(seed, "adversary") };
    let mut search = begin(objective, config);
    let mut elite: Vec<(f64, Play)> = Vec::new();
    while search.evaluations < evaluations {
        let play = first_of_round(&mut maker, &elite);
        let left = ROUND.min(evaluations - search.evaluations);
        let best = anneal::<S>(&mut search, &mut maker, play, left);
        // One of each score: eight copies of one play lead nowhere else.
        if elite.iter().all(|(score, _)| *score != best.0) {
            elite.push(best);
            elite.sort_by(|one, other| other.0.total_cmp(&one.0));
            elite.truncate(ELITE);
        }
    }
    let (score, play) = elite.into_iter().next().unwrap_or_else(|| (0.0, maker.knowing()));
    let play = shorten::<S>(&mut search, play, score);
    search.found::<S>(score, play)
}

fn first_of_round(maker: &mut Maker<'_>, elite: &[(f64, Play)]) -> Play {
    // What reached nothing leads nowhere.
    let leads = elite.first().is_some_and(|(score, _)| *score > 0.0);
    if !leads || maker.random.happens(FRESH) {
        return maker.knowing();
    }
    // The square of a share: the best is begun from most often.
    let mut pick = || {
        let share = maker.random.share();
        &elite[((share * share) * elite.len() as f64) as usize].1
    };
    let (one, other) = (pick(), pick());
    if maker.random.happens(0.5) { maker.cross(one, other) } else { one.clone() }
}

/// One round: a worse play is gone on from now and then, less and less often.
fn anneal<S: Subject>(
    search: &mut Search<'_>,
    maker: &mut Maker<'_>,
    play: Play,
    evaluations: u64,
) -> (f64, Play) {
    let mut current = (search.score::<S>(&play), play);
    let mut best = current.clone();
    for done in 1..evaluations {
        let mut play = current.1.clone();
        maker.mutate(&mut play);
        let score = search.score::<S>(&play);
        let warmth = WARMTH * (1.0 - done as f64 / evaluations as f64) * (1.0 + current.0);
        if score >= current.0 || maker.random.happens(((score - current.0) / warmth).exp()) {
            current = (score, play);
            if current.0 > best.0 {
                best.clone_from(&current);
            }
        }
    }
    best
}

/// Leaves out and simplifies what the score does not need, as long as the play becomes shorter to
/// write.
fn shorten<S: Subject>(search: &mut Search<'_>, mut play: Play, score: f64) -> Play {
    let reached = score.floor();
    loop {
        let before = size(&play);
        for at in (0..play.moves.len()).rev() {
            keep_shorter::<S>(search, &mut play, reached, |play| {
                play.moves.remove(at);
            });
        }
        for at in (0..play.early.len()).rev() {
            keep_shorter::<S>(search, &mut play, reached, |play| {
                play.early.remove(at);
            });
        }
        keep_shorter::<S>(search, &mut play, reached, |play| play.begin = 0);
        for at in 0..play.moves.len() {
            for change in SIMPLER {
                keep_shorter::<S>(search, &mut play, reached, |play| change(&mut play.moves[at]));
            }
        }
        if size(&play) >= before {
            return play;
        }
    }
}

/// What a move may be without.
const SIMPLER: [fn(&mut Move); 10] = [
    |one| one.restart = false,
    |one| one.cap = Cap::Open,
    |one| one.fleet = Fleet::Agents(0),
    |one| one.fleet = Fleet::Over,
    |one| one.wait = Wait::Ms(0),
    |one| one.wait = Wait::Dwell(0),
    |one| one.wait = Wait::Turn(0),
    |one| one.hint = Hint::Below,
    |one| one.hint = Hint::Above,
    |one| one.hint = Hint::Ms(f64::NAN),
];

fn keep_shorter<S: Subject>(
    search: &mut Search<'_>,
    play: &mut Play,
    reached: f64,
    change: impl FnOnce(&mut Play),
) {
    let mut shorter = play.clone();
    change(&mut shorter);
    let is_shorter = size(&shorter) < size(play);
    if is_shorter && search.score::<S>(&shorter) >= reached {
        *play = shorter;
    }
}

/// How long a play is to write, repeats included.
fn size(play: &Play) -> usize {
    let moves = play.moves.iter().map(|one| one.to_string().len() + 2);
    let early = play.early.iter().map(|wait| wait.to_string().len() + 1);
    moves.chain(early).sum::<usize>() + play.begin.to_string().len()
}
