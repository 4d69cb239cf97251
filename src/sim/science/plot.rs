//! Plots as SVG: small, readable in light and dark, without a library.

use std::fmt::Write as _;

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) across: Axis,
    pub(super) up: Axis,
    pub(super) series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Powers of ten are at equal distances.
    pub(super) log: bool,
    pub(super) ticks: Vec<f64>,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) drawn: Drawn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    Line,
    Dots,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 216.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 48.0;

/// Colours that are told apart by most eyes, on light and dark ground.
/// Source: Okabe and Ito 2008, without black and yellow.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

impl Axis {
    fn place(&self, value: f64, low: f64, high: f64) -> f64 {
        let scale = |value: f64| if self.log { value.max(1e-300).log10() } else { value };
        let (from, to) = (scale(self.from), scale(self.to));
        let share = ((scale(value) - from) / (to - from)).clamp(-0.01, 1.01);
        low + share * (high - low)
    }
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        self.across.place(value, LEFT, WIDTH - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.up.place(value, HEIGHT - BOTTOM, TOP)
    }

    /// The plot as one line of SVG: a blank line would end it within a page.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" role=\"img\" aria-label=\"{}\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"currentColor\">",
            escape(self.title)
        );
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        text(&mut out, middle, 18.0, "middle", self.title);
        text(&mut out, middle, HEIGHT - 10.0, "middle", self.across.label);
        let _ = write!(
            out,
            "<text transform=\"translate(14 {:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(self.up.label)
        );
        self.axes(&mut out);
        for (index, series) in self.series.iter().enumerate() {
            self.draw(&mut out, index, series);
        }
        out.push_str("</svg>");
        out
    }

    fn axes(&self, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for &tick in &self.across.ticks {
            let x = self.x(tick);
            line(out, (x, TOP), (x, bottom), 0.15);
            text(out, x, bottom + 16.0, "middle", &number(tick));
        }
        for &tick in &self.up.ticks {
            let y = self.y(tick);
            line(out, (LEFT, y), (right, y), 0.15);
            text(out, LEFT - 6.0, y + 4.0, "end", &number(tick));
        }
        line(out, (LEFT, bottom), (right, bottom), 0.8);
        line(out, (LEFT, TOP), (LEFT, bottom), 0.8);
    }

    fn draw(&self, out: &mut String, index: usize, series: &Series) {
        let colour = COLOURS[index % COLOURS.len()];
        let places = series.points.iter().map(|&(x, y)| (self.x(x), self.y(y)));
        match series.drawn {
            Drawn::Line => {
                let _ = write!(
                    out,
                    "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\""
                );
                for (x, y) in places {
                    let _ = write!(out, "{x:.1},{y:.1} ");
                }
                out.push_str("\"/>");
            }
            Drawn::Dots => places.for_each(|place| mark(out, index, place)),
        }
        let (x, y) = (WIDTH - RIGHT + 16.0, TOP + 8.0 + 20.0 * index as f64);
        mark(out, index, (x + 5.0, y - 4.0));
        text(out, x + 16.0, y, "start", &series.name);
    }
}

/// The mark of a series: where colours come again, the shape is another.
fn mark(out: &mut String, index: usize, (x, y): (f64, f64)) {
    let colour = COLOURS[index % COLOURS.len()];
    let _ = if index < COLOURS.len() {
        write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>")
    } else {
        write!(out, "<path d=\"M{x:.1} {:.1}l6 6l-6 6l-6 -6z\" fill=\"{colour}\"/>", y - 6.0)
    };
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), opacity: f64) {
    let _ = write!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"currentColor\" \
         stroke-opacity=\"{opacity}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escape(text)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number on an axis.
fn number(value: f64) -> String {
    if value >= 10_000.0 {
        let power = value.log10();
        if (power - power.round()).abs() < 1e-9 {
            return format!("1e{}", power.round());
        }
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_one_line_of_svg_within_its_bounds() {
        let axis = |log| Axis { label: "a < b", from: 1.0, to: 100.0, log, ticks: vec![1.0, 10.0] };
        let series = Series {
            name: "x & y".to_owned(),
            points: vec![(1.0, 1.0), (100.0, 100.0)],
            drawn: Drawn::Line,
        };
        let plot =
            Plot { title: "title", across: axis(false), up: axis(true), series: vec![series] };
        let svg = plot.svg();
        assert!(!svg.contains('\n') && svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(svg.contains("x &amp; y") && svg.contains("a &lt; b"));
        assert!(svg.contains("points=\"64.0,312.0 424.0,32.0 \""), "{svg}");
    }
}
