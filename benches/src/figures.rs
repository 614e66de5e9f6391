//! The last figures inside `benches/README.md`, between two marks.

use crate::Result;
use crate::results::{Record, last, place, short};
use std::fmt::Write as _;
use std::fs;

const BEGIN: &str = "<!-- figures: begin (`cargo peers plot` writes what follows) -->";
const END: &str = "<!-- figures: end -->";

/// Writes the last figures into the README.
pub fn refresh() -> Result<()> {
    let path = place("README.md");
    let text =
        fs::read_to_string(&path).map_err(|error| format!("read {}: {error}", path.display()))?;
    fs::write(&path, replace(&text, &table(&last()?))?)?;
    eprintln!("refreshed: benches/README.md");
    Ok(())
}

/// The text with `figures` in the place of the earlier ones.
fn replace(text: &str, figures: &str) -> Result<String> {
    let marks = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    let (before, after) =
        marks.ok_or_else(|| format!("README.md has lost its marks: put back {BEGIN} and {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

fn table(records: &[Record]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    if let Some(record) = records.first() {
        let _ = writeln!(
            text,
            "Measured on {}. Medians; smallest and largest in brackets.\n",
            record.machine
        );
    }
    text.push_str(
        "| row | peer | ours | theirs | ratio | target | met |\n|---|---|---|---|---|---|---|\n",
    );
    for record in records {
        let Record { row, peer, unit, ours, theirs, ratio, target, .. } = record;
        let sign = if record.less_is_better() { "<=" } else { ">=" };
        let met = if record.met { "yes" } else { "**no**" };
        let spread = |spread: &crate::measure::Spread| {
            format!("{} ({}..{})", short(spread.median), short(spread.min), short(spread.max))
        };
        let _ = writeln!(
            text,
            "| {row} | {peer} | {} {unit} | {} {unit} | {} | {sign} {target} | {met} |",
            spread(ours),
            spread(theirs),
            spread(ratio)
        );
    }
    for name in ["targets", "rates", "times"] {
        let _ = writeln!(text, "\n![{name}](plots/{name}.svg)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::record;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = replace(&text, "new\n").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replace(&once, "new\n").unwrap(), once);
        assert!(replace("no marks", "new").is_err());
    }

    #[test]
    fn a_missed_target_stands_out() {
        assert!(table(&[record(0, 2.0)]).contains("| <= 1.2 | **no** |"));
        assert!(table(&[record(0, 1.0)]).contains("| <= 1.2 | yes |"));
    }
}
