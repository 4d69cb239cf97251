//! A report as one page of HTML: nothing is loaded from elsewhere, and nothing runs in it.

use std::fmt::Write as _;

use crate::plot::{Drawn, Plot, escape};
use crate::report::{Bounds, Estimated, Exact, Example, Mistakes, Opinion, Report, Side};
use crate::spread::Bin;

const STYLE: &str = include_str!("page.css");
/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// The report as a page. `instant` writes an instant, given in Unix milliseconds.
#[must_use]
pub fn page(report: &Report, instant: &dyn Fn(u64) -> String) -> String {
    let (policies, scope) = (&report.policies, &report.scope);
    let mut out = String::new();
    let title = format!("Replay of {}", policies.candidate);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta \
         http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p class=\"lead\">What a policy would have done to recorded \
         heartbeats.</p>\n",
        title = escape(&title)
    );
    let enforced: Vec<String> = policies
        .enforced
        .iter()
        .map(|(name, count)| format!("{name} ({} heartbeats)", whole(*count as f64)))
        .collect();
    let mut facts = vec![
        ("candidate", format!("{} {}", policies.candidate, policies.revision)),
        ("enforced", enforced.join(", ")),
        (
            "recorded",
            format!("{} to {}", instant(scope.first_wall_ms), instant(scope.last_wall_ms)),
        ),
        (
            "replayed",
            format!(
                "{} heartbeats of {} agents, {} agent-hours",
                whole(scope.heartbeats as f64),
                whole(scope.agents as f64),
                whole(scope.agent_hours)
            ),
        ),
    ];
    facts.extend(notes(report).into_iter().map(|note| ("note", note)));
    out.push_str(&list(&facts));
    out.push_str(&exact(report, instant));
    out.push_str(&estimate(&report.estimate, instant));
    out.push_str("</body>\n</html>\n");
    out
}

fn notes(report: &Report) -> Vec<String> {
    let (policies, scope) = (&report.policies, &report.scope);
    let counted = [
        (scope.filtered, "heartbeats left out by the flags"),
        (scope.damaged, "records are damaged and left out"),
        (scope.without_observation, "records without an observation"),
        (scope.beyond_agents, "heartbeats of agents beyond those that are kept"),
        (scope.unknown_class, "heartbeats of a class that is not configured, taken for normal"),
        (scope.unknown_lease, "heartbeats of holders whose leases are not known"),
        (
            scope.unexplained,
            "recorded intervals are not what this configuration makes of the recorded hints",
        ),
    ];
    let counted = counted.into_iter().filter(|(count, _)| *count > 0);
    let mut notes: Vec<String> =
        counted.map(|(count, what)| format!("{} {what}", whole(count as f64))).collect();
    if !policies.judges {
        notes.push("the candidate only paces: the recorded healths stand".to_owned());
    }
    if policies.paced_by != policies.candidate {
        notes.push(format!("the candidate only judges: {} paces", policies.paced_by));
    }
    if scope.given_up {
        notes.push("ended early: the candidate failed too often".to_owned());
    }
    notes.extend(scope.losses.iter().map(|loss| format!("lost: {loss}")));
    notes
}

fn exact(report: &Report, instant: &dyn Fn(u64) -> String) -> String {
    let (exact, scope) = (&report.exact, &report.scope);
    let mut out = String::from(
        "<section class=\"exact\">\n<h2>Exact</h2>\n<p class=\"note\">What the candidate answers \
         to each recorded observation. It sees what the enforced policy saw; the same guard moves \
         both intervals. Nothing is guessed.</p>\n",
    );
    out.push_str(&sides(exact));
    let all = scope.heartbeats as f64;
    let interval = &exact.interval;
    let seconds = &interval.seconds;
    let faults: Vec<String> =
        exact.faults.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    out.push_str(&list(&[
        (
            "differ",
            format!(
                "{} heartbeats ({}), {} of {} agents",
                whole(exact.differing as f64),
                percent(exact.differing as f64, all),
                whole(exact.differing_agents as f64),
                whole(scope.agents as f64)
            ),
        ),
        (
            "interval",
            format!(
                "same {}, shorter {}, longer {}",
                percent(interval.same as f64, all),
                percent(interval.shorter as f64, all),
                percent(interval.longer as f64, all)
            ),
        ),
        (
            "by",
            format!(
                "{:+.1} s on average; p10 {:+.1} s, p50 {:+.1} s, p90 {:+.1} s, p99 {:+.1} s",
                seconds.mean, seconds.p10, seconds.p50, seconds.p90, seconds.p99
            ),
        ),
        (
            "faults",
            match exact.faults.count {
                0 => "none".to_owned(),
                _ => format!(
                    "{}; its breaker would have opened {} times",
                    faults.join(", "),
                    exact.faults.breaker_trips
                ),
            },
        ),
        ("time", format!("{:.0} ns a heartbeat in batches", exact.policy_ns)),
    ]));
    out.push_str(&confusion(exact));
    out.push_str(&ratios(&interval.ratio_bins, interval.same));
    out.push_str(&spread(
        "Guarded interval: candidate less enforced",
        "seconds",
        "heartbeats",
        &interval.seconds_bins,
    ));
    out.push_str(&top(exact));
    if !exact.examples.is_empty() {
        out.push_str("<h3>An example of each kind of difference</h3>\n");
    }
    exact.examples.iter().for_each(|example| out.push_str(&shown(example, instant)));
    out.push_str("</section>\n");
    out
}

fn sides(exact: &Exact) -> String {
    let both = [&exact.enforced, &exact.candidate];
    let row = |name: &str, value: &dyn Fn(&Side) -> String| {
        let [enforced, candidate] = both.map(value);
        vec![name.to_owned(), enforced, candidate]
    };
    table(
        &["", "enforced", "candidate"],
        &[
            row("mean guarded interval", &|side| format!("{:.1} s", side.mean_interval)),
            row("changes of health, an agent-hour", &|side| {
                format!("{:.3}", side.health_changes_per_agent_hour)
            }),
            row("moves of the interval, an agent-hour", &|side| {
                format!("{:.3}", side.moves_per_agent_hour)
            }),
            row("turns of the interval, an agent-hour", &|side| {
                format!("{:.3}", side.turns_per_agent_hour)
            }),
        ],
        1,
    )
}

fn confusion(exact: &Exact) -> String {
    let rows: Vec<Vec<String>> = exact
        .health
        .iter()
        .map(|(from, to, count)| vec![from.to_string(), to.to_string(), whole(*count as f64)])
        .collect();
    format!("<h3>Health</h3>\n{}", table(&["enforced", "candidate", "heartbeats"], &rows, 2))
}

fn ratios(bins: &[Bin], same: u64) -> String {
    let label = |bin: &Bin| match (bin.from, bin.to) {
        (None, Some(to)) => format!("< {to:.2}"),
        (Some(from), None) => format!("≥ {from:.0}"),
        (Some(from), _) => format!("{from:.2}+"),
        _ => String::new(),
    };
    let mut bars: Vec<(String, u64)> = bins.iter().map(|bin| (label(bin), bin.count)).collect();
    // The same interval stands in the middle of those that are nearly the same.
    bars.insert(bins.len().div_ceil(2), ("same".to_owned(), same));
    let plot = Plot {
        title: "Guarded interval: candidate by enforced",
        across: "ratio".to_owned(),
        up: "heartbeats",
        drawn: Drawn::Columns(bars),
    };
    plot.svg()
}

fn spread(title: &'static str, across: &str, up: &'static str, bins: &[Bin]) -> String {
    let bars = bins.iter().filter_map(|bin| Some((bin.from?, bin.to?, bin.count))).collect();
    Plot { title, across: across.to_owned(), up, drawn: Drawn::Histogram(bars) }.svg()
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
    let head = ["agent", "heartbeats", "differing", "other health", "mean interval"];
    format!("<h3>Agents that differ most</h3>\n{}", table(&head, &rows, 1))
}

fn shown(example: &Example, instant: &dyn Fn(u64) -> String) -> String {
    let said = |opinion: &Opinion| {
        let hint = opinion.hint_ms.map_or("no number".to_owned(), |hint| format!("{hint:.0} ms"));
        let fault =
            opinion.fault.as_ref().map_or(String::new(), |fault| format!(", after {fault}"));
        let reason = &opinion.reason;
        let why = if opinion.health_reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", opinion.health_reason)
        };
        format!(
            "{}{why}; {hint} ({reason}), guarded {} ms{fault}",
            opinion.health, opinion.interval_ms
        )
    };
    format!(
        "<p><strong>{}</strong></p>\n{}",
        escape(&example.kind),
        list(&[
            (
                "heartbeat",
                format!(
                    "{} of {}/{}, {}",
                    example.sequence,
                    example.tenant,
                    example.agent_id,
                    instant(example.wall_ms)
                ),
            ),
            ("saw", example.seen_in_words().join(", ")),
            ("enforced", said(&example.enforced)),
            ("candidate", said(&example.candidate)),
        ])
    )
}

fn estimate(estimate: &Estimated, instant: &dyn Fn(u64) -> String) -> String {
    let mut out = String::from(
        "<section class=\"estimated\">\n<h2>Estimated</h2>\n<p class=\"note\">What would have come \
         of it, had the candidate&#39;s directives been obeyed. Another cadence makes other \
         heartbeats; these are taken from the recorded ones by thinning and holding. Bounds are of \
         what the records cannot tell: when, between two heartbeats, a silence began.</p>\n",
    );
    let row = |name: &str, recorded: String, bounds: &Bounds| {
        let [low, middle, high] = [bounds.low, bounds.middle, bounds.high].map(whole);
        vec![name.to_owned(), recorded, middle, low, high]
    };
    let mistakes = |name: &str, mistakes: &Mistakes| {
        row(name, whole(mistakes.recorded as f64), &mistakes.estimated)
    };
    let mut rows = vec![
        row("heartbeats", whole(estimate.recorded as f64), &estimate.heartbeats),
        mistakes("living agents suspected", &estimate.false_suspicions),
        mistakes("living agents failed", &estimate.false_failures),
    ];
    rows.insert(
        1,
        vec![
            "heartbeats, an agent-hour".to_owned(),
            format!("{:.1}", estimate.recorded_per_agent_hour),
            format!("{:.1}", estimate.per_agent_hour),
            String::new(),
            String::new(),
        ],
    );
    rows.insert(
        2,
        vec![
            "early heartbeats".to_owned(),
            whole(estimate.recorded_early as f64),
            whole(estimate.early as f64),
            String::new(),
            String::new(),
        ],
    );
    let head = ["", "recorded", "candidate", "lower bound", "upper bound"];
    out.push_str(&table(&head, &rows, 1));
    out.push_str(&timeline(estimate, instant));
    out.push_str(&detection(estimate));
    let mut facts = Vec::new();
    for (what, mistakes) in
        [("suspected", &estimate.false_suspicions), ("failed", &estimate.false_failures)]
    {
        if mistakes.recorded > 0 || mistakes.estimated.high > 0.0 {
            let told = |bounds: &Bounds| {
                let [low, middle, high] = [bounds.low, bounds.middle, bounds.high].map(whole);
                format!("{middle} ({low} to {high})")
            };
            let [gone, come] = [&mistakes.gone, &mistakes.come].map(told);
            facts.push((what, format!("{gone} would not have been, and {come} more would have")));
        }
    }
    if estimate.undirected > 0 {
        let count = whole(estimate.undirected as f64);
        let text = "heartbeats came before they were due and by no rule: their agents keep a \
                    cadence of their own, and would not obey the candidate either";
        facts.push(("note", format!("{count} {text}")));
    }
    if estimate.breaks > 0 {
        let count = whole(estimate.breaks as f64);
        facts.push(("note", format!("{count} stretches without records are left out")));
    }
    out.push_str(&list(&facts));
    out.push_str("</section>\n");
    out
}

fn timeline(estimate: &Estimated, instant: &dyn Fn(u64) -> String) -> String {
    let line = &estimate.timeline;
    let per_minute = 60_000.0 / line.step_ms.max(1) as f64;
    // The last span is not over; as a low point it would look like an outage.
    let whole = if line.recorded.len() > 2 { line.recorded.len() - 1 } else { line.recorded.len() };
    let scaled = |counts: &[f64]| {
        counts.iter().take(whole).map(|count| count * per_minute).collect::<Vec<f64>>()
    };
    let hours = line.step_ms as f64 * whole as f64 / HOUR_MS;
    let plot = Plot {
        title: "Heartbeats over time",
        across: format!("hours since {}, downtime not counted", instant(line.start_wall_ms)),
        up: "heartbeats a minute",
        drawn: Drawn::Lines {
            from: 0.0,
            to: hours,
            series: vec![
                ("recorded", scaled(&line.recorded)),
                ("candidate (est.)", scaled(&line.estimated)),
            ],
        },
    };
    plot.svg()
}

fn detection(estimate: &Estimated) -> String {
    let found = &estimate.detection;
    if found.silences == 0 {
        return "<p>No silence was real: nothing to notice earlier or later.</p>\n".to_owned();
    }
    let shift = &found.shift;
    let facts = list(&[
        (
            "silences",
            format!(
                "{} real ones ({} not back yet): noticed earlier {}, later {}, not at all {}",
                whole(found.silences as f64),
                whole(found.not_back as f64),
                whole(found.earlier as f64),
                whole(found.later as f64),
                whole(found.unnoticed as f64)
            ),
        ),
        (
            "noticed",
            format!(
                "{:+.1} s on average, bounds {:+.1} s to {:+.1} s",
                shift.middle, shift.low, shift.high
            ),
        ),
    ]);
    let title = "When real silences are noticed: candidate less enforced";
    format!(
        "{facts}{}",
        spread(title, "seconds; below zero is earlier", "silences", &found.seconds_bins)
    )
}

fn table(head: &[&str], rows: &[Vec<String>], numbers_from: usize) -> String {
    let class = |column: usize| if column >= numbers_from { " class=\"n\"" } else { "" };
    let mut out = String::from("<div class=\"wide\"><table>\n<tr>");
    for (column, cell) in head.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(column), escape(cell));
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(column), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    out
}

fn list(facts: &[(&str, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut out = String::from("<dl>\n");
    for (name, value) in facts {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
    out
}

/// A count with its thousands apart.
fn whole(count: f64) -> String {
    let digits = format!("{:.0}", count.max(0.0));
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn percent(count: f64, of: f64) -> String {
    format!("{:.1} %", count * 100.0 / of.max(1.0))
}
