//! The page: prose, with tables and plots in their places.

use std::fmt::Write as _;

use super::plot::{Axis, Drawn, Plot, Series};
use super::{Detector, Kind, Measured, Point, Result, Scenario, Size, scenarios};
use crate::quality::{MistakeReport, Spread};

/// What the page says around its numbers.
const TEMPLATE: &str = include_str!("page.md");

/// The page, from the results of all jobs.
#[must_use]
pub fn page(results: &[Result], size: Size) -> String {
    let scenarios = scenarios(size.shrunk);
    let mut tables = String::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        let _ = write!(tables, "### `{}`\n\n{}\n\n", scenario.name, scenario.what);
        tables.push_str(&table(scenario, &of(results, index)));
        tables.push('\n');
    }
    let find = |name: &str| {
        let index = scenarios.iter().position(|scenario| scenario.name == name);
        index.map(|index| of(results, index)).unwrap_or_default()
    };
    TEMPLATE
        .replace("{{seed}}", &size.seed.to_string())
        .replace("{{check}}", &check_table(&points(results)))
        .replace("{{check-plot}}", &check_plot(&points(results)).svg())
        .replace("{{tables}}", tables.trim_end())
        .replace("{{cost-plot}}", &cost_plot(&find("loss-1"), &find("loss-1-idle")).svg())
        .replace("{{restart-plot}}", &restart_plot(&find("mass-restart")).svg())
        .replace("{{aims}}", aims(&find).trim_end())
}

/// Measurements of one scenario, in the order of [`Detector::ALL`].
fn of(results: &[Result], scenario: usize) -> Vec<(Detector, &Measured)> {
    let find = |detector: Detector| {
        results.iter().find_map(|result| match result {
            Result::Measured(index, known, measured)
                if (*index, *known) == (scenario, detector) =>
            {
                Some((detector, &**measured))
            }
            _ => None,
        })
    };
    Detector::ALL.iter().filter_map(|&detector| find(detector)).collect()
}

fn points(results: &[Result]) -> Vec<&Point> {
    let mut points: Vec<&Point> = results
        .iter()
        .filter_map(|result| match result {
            Result::Point(point) => Some(&**point),
            Result::Measured(..) => None,
        })
        .collect();
    points.sort_by(|a, b| a.bound.total_cmp(&b.bound).then((a.kind as u8).cmp(&(b.kind as u8))));
    points
}

/// The table of one scenario: the columns that mean something in it.
#[must_use]
pub fn table(scenario: &Scenario, rows: &[(Detector, &Measured)]) -> String {
    let has = |test: &dyn Fn(&Measured) -> bool| rows.iter().any(|(_, row)| test(row));
    let crashes = has(&|row| row.quality.crashes > 0);
    let surges = scenario.name == "surges";
    let restart = scenario.name == "mass-restart";
    let upheaval = matches!(scenario.name, "partition" | "outage" | "mass-restart");
    let mut columns: Vec<Column> =
        vec![("messages per agent and hour", &|row| format!("{:.1}", row.messages))];
    if crashes {
        columns.push(("suspect after: mean / p99 s", &|row| {
            spread(row.quality.suspected.time.as_ref())
        }));
        columns
            .push(("failed after: mean / p99 s", &|row| spread(row.quality.failed.time.as_ref())));
    }
    if upheaval {
        columns.push(("failures of living agents", &|row| row.failed_living.to_string()));
    } else {
        columns.push(("false suspicions per agent and day", &|row| {
            per_day(&row.quality.false_suspicions, row)
        }));
        columns.push(("false failures per agent and day", &|row| {
            per_day(&row.quality.false_failures, row)
        }));
        columns.push(("mistake lasts, mean s", &|row| {
            let duration = row.quality.false_suspicions.duration;
            duration.map_or("–".to_owned(), |found| format!("{:.1}", found.mean))
        }));
        columns.push(("accuracy", &|row| accuracy(row)));
    }
    if surges {
        columns.push(("surge known after: mean / p99 s", &|row| {
            let reaction = row.reaction.as_ref();
            reaction
                .map_or("–".to_owned(), |found| format!("{:.2} / {:.2}", found.mean, found.p99))
        }));
    }
    if restart {
        columns.push(("arrivals: peak over mean", &|row| {
            row.peak_over_mean().map_or("–".to_owned(), |share| format!("{share:.2}"))
        }));
    }
    columns.push(("turns per agent and hour", &|row| {
        if row.turns == 0.0 { "0".to_owned() } else { format!("{:.3}", row.turns) }
    }));
    markdown(&columns, rows)
}

type Column<'a> = (&'a str, &'a dyn Fn(&Measured) -> String);

fn markdown(columns: &[Column<'_>], rows: &[(Detector, &Measured)]) -> String {
    let mut out = "| |".to_owned();
    columns.iter().for_each(|(title, _)| {
        let _ = write!(out, " {title} |");
    });
    out.push_str("\n|---|");
    columns.iter().for_each(|_| out.push_str("---|"));
    out.push('\n');
    for (detector, row) in rows {
        let _ = write!(out, "| {} |", detector.name());
        for (_, cell) in columns {
            let _ = write!(out, " {} |", cell(row));
        }
        out.push('\n');
    }
    out
}

fn spread(found: Option<&Spread>) -> String {
    found.map_or("–".to_owned(), |found| format!("{:.1} / {:.1}", found.mean, found.p99))
}

/// A rate; where nothing was seen, what is then known of it: with 95 % it is below three in all.
fn per_day(mistakes: &MistakeReport, row: &Measured) -> String {
    if mistakes.count == 0 {
        return format!("0 (< {})", small(3.0 / row.agent_days));
    }
    small(rate(mistakes, row))
}

fn rate(mistakes: &MistakeReport, row: &Measured) -> f64 {
    mistakes.count as f64 / (row.quality.watched / 86_400.0)
}

fn small(value: f64) -> String {
    if value >= 0.1 { format!("{value:.2}") } else { format!("{value:.5}") }
}

/// Share of trusted time, by its missing part.
fn accuracy(row: &Measured) -> String {
    row.quality.accuracy.map_or("–".to_owned(), |accuracy| {
        if accuracy >= 1.0 { "1".to_owned() } else { format!("1 − {:.1e}", 1.0 - accuracy) }
    })
}

fn check_table(points: &[&Point]) -> String {
    let mut out =
        "| detector | bound T_D s | heartbeats | mistakes | E(T_MR) s, theory | measured \
                   | off by standard errors | E(T_M) s, theory | measured | 1 − P_A, theory | \
                   measured |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for point in points {
        let kind = if point.kind == Kind::NfdS { "NFD-S" } else { "NFD-E" };
        let mistakes = &point.report.false_suspicions;
        let recurrence = point.between_mistakes();
        let measured = recurrence.map_or("–".to_owned(), |found| {
            format!("{} ± {}", four(found.mean), two(found.error))
        });
        let off = point.off().map_or("–".to_owned(), |off| format!("{off:+.1}"));
        let duration = mistakes
            .duration
            .map_or("–".to_owned(), |found| format!("{:.4} ± {:.4}", found.mean, found.error));
        let accuracy = point.report.accuracy.map_or(f64::NAN, |accuracy| 1.0 - accuracy);
        let _ = writeln!(
            out,
            "| {kind} | {:.2} | {} | {} | {} | {measured} | {off} | {:.4} | {duration} | {:.3e} | \
             {accuracy:.3e} |",
            point.bound,
            point.heartbeats,
            mistakes.count,
            four(point.theory.recurrence),
            point.theory.duration,
            1.0 - point.theory.accuracy,
        );
    }
    out.trim_end().to_owned()
}

fn four(value: f64) -> String {
    if value >= 1e5 { format!("{value:.3e}") } else { format!("{value:.4}") }
}

fn two(value: f64) -> String {
    if value >= 1e4 { format!("{value:.1e}") } else { format!("{value:.2}") }
}

fn check_plot(points: &[&Point]) -> Plot {
    let theory = (100..=350).map(|hundredths| f64::from(hundredths) / 100.0);
    let theory = theory.map(|bound| (bound, super::check::theory(bound).recurrence)).collect();
    let measured = |kind: Kind| {
        let of_kind = points.iter().filter(|point| point.kind == kind);
        of_kind.filter_map(|point| Some((point.bound, point.between_mistakes()?.mean))).collect()
    };
    let series = |name: &str, points, drawn| Series { name: name.to_owned(), points, drawn };
    Plot {
        title: "The simulator against theory",
        across: Axis {
            label: "detection bound, s",
            from: 0.9,
            to: 3.6,
            log: false,
            ticks: vec![1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
        },
        up: Axis {
            label: "time between mistakes, s",
            from: 0.5,
            to: 1e7,
            log: true,
            ticks: vec![1.0, 100.0, 1e4, 1e6],
        },
        series: vec![
            series("theory (NFD-S)", theory, Drawn::Line),
            series("NFD-S, simulated", measured(Kind::NfdS), Drawn::Dots),
            series("NFD-E, simulated", measured(Kind::NfdE), Drawn::Dots),
        ],
    }
}

fn cost_plot(busy: &[(Detector, &Measured)], idle: &[(Detector, &Measured)]) -> Plot {
    let point =
        |row: &Measured| row.quality.suspected.time.as_ref().map(|time| (row.messages, time.mean));
    let mut series: Vec<Series> = busy
        .iter()
        .filter(|(detector, _)| *detector != Detector::Fixed(10))
        .filter_map(|(detector, row)| {
            let name = detector.name().replace(['*', '`'], "");
            Some(Series { name, points: vec![point(row)?], drawn: Drawn::Dots })
        })
        .collect();
    let ours = idle.iter().find(|(detector, _)| *detector == Detector::Steady);
    if let Some(at) = ours.and_then(|(_, row)| point(row)) {
        let name = "pulsegate, steady, idle".to_owned();
        series.push(Series { name, points: vec![at], drawn: Drawn::Dots });
    }
    Plot {
        title: "Cost and detection at 1 % loss",
        across: Axis {
            label: "messages per agent and hour",
            from: 40.0,
            to: 140.0,
            log: false,
            ticks: vec![40.0, 60.0, 80.0, 100.0, 120.0, 140.0],
        },
        up: Axis {
            label: "suspect after, mean s",
            from: 20.0,
            to: 640.0,
            log: true,
            ticks: vec![20.0, 40.0, 80.0, 160.0, 320.0, 640.0],
        },
        series,
    }
}

fn restart_plot(rows: &[(Detector, &Measured)]) -> Plot {
    let wanted = [Detector::Fixed(30), Detector::FixedRetries, Detector::Steady];
    let first = |row: &Measured| row.arrivals.iter().position(|&arrivals| arrivals > 0);
    let series: Vec<Series> = rows
        .iter()
        .filter(|(detector, _)| wanted.contains(detector))
        .filter_map(|(detector, row)| {
            let from = first(row)?;
            let points = row.arrivals[from..].iter().take(240).enumerate();
            let points = points.map(|(at, &count)| (at as f64, f64::from(count))).collect();
            let name = detector.name().replace(['*', '`'], "");
            Some(Series { name, points, drawn: Drawn::Line })
        })
        .collect();
    let peak = series.iter().flat_map(|one| &one.points).map(|point| point.1).fold(1.0, f64::max);
    let top = (peak / 2_000.0).ceil() * 2_000.0;
    Plot {
        title: "After a restart of the whole fleet",
        across: Axis {
            label: "seconds from the first second heartbeat on",
            from: 0.0,
            to: 240.0,
            log: false,
            ticks: vec![0.0, 60.0, 120.0, 180.0, 240.0],
        },
        up: Axis {
            label: "heartbeats in a second",
            from: 0.0,
            to: top,
            log: false,
            ticks: (0..=4).map(|step| top * f64::from(step) / 4.0).collect(),
        },
        series,
    }
}

/// The aims of the project, with what was measured.
fn aims<'a>(find: &dyn Fn(&str) -> Vec<(Detector, &'a Measured)>) -> String {
    let row = |scenario: &str, detector: Detector| {
        let rows = find(scenario);
        rows.into_iter().find(|(known, _)| *known == detector).map(|(_, row)| row)
    };
    let mut out = "| aim | measured | |\n|---|---|---|\n".to_owned();
    let mut add = |aim: &str, measured: String, met: bool| {
        let verdict = if met { "met" } else { "**missed**" };
        let _ = writeln!(out, "| {aim} | {measured} | {verdict} |");
    };
    if let Some(found) = row("loss-1", Detector::Steady) {
        let time = found.quality.suspected.time;
        let (mean, p99) = time.map_or((f64::NAN, f64::NAN), |time| (time.mean, time.p99));
        let wrong = rate(&found.quality.false_suspicions, found);
        add(
            "at 1 % loss suspect within 37 s on average and 50 s for 99 %, at ≤ 130 messages per \
             agent and hour and ≤ 0.01 false suspicions per agent and day",
            format!(
                "{mean:.1} s, {p99:.1} s, {:.1}, {}",
                found.messages,
                per_day(&found.quality.false_suspicions, found)
            ),
            mean <= 37.0 && p99 <= 50.0 && found.messages <= 130.0 && wrong <= 0.01,
        );
    }
    let pauses = (row("pauses", Detector::Steady), row("pauses", Detector::Fixed(30)));
    if let (Some(ours), Some(fixed)) = pauses {
        let (ours, fixed) =
            (rate(&ours.quality.false_failures, ours), rate(&fixed.quality.false_failures, fixed));
        add(
            "no more false failures under pauses than fixed 30 s × 3",
            format!("{} against {} per agent and day", small(ours), small(fixed)),
            ours <= fixed,
        );
    }
    if let Some(found) = row("loss-1-idle", Detector::Steady) {
        let longest = found.quality.suspected.time.map_or(f64::NAN, |time| time.max);
        add(
            "the bound of fixed 30 s × 3 (90 s) at ≤ 66 messages per agent and hour, steady state",
            format!("at most {longest:.1} s, {:.1} messages", found.messages),
            longest <= 90.0 && found.messages <= 66.0,
        );
    }
    if let Some(found) = row("surges", Detector::QueuePressure) {
        let p99 = found.reaction.map_or(f64::NAN, |reaction| reaction.p99);
        add("surges known after ≤ 1.2 s for 99 %", format!("{p99:.2} s"), p99 <= 1.2);
    }
    if let Some(share) = row("mass-restart", Detector::Steady).and_then(Measured::peak_over_mean) {
        add(
            "after a restart of 100,000 arrivals ≤ 1.3 × mean from the second heartbeat on",
            format!("{share:.2}"),
            share <= 1.3,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    /// What stands around the numbers can change without measuring anew.
    #[test]
    fn the_page_of_the_manual_says_what_the_template_says() {
        let page = include_str!("../../manual/science.md");
        let prose = super::TEMPLATE.lines().filter(|line| !line.contains("{{"));
        for line in prose {
            assert!(page.lines().any(|known| known == line), "not on the page: {line}");
        }
    }
}
