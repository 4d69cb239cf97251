//! Plots as SVG: bars and lines, readable in light and dark, without a library. The same look as
//! that of the science page (`sim`), which has no bars.

use std::fmt::Write as _;

/// Two lines over the same spans, or bars.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) across: String,
    pub(crate) up: &'static str,
    pub(crate) drawn: Drawn,
}

#[derive(Clone, Debug)]
pub(crate) enum Drawn {
    /// Names, and values at equal distances from `from` to `to` on the axis.
    Lines { from: f64, to: f64, series: Vec<(&'static str, Vec<f64>)> },
    /// Bars between edges.
    Histogram(Vec<(f64, f64, u64)>),
    /// Bars of equal width with a label each.
    Columns(Vec<(String, u64)>),
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;
/// Told apart by most eyes, on light and dark ground. Source: Okabe and Ito 2008.
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

impl Plot {
    /// The plot as one line of SVG.
    pub(crate) fn svg(&self) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" aria-label=\"{}\" font-size=\"12\" fill=\"currentColor\">",
            escape(self.title)
        );
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        text(&mut out, (LEFT, 18.0), "start", self.title);
        text(&mut out, (middle, HEIGHT - 8.0), "middle", &self.across);
        let _ = write!(
            out,
            "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(self.up)
        );
        let highest = self.highest();
        for tick in ticks(0.0, highest) {
            let y = height(tick, highest);
            line(&mut out, (LEFT, y), (WIDTH - RIGHT, y), 0.15);
            text(&mut out, (LEFT - 6.0, y + 4.0), "end", &number(tick));
        }
        match &self.drawn {
            Drawn::Lines { from, to, series } => lines(&mut out, (*from, *to), series, highest),
            Drawn::Histogram(bars) => histogram(&mut out, bars, highest),
            Drawn::Columns(bars) => columns(&mut out, bars, highest),
        }
        line(&mut out, (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM), 0.8);
        out.push_str("</svg>");
        out
    }

    fn highest(&self) -> f64 {
        let most = match &self.drawn {
            Drawn::Lines { series, .. } => {
                series.iter().flat_map(|(_, values)| values).fold(0.0_f64, |most, v| most.max(*v))
            }
            Drawn::Histogram(bars) => {
                bars.iter().fold(0.0_f64, |most, (.., count)| most.max(*count as f64))
            }
            Drawn::Columns(bars) => {
                bars.iter().fold(0.0_f64, |most, (_, count)| most.max(*count as f64))
            }
        };
        if most > 0.0 { most * 1.05 } else { 1.0 }
    }
}

fn height(value: f64, highest: f64) -> f64 {
    HEIGHT - BOTTOM - value / highest * (HEIGHT - BOTTOM - TOP)
}

fn place(value: f64, (from, to): (f64, f64)) -> f64 {
    let span = if to > from { to - from } else { 1.0 };
    LEFT + (value - from) / span * (WIDTH - RIGHT - LEFT)
}

fn across(out: &mut String, span: (f64, f64)) {
    for tick in ticks(span.0, span.1) {
        let x = place(tick, span);
        line(out, (x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 4.0), 0.8);
        text(out, (x, HEIGHT - BOTTOM + 18.0), "middle", &number(tick));
    }
}

fn lines(out: &mut String, span: (f64, f64), series: &[(&'static str, Vec<f64>)], highest: f64) {
    across(out, span);
    for (index, (name, values)) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dashes = if index == 0 { "" } else { " stroke-dasharray=\"6 3\"" };
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dashes} points=\""
        );
        let step = (span.1 - span.0) / values.len().max(1) as f64;
        for (number, value) in values.iter().enumerate() {
            let x = place(span.0 + (number as f64 + 0.5) * step, span);
            let _ = write!(out, "{x:.1},{:.1} ", height(*value, highest));
        }
        out.push_str("\"/>");
        let x = WIDTH - RIGHT - 150.0 * (series.len() - index) as f64;
        let _ = write!(
            out,
            "<path d=\"M{x:.1} 14h24\" stroke=\"{colour}\" stroke-width=\"2.5\"{dashes}/>"
        );
        text(out, (x + 30.0, 18.0), "start", name);
    }
}

fn histogram(out: &mut String, bars: &[(f64, f64, u64)], highest: f64) {
    let from = bars.first().map_or(0.0, |bar| bar.0);
    let to = bars.last().map_or(1.0, |bar| bar.1);
    across(out, (from, to));
    for &(low, high, count) in bars {
        let (x, end) = (place(low, (from, to)), place(high, (from, to)));
        bar(out, x, end - x, count, highest, &format!("{low:.2} to {high:.2}: {count}"));
    }
}

fn columns(out: &mut String, bars: &[(String, u64)], highest: f64) {
    let width = (WIDTH - RIGHT - LEFT) / bars.len().max(1) as f64;
    for (index, (label, count)) in bars.iter().enumerate() {
        let x = LEFT + width * index as f64;
        bar(out, x + 3.0, width - 6.0, *count, highest, &format!("{label}: {count}"));
        text(out, (x + width / 2.0, HEIGHT - BOTTOM + 18.0), "middle", label);
    }
}

fn bar(out: &mut String, x: f64, width: f64, count: u64, highest: f64, told: &str) {
    let y = height(count as f64, highest);
    // What there is, is seen, however little beside the rest.
    let tall = if count > 0 { (HEIGHT - BOTTOM - y).max(1.0) } else { 0.0 };
    let _ = write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
         fill=\"{}\"><title>{}</title></rect>",
        HEIGHT - BOTTOM - tall,
        (width - 1.0).max(0.5),
        COLOURS[0],
        escape(told)
    );
}

/// Four to ten round numbers in a span.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    let span = to - from;
    if span <= 0.0 || !span.is_finite() {
        return vec![from];
    }
    let rough = span / 8.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(power);
    let first = (from / step).ceil() as i64;
    let last = (to / step).floor() as i64;
    (first..=last).map(|number| number as f64 * step).collect()
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 10.0 || value.fract().abs() < 1e-9 => format!("{value:.0}"),
        _ => format!("{:.2}", value).trim_end_matches('0').to_owned(),
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), opacity: f64) {
    let _ = write!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"currentColor\" \
         stroke-opacity=\"{opacity}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}

/// A text within markup, whatever an agent calls itself.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_plot_is_one_line_of_svg_without_nonsense() {
        let of = |drawn| Plot { title: "a < b", across: "x & y".to_owned(), up: "up", drawn };
        for plot in [
            of(Drawn::Lines { from: 0.0, to: 4.0, series: vec![("one", vec![1.0, 2.0, 0.0])] }),
            of(Drawn::Lines { from: 0.0, to: 0.0, series: vec![("none", Vec::new())] }),
            of(Drawn::Histogram(vec![(-1.0, 0.0, 5), (0.0, 1.0, 1_000_000)])),
            of(Drawn::Histogram(Vec::new())),
            of(Drawn::Columns(vec![("<1".to_owned(), 3), ("2".to_owned(), 0)])),
        ] {
            let svg = plot.svg();
            assert!(!svg.contains('\n') && svg.starts_with("<svg") && svg.ends_with("</svg>"));
            assert!(svg.contains("x &amp; y") && svg.contains("a &lt; b"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round_and_within_the_span() {
        assert_eq!(ticks(0.0, 8.0), (0..=8).map(f64::from).collect::<Vec<_>>());
        assert_eq!(ticks(-30.0, 30.0), [-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(1.0, 1.0), [1.0]);
    }
}
