//! One run, or many.

use std::time::{Duration, Instant};

use pulsegate_sim::hunt::{self, Outcome as Found, Plan};
use pulsegate_sim::server::MINUTE;
use serde_json::{Value, json};

use super::super::text::print;
use super::{Args, Bar, Exit, Failure, Outcome};

/// Runs in which a run that failed is made smaller. Source: chosen; some seconds.
const SHRINKS: u32 = 400;

/// One run.
pub(super) fn one(args: &Args) -> Outcome {
    let plan = args.plan();
    if !args.json {
        print(&format!("pulsegate sim {plan}\n"));
    }
    let began = Instant::now();
    let mut bar = Bar::new(args.json);
    let found = hunt::run(&plan, None, &mut bar);
    bar.clear();
    let took = began.elapsed();
    if args.json {
        print(&format!("{}\n", told(&plan, &found, took)));
    } else {
        print(&format!("{}\n", summary(&found, took)));
    }
    fail(args, &plan, &found)
}

/// Looks for seeds that fail until time is up; the first that does ends it.
pub(super) fn hunt(args: &Args, minutes: f64) -> Outcome {
    let patience = Duration::try_from_secs_f64(minutes * 60.0)
        .map_err(|_| Failure::new(Exit::Usage, "--hunt takes minutes, above 0"))?;
    let first = args.seed.unwrap_or(1);
    if !args.json {
        print(&format!("pulsegate sim --hunt {minutes} --seed {first}\n"));
    }
    let began = Instant::now();
    let mut bar = Bar::new(args.json);
    let (mut seed, mut handled, mut virtual_minutes, mut excused) = (first, 0, 0, 0);
    while began.elapsed() < patience || seed == first {
        let plan = Plan::draw(seed);
        let found = hunt::run(&plan, None, &mut ());
        handled += found.handled;
        excused += found.excused;
        virtual_minutes += found.lasted / MINUTE;
        let hours = virtual_minutes / 60;
        let runs = seed - first + 1;
        bar.show(|| format!("{runs} runs, {hours} virtual hours, {handled} heartbeats"));
        if !found.violations.is_empty() {
            bar.clear();
            return fail(args, &plan, &found);
        }
        seed += 1;
    }
    bar.clear();
    let (runs, hours) = (seed - first, virtual_minutes / 60);
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        let told = json!({
            "first_seed": first, "runs": runs, "virtual_hours": hours, "heartbeats": handled,
            "excused_suspicions": excused, "seconds": seconds, "violations": [],
        });
        print(&format!("{told}\n"));
    } else {
        print(&format!(
            "seeds {first} to {}: {runs} runs, {hours} virtual hours, {handled} heartbeats in \
             {seconds:.1} s; no rule was broken\n",
            seed - 1
        ));
    }
    Ok(())
}

/// Plays against the cadence guard.
pub(super) fn adversary(seed: u64, plays: u64) -> Outcome {
    print(&format!("pulsegate sim --adversary {plays} --seed {seed}\n"));
    let found = pulsegate_sim::adversary::report(seed, plays);
    found.iter().for_each(|found| print(&format!("{found}\n")));
    if found.iter().any(pulsegate_sim::adversary::Found::is_violation) {
        return Err(Failure::new(Exit::Refused, "a limit was exceeded"));
    }
    Ok(())
}

/// Says what was broken, and by which smallest run.
fn fail(args: &Args, plan: &Plan, found: &Found) -> Outcome {
    let Some(first) = found.violations.first() else { return Ok(()) };
    let small = hunt::shrink(plan, first.rule, None, SHRINKS);
    if args.json && args.hunt.is_some() {
        print(&format!("{}\n", told(plan, found, Duration::ZERO)));
    }
    let mut text = format!("a rule was broken by: pulsegate sim {plan}\n");
    for violation in &found.violations {
        text.push_str(&format!("  {violation}\n"));
    }
    text.push_str(&format!(
        "the smallest run that breaks {}: pulsegate sim {small}\n(kept in \
         src/sim/hunt/seeds.txt, every test runs it)",
        first.rule
    ));
    Err(Failure::new(Exit::Refused, text))
}

fn summary(found: &Found, took: Duration) -> String {
    let minutes = found.lasted / MINUTE;
    let seconds = took.as_secs_f64();
    format!(
        "{minutes} virtual minutes, {} heartbeats in {seconds:.2} s ({:.0} a second); {} agents \
         were suspected while they ran, each with an excuse; {}; history {:016x}",
        found.handled,
        found.handled as f64 / seconds.max(1e-9),
        found.excused,
        if found.violations.is_empty() { "no rule was broken" } else { "a rule was broken" },
        found.digest,
    )
}

fn told(plan: &Plan, found: &Found, took: Duration) -> Value {
    let violations: Vec<Value> = found
        .violations
        .iter()
        .map(|violation| {
            let at_s = violation.at as f64 / 1e6;
            json!({"rule": violation.rule, "at_s": at_s, "text": violation.text})
        })
        .collect();
    json!({
        "run": plan.to_string(),
        "virtual_minutes": found.lasted / MINUTE,
        "heartbeats": found.handled,
        "excused_suspicions": found.excused,
        "history": format!("{:016x}", found.digest),
        "seconds": took.as_secs_f64(),
        "violations": violations,
    })
}
