//! The few shapes that the pictures are made of.

use crate::Result;
use resvg::{tiny_skia, usvg};
use std::fmt::Write as _;
use std::sync::Arc;

/// What is drawn in what colour; blue and orange stay apart for most eyes.
#[derive(Clone, Copy, Debug)]
pub enum Colour {
    /// Lines, text.
    Ink,
    /// What is ours, or reached.
    Ours,
    /// What is a peer's.
    Peer,
    /// What is not reached.
    Missed,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Ink => "#333333",
            Self::Ours => "#0b6bb8",
            Self::Peer => "#a9b4be",
            Self::Missed => "#d9631e",
        }
    }
}

/// A logarithmic axis.
#[derive(Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// One on which all these figures have a place between `from` and `to`; `None` where there are none.
    pub fn around(figures: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let logs = figures.filter(|figure| figure.is_finite() && *figure > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
            (low.min(log), high.max(log))
        });
        low.is_finite().then_some(Self { low: low - 0.1, high: high + 0.1, from, to })
    }

    /// The place of a figure, at most at an end.
    pub fn at(&self, figure: f64) -> f64 {
        let part = (figure.max(f64::MIN_POSITIVE).log10() - self.low) / (self.high - self.low);
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round figures on the axis: 1, 2, 5, 10 …, fewer when the axis is long.
    fn marks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high - self.low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let marks = powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
        marks.filter(|mark| (self.low..=self.high).contains(&mark.log10())).collect()
    }
}

/// A picture.
#[derive(Debug)]
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty one.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (y, ink) = (y + f64::from(size) * 0.35, Colour::Ink.code());
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{ink}">{text}</text>"#
        );
    }

    /// What the picture shows.
    pub fn title(&mut self, text: &str) {
        self.text((16.0, 24.0), "start", 15, text);
    }

    /// Text that ends at `x`.
    pub fn text_before(&mut self, x: f64, y: f64, text: &str) {
        self.text((x, y), "end", 12, text);
    }

    /// Text that begins at `x`.
    pub fn text_after(&mut self, x: f64, y: f64, text: &str) {
        self.text((x, y), "start", 12, text);
    }

    /// A straight line.
    pub fn line(&mut self, (x, y): (f64, f64), (x2, y2): (f64, f64), colour: Colour, width: f64) {
        let colour = colour.code();
        let _ = writeln!(
            self.body,
            r#"<line x1="{x:.1}" y1="{y:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
        );
    }

    /// A dot.
    pub fn dot(&mut self, (x, y): (f64, f64), colour: Colour) {
        let colour = colour.code();
        let _ = writeln!(self.body, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#);
    }

    /// A bar to the right, as far as `to`.
    pub fn bar(&mut self, (x, y): (f64, f64), to: f64, colour: Colour) {
        let (y, width, colour) = (y - 7.0, to - x, colour.code());
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="14" fill="{colour}"/>"#
        );
    }

    /// The axis' marks from `top` to `bottom`.
    pub fn grid(&mut self, axis: &Axis, top: f64, bottom: f64) {
        for mark in axis.marks() {
            let x = axis.at(mark);
            let _ = writeln!(
                self.body,
                r##"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="#dddddd" stroke-width="1"/>"##
            );
            self.text((x, bottom + 14.0), "middle", 11, &mark.to_string());
        }
    }

    /// The whole picture.
    pub fn svg(&self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width} {height:.0}\" font-family=\"Hack, 'DejaVu Sans Mono', Menlo, Consolas, monospace\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }
}

/// The picture in dots, twice as many as its size says.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let mut options = usvg::Options { font_family: "Hack".into(), ..usvg::Options::default() };
    Arc::make_mut(&mut options.fontdb).load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size().scale_by(2.0).ok_or("a picture without size")?;
    let mut dots =
        tiny_skia::Pixmap::new(size.width(), size.height()).ok_or("a picture without size")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(2.0, 2.0), &mut dots.as_mut());
    Ok(dots.encode_png()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_places_figures_by_their_logarithm() {
        let axis = Axis::around([1.0, 100.0].into_iter(), 0.0, 220.0).unwrap();
        assert!((axis.at(1.0) - 10.0).abs() < 1e-9);
        assert!((axis.at(10.0) - 110.0).abs() < 1e-9);
        assert_eq!(axis.at(0.0), 0.0);
        assert_eq!(axis.marks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert!(Axis::around([0.0, f64::NAN].into_iter(), 0.0, 1.0).is_none());
    }

    #[test]
    fn text_is_escaped() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.title("<= & >=");
        assert!(canvas.svg().contains(">&lt;= &amp; &gt;=</text>"));
    }
}
