//! The last figures as pictures, under `benches/plots`: SVG, and PNG drawn from the same SVG.

mod canvas;

use crate::Result;
use crate::measure::Spread;
use crate::results::{Record, last, place, short};
use canvas::{Axis, Canvas, Colour};
use std::fs;

/// Draws everything there is to draw.
pub fn draw() -> Result<()> {
    let records = last()?;
    let (times, rates): (Vec<_>, Vec<_>) =
        records.iter().cloned().partition(Record::less_is_better);
    fs::create_dir_all(place("plots"))?;
    for (name, canvas) in [
        ("targets", targets(&records)),
        ("times", bars("Time for one operation, ns (shorter is better)", &times)),
        ("rates", bars("Messages a second, millions (longer is better)", &rates)),
    ] {
        let Some(canvas) = canvas else { continue };
        let svg = canvas.svg();
        fs::write(place(&format!("plots/{name}.svg")), &svg)?;
        fs::write(place(&format!("plots/{name}.png")), canvas::png(&svg)?)?;
        eprintln!("drawn: benches/plots/{name}.svg and .png");
    }
    Ok(())
}

const LINE: f64 = 22.0;
const LEFT: f64 = 320.0;
const PLOT: f64 = 420.0;
const WIDTH: f64 = 980.0;
const TOP: f64 = 70.0;

/// How far each comparison is from its target: right of the line is better than asked for.
fn targets(records: &[Record]) -> Option<Canvas> {
    let scores: Vec<Spread> = records.iter().map(score).collect();
    let ends = scores.iter().flat_map(|score| [score.min, score.max, 1.0]);
    let axis = Axis::around(ends, LEFT, LEFT + PLOT)?;
    let bottom = TOP + LINE * records.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 40.0);
    canvas.title(
        "Ratio to the peer, as a multiple of the target (right of 1 is better than asked for)",
    );
    canvas.grid(&axis, TOP - 10.0, bottom);
    canvas.line((axis.at(1.0), TOP - 16.0), (axis.at(1.0), bottom), Colour::Ink, 1.5);
    for (index, (record, score)) in records.iter().zip(&scores).enumerate() {
        let y = TOP + LINE * (index as f64 + 0.5);
        let colour = if record.met { Colour::Ours } else { Colour::Missed };
        canvas.text_before(LEFT - 12.0, y, &format!("{} : {}", record.row, record.peer));
        canvas.line((axis.at(score.min), y), (axis.at(score.max), y), colour, 2.0);
        canvas.dot((axis.at(score.median), y), colour);
        let sign = if record.less_is_better() { "<=" } else { ">=" };
        let told = format!("{}x, target {sign} {}x", short(record.ratio.median), record.target);
        canvas.text_after(LEFT + PLOT + 14.0, y, &told);
    }
    Some(canvas)
}

/// The ratio as a multiple of its target, turned so that more is better.
fn score(record: &Record) -> Spread {
    let Spread { median, min, max } = record.ratio;
    if record.less_is_better() {
        let turned = |ratio: f64| record.target / ratio;
        Spread { median: turned(median), min: turned(max), max: turned(min) }
    } else {
        let turned = |ratio: f64| ratio / record.target;
        Spread { median: turned(median), min: turned(min), max: turned(max) }
    }
}

/// Each row's contestants side by side; where a row has several peers, ours is shown as measured beside the first.
fn bars(title: &str, records: &[Record]) -> Option<Canvas> {
    let ends = records.iter().flat_map(|record| {
        [record.ours.min, record.ours.max, record.theirs.min, record.theirs.max]
    });
    let axis = Axis::around(ends, LEFT, LEFT + PLOT)?;
    let groups = records.chunk_by(|a, b| a.row == b.row);
    let lines: usize = groups.clone().map(|group| group.len() + 1).sum();
    let gap = LINE / 2.0;
    let bottom = TOP + LINE * lines as f64 + gap * groups.clone().count() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 40.0);
    canvas.title(title);
    canvas.grid(&axis, TOP - 10.0, bottom);
    let mut y = TOP + LINE / 2.0;
    for group in groups {
        let unit = &group[0].unit;
        let ours = (format!("{} : offspring", group[0].row), group[0].ours, Colour::Ours);
        let theirs = group.iter().map(|record| (record.peer.clone(), record.theirs, Colour::Peer));
        for (name, spread, colour) in std::iter::once(ours).chain(theirs) {
            canvas.text_before(LEFT - 12.0, y, &name);
            canvas.bar((LEFT, y), axis.at(spread.median), colour);
            canvas.line((axis.at(spread.min), y), (axis.at(spread.max), y), Colour::Ink, 1.0);
            canvas.text_after(LEFT + PLOT + 14.0, y, &format!("{} {unit}", short(spread.median)));
            y += LINE;
        }
        y += gap;
    }
    Some(canvas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::record;

    #[test]
    fn a_time_below_its_target_and_a_rate_above_it_score_more_than_one() {
        let time = score(&record(0, 0.6));
        assert_eq!((time.median, time.min, time.max), (2.0, 1.0, 4.0));
        assert_eq!(score(&record(2, 3.0)).median, 3.0);
    }

    #[test]
    fn nothing_measured_draws_nothing() {
        assert!(targets(&[]).is_none());
        assert!(bars("", &[]).is_none());
    }

    #[test]
    fn a_picture_names_every_row_and_is_drawn_as_png() {
        let svg = targets(&[record(0, 0.6), record(2, 3.0)]).unwrap().svg();
        assert!(svg.contains("r1-8B : ArrayQueue") && svg.contains("r2-1p1c-8B : ArrayQueue"));
        let png = canvas::png(&svg).unwrap();
        assert_eq!(&png[..4], b"\x89PNG");
    }
}
