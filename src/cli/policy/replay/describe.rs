//! A report as people read it: two parts under two heads, and never mixed.

use pulsegate_replay::{Bounds, Estimated, Exact, Example, Mistakes, Report, Scope};
use pulsegate_wire::Health;

use super::super::super::text;

/// The whole report.
pub(super) fn describe(report: &Report) -> String {
    let mut out = head(report);
    out.push_str("\nEXACT: what it answers to each recorded observation; nothing is guessed\n\n");
    out.push_str(&exact(report));
    out.push_str(
        "\nESTIMATED: what would have come of it, had its directives been obeyed; in brackets the \
         bounds of\nwhat the records cannot tell\n\n",
    );
    out.push_str(&estimate(&report.estimate));
    out
}

fn head(report: &Report) -> String {
    let (policies, scope) = (&report.policies, &report.scope);
    let enforced: Vec<String> = policies
        .enforced
        .iter()
        .take(4)
        .map(|(name, count)| format!("{name} ({} heartbeats)", whole(*count)))
        .collect();
    let more = policies.enforced.len().saturating_sub(4);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let at = if policies.revision.is_empty() { "" } else { "@" };
    let mut lines = vec![
        ("candidate", format!("{}{at}{}", policies.candidate, policies.revision)),
        ("enforced", format!("{}{more}", enforced.join(", "))),
        (
            "recorded",
            format!(
                "{} to {}",
                text::instant(scope.first_wall_ms),
                text::instant(scope.last_wall_ms)
            ),
        ),
        (
            "replayed",
            format!(
                "{} heartbeats of {} agents, {} agent-hours",
                whole(scope.heartbeats),
                whole(scope.agents),
                whole(scope.agent_hours.round() as u64)
            ),
        ),
    ];
    lines.extend(notes(report).into_iter().map(|note| ("note", note)));
    lines.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

/// What whoever reads the figures must know.
fn notes(report: &Report) -> Vec<String> {
    let (policies, scope) = (&report.policies, &report.scope);
    let mut notes = Vec::new();
    if !policies.judges {
        notes.push("it only paces: the recorded healths stand".to_owned());
    }
    if policies.paced_by != policies.candidate {
        notes.push(format!("it only judges: {} paces with its healths", policies.paced_by));
    }
    if scope.given_up {
        let count = whole(report.exact.faults.count);
        notes.push(format!("ended early after {count} faults: the rest was not replayed"));
    }
    notes.extend(scope.losses.iter().map(|loss| format!("lost: {loss}")));
    notes.extend(left_out(scope));
    notes
}

fn left_out(scope: &Scope) -> impl Iterator<Item = String> {
    let shares = |count: u64| format!("{} ({})", whole(count), percent(count, scope.heartbeats));
    // A record or two may come from a configuration that changed meanwhile.
    let unexplained = scope.unexplained * 1_000 > scope.heartbeats;
    let wrong = (
        unexplained,
        "recorded intervals are not what this configuration makes of the \
                              recorded hints: give the --config of the gateway that recorded",
    );
    let lines = [
        (wrong.0, format!("{} {}", shares(scope.unexplained), wrong.1)),
        (scope.filtered > 0, format!("{} heartbeats left out by the flags", whole(scope.filtered))),
        (scope.damaged > 0, format!("{} records are damaged and left out", whole(scope.damaged))),
        (
            scope.without_observation > 0,
            format!("{} records without an observation", whole(scope.without_observation)),
        ),
        (
            scope.beyond_agents > 0,
            format!("{} heartbeats of agents beyond a million", whole(scope.beyond_agents)),
        ),
        (
            scope.unknown_class > 0,
            format!(
                "{} of a class that is not configured, taken for normal",
                shares(scope.unknown_class)
            ),
        ),
        (
            scope.unknown_lease > 0,
            format!(
                "{} of holders whose leases are not known: no cap of a lease",
                shares(scope.unknown_lease)
            ),
        ),
    ];
    lines.into_iter().filter(|(is_so, _)| *is_so).map(|(_, line)| line)
}

fn exact(report: &Report) -> String {
    let (exact, scope) = (&report.exact, &report.scope);
    let all = scope.heartbeats;
    let sides = [&exact.enforced, &exact.candidate];
    let row = |name: &str, values: [String; 2]| {
        let [enforced, candidate] = values;
        vec![name.to_owned(), enforced, candidate]
    };
    let rows = [
        row("mean guarded interval", sides.map(|side| format!("{:.1} s", side.mean_interval))),
        row(
            "changes of health, an agent-hour",
            sides.map(|side| format!("{:.3}", side.health_changes_per_agent_hour)),
        ),
        row("moves of the interval", sides.map(|side| format!("{:.3}", side.moves_per_agent_hour))),
        row("turns of the interval", sides.map(|side| format!("{:.3}", side.turns_per_agent_hour))),
    ];
    let mut out = text::table(&["", "ENFORCED", "CANDIDATE"], &rows, &[1, 2]);
    let interval = &exact.interval;
    let seconds = &interval.seconds;
    out.push_str(&format!(
        "\ndiffer     {} of {} heartbeats ({}), {} of {} agents\n\
         interval   same {}, shorter {}, longer {}\n\
         by         {:+.1} s on average; p10 {:+.1} s, p50 {:+.1} s, p90 {:+.1} s, p99 {:+.1} s\n",
        whole(exact.differing),
        whole(all),
        percent(exact.differing, all),
        whole(exact.differing_agents),
        whole(scope.agents),
        percent(interval.same, all),
        percent(interval.shorter, all),
        percent(interval.longer, all),
        seconds.mean,
        seconds.p10,
        seconds.p50,
        seconds.p90,
        seconds.p99,
    ));
    out.push_str(&format!("faults     {}\n", faults(exact)));
    out.push_str(&format!(
        "time       {:.0} ns a heartbeat in batches, the host's part included\n",
        exact.policy_ns
    ));
    out.push_str(&confusion(exact));
    out.push_str(&top(exact));
    out.push_str(&exact.examples.iter().map(example).collect::<String>());
    out
}

fn faults(exact: &Exact) -> String {
    let faults = &exact.faults;
    if faults.count == 0 {
        return "none".to_owned();
    }
    let kinds: Vec<String> =
        faults.kinds.iter().map(|(kind, count)| format!("{kind} {}", whole(*count))).collect();
    format!(
        "{}; the built-in policy answered in its place; its breaker would have opened {} times",
        kinds.join(", "),
        whole(faults.breaker_trips)
    )
}

/// Healths, enforced down and candidate across.
fn confusion(exact: &Exact) -> String {
    let count = |from: Health, to: Health| {
        exact.health.iter().find(|(f, t, _)| (*f, *t) == (from, to)).map_or(0, |(.., count)| *count)
    };
    let is_met = |health: &&Health| {
        Health::ALL.iter().any(|other| count(**health, *other) + count(*other, **health) > 0)
    };
    let met: Vec<Health> = Health::ALL.iter().filter(is_met).copied().collect();
    let head: Vec<String> = met.iter().map(|health| health.as_str().to_uppercase()).collect();
    let head: Vec<&str> = ["HEALTH: ENFORCED, CANDIDATE →"]
        .into_iter()
        .chain(head.iter().map(String::as_str))
        .collect();
    let rows: Vec<Vec<String>> = met
        .iter()
        .map(|from| {
            let counts = met.iter().map(|to| whole(count(*from, *to)));
            [from.as_str().to_owned()].into_iter().chain(counts).collect()
        })
        .collect();
    let right: Vec<usize> = (1..=met.len()).collect();
    format!("\n{}", text::table(&head, &rows, &right))
}

fn top(exact: &Exact) -> String {
    if exact.top.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = exact
        .top
        .iter()
        .map(|agent| {
            vec![
                format!("{}/{}", agent.tenant, agent.agent_id),
                whole(agent.heartbeats.into()),
                whole(agent.differing.into()),
                whole(agent.other_health.into()),
                format!("× {:.2}", agent.mean_ratio),
            ]
        })
        .collect();
    let head = ["DIFFERS MOST", "HEARTBEATS", "DIFFERING", "OTHER HEALTH", "INTERVAL"];
    format!("\n{}", text::table(&head, &rows, &[1, 2, 3, 4]))
}

fn example(example: &Example) -> String {
    let said = |opinion: &pulsegate_replay::Opinion| {
        let hint = opinion.hint_ms.map_or("no number".to_owned(), |hint| format!("{hint:.0} ms"));
        let fault =
            opinion.fault.as_ref().map_or(String::new(), |fault| format!(", after {fault}"));
        let judged = match opinion.health_reason.as_str() {
            "" => opinion.health.as_str().to_owned(),
            reason => format!("{} ({reason})", opinion.health),
        };
        format!("{judged}; {hint} ({}), guarded {} ms{fault}", opinion.reason, opinion.interval_ms)
    };
    format!(
        "\nexample: {}\n  {}/{} at {}, heartbeat {}\n  saw        {}\n  enforced   {}\n  \
         candidate  {}\n",
        example.kind,
        example.tenant,
        example.agent_id,
        text::instant(example.wall_ms),
        example.sequence,
        wrapped(&example.seen_in_words(), SAW),
        said(&example.enforced),
        said(&example.candidate)
    )
}

/// Columns before what was seen.
const SAW: usize = 13;
/// Columns of a terminal that hold a line well.
const COLUMNS: usize = 100;

/// Words after each other with commas, further lines under the first.
fn wrapped(words: &[String], indent: usize) -> String {
    let (mut out, mut column) = (String::new(), indent);
    for (place, word) in words.iter().enumerate() {
        let comma = if place + 1 < words.len() { "," } else { "" };
        let width = word.chars().count() + comma.len();
        if place > 0 && column + 1 + width > COLUMNS {
            out.push_str(&format!("\n{}", " ".repeat(indent)));
            column = indent;
        } else if place > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(&format!("{word}{comma}"));
        column += width;
    }
    out
}

fn estimate(estimate: &Estimated) -> String {
    let counts = |bounds: &Bounds| range(bounds, |value| whole(value.round() as u64));
    let row = |name: &str, recorded: String, candidate: String| {
        vec![name.to_owned(), recorded, candidate]
    };
    let mistakes = |name: &str, mistakes: &Mistakes| {
        row(name, whole(mistakes.recorded), counts(&mistakes.estimated))
    };
    let rows = [
        row("heartbeats", whole(estimate.recorded), counts(&estimate.heartbeats)),
        row(
            "heartbeats, an agent-hour",
            format!("{:.1}", estimate.recorded_per_agent_hour),
            format!("{:.1}", estimate.per_agent_hour),
        ),
        row("early heartbeats", whole(estimate.recorded_early), whole(estimate.early)),
        mistakes("living agents suspected", &estimate.false_suspicions),
        mistakes("living agents failed", &estimate.false_failures),
    ];
    let mut out = text::table(&["", "RECORDED", "CANDIDATE"], &rows, &[1, 2]);
    let saved = estimate.recorded as f64 - estimate.heartbeats.middle;
    let word = if saved >= 0.0 { "saved" } else { "added" };
    out.push_str(&format!(
        "\n{word}      {} heartbeats ({})\n",
        whole(saved.abs().round() as u64),
        percent(saved.abs().round() as u64, estimate.recorded)
    ));
    for (what, mistakes) in
        [("suspected", &estimate.false_suspicions), ("failed", &estimate.false_failures)]
    {
        if mistakes.recorded > 0 || mistakes.estimated.high > 0.0 {
            out.push_str(&format!(
                "{what:<10} {} would not have been, and {} more would have\n",
                counts(&mistakes.gone),
                counts(&mistakes.come)
            ));
        }
    }
    out.push_str(&detection(estimate));
    if estimate.undirected > 0 {
        out.push_str(&format!(
            "note       {} heartbeats ({}) came before they were due and by no rule: their agents \
             keep a\n           cadence of their own, and would not obey the candidate either\n",
            whole(estimate.undirected),
            percent(estimate.undirected, estimate.recorded)
        ));
    }
    if estimate.breaks > 0 {
        let breaks = whole(estimate.breaks);
        out.push_str(&format!("note       {breaks} stretches without records are left out\n"));
    }
    out
}

fn detection(estimate: &Estimated) -> String {
    let found = &estimate.detection;
    if found.silences == 0 {
        return "silences   none was real: nothing to notice earlier or later\n".to_owned();
    }
    let seconds = &found.seconds;
    format!(
        "silences   {} real ones ({} not back yet); noticed earlier {}, later {}, not at all {}\n\
         noticed    {} on average; p10 {:+.1} s, p50 {:+.1} s, p90 {:+.1} s\n",
        whole(found.silences),
        whole(found.not_back),
        whole(found.earlier),
        whole(found.later),
        whole(found.unnoticed),
        range(&found.shift, |value| format!("{value:+.1} s")),
        seconds.p10,
        seconds.p50,
        seconds.p90,
    )
}

/// The middle, and the bounds in brackets where they differ.
fn range(bounds: &Bounds, number: impl Fn(f64) -> String) -> String {
    let [low, middle, high] = [bounds.low, bounds.middle, bounds.high].map(number);
    if low == high { middle } else { format!("{middle} [{low} to {high}]") }
}

/// A count with its thousands apart.
pub(super) fn whole(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn percent(count: u64, of: u64) -> String {
    format!("{:.1} %", count as f64 * 100.0 / of.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_under_the_first() {
        let words = vec!["x".repeat(40); 4];
        let text = wrapped(&words, 13);
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert_eq!(text.replace(['\n', ' '], ""), words.join(","));
        assert_eq!(wrapped(&[], 13), "");
    }

    #[test]
    fn numbers_read_well() {
        let said = [0, 999, 1_000, 1_234_567].map(whole);
        assert_eq!(said, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((percent(1, 8), percent(0, 0)), ("12.5 %".to_owned(), "0.0 %".to_owned()));
        let bounds = Bounds { low: 1.0, middle: 2.0, high: 3.0 };
        assert_eq!(range(&bounds, |value| format!("{value}")), "2 [1 to 3]");
        let same = Bounds { low: 2.0, ..Bounds { high: 2.0, ..bounds } };
        assert_eq!(range(&same, |value| format!("{value}")), "2");
    }
}
