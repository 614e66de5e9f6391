//! The mistakes in orderings, made from the sources: each Acquire and each Release taken away, one at a time.
//!
//! `AcqRel` is weakened to its two halves, the others to `Relaxed`. Comments and tests are passed over. Which weakenings
//! nobody can see, and why, stands in [`HARMLESS`].

use super::Layer::{self, Loom};

/// The sources, and the models that run through them.
pub(super) const FILES: &[(&str, &[Layer])] = &[
    (
        "core/src/queue/put.rs",
        &[Loom("queue: a put"), Loom("queue: a slot is"), Loom("queue: a get of a block")],
    ),
    (
        "core/src/queue/take.rs",
        &[
            Loom("queue: a slot is"),
            Loom("queue: readers pass"),
            Loom("queue: a get"),
            Loom("queue: a sleeping reader gets what"),
        ],
    ),
    (
        "core/src/queue/lease.rs",
        &[
            Loom("queue: a reply and its commit"),
            Loom("queue: a sleeping reader gets what"),
            Loom("queue: a get of a block"),
            Loom("queue: a lease"),
        ],
    ),
    (
        "core/src/queue/ticket.rs",
        &[Loom("queue: a reply and its commit"), Loom("queue: requester and replier")],
    ),
    (
        "core/src/queue/mod.rs",
        &[
            Loom("queue: a slot is"),
            Loom("queue: a reply and its commit"),
            Loom("queue: a put of a block"),
            Loom("queue: a sleeping reader gets what"),
            Loom("queue: readers pass"),
        ],
    ),
    (
        "core/src/queue/sweep.rs",
        &[Loom("queue: sweepers race"), Loom("queue: one gets what another")],
    ),
    (
        "core/src/queue/block.rs",
        &[Loom("queue: a get of a block"), Loom("queue: a put of a block")],
    ),
    ("core/src/queue/close.rs", &[Loom("queue: clos")]),
    ("core/src/wait.rs", &[Loom("waiting: "), Loom("queue: a sleeping")]),
    ("core/src/block_on.rs", &[Loom("waiting: ")]),
    ("core/src/member.rs", &[Loom("semaphore: a newcomer"), Loom("semaphore: reclaimers")]),
    (
        "core/src/semaphore/mod.rs",
        &[Loom("semaphore: permits are exact"), Loom("semaphore: holders"), Loom("semaphore: ")],
    ),
];

/// Weakenings that change nothing, by a part of their names: `file, what stands in the line, what it becomes`.
pub(super) const HARMLESS: &[(&str, &str, &str, &str)] = &[
    (
        "queue/put.rs",
        "queued.0",
        "Release",
        "the FULL store behind it carries it to readers; a sweeper is ordered by the death",
    ),
    ("queue/put.rs", "carries.store", "Release", "the FULL store behind it carries it"),
    ("queue/put.rs", "slot.word.load", "Acquire", "the claiming CAS acquires the same store"),
    ("queue/put.rs", "compare_exchange", "Acquire", "the load before it acquires the same store"),
    (
        "queue/put.rs",
        "compare_exchange",
        "Release",
        "an RMW continues the release sequence in any case",
    ),
    ("queue/take.rs", "slot.word.load", "Acquire", "the claiming CAS acquires the same store"),
    ("queue/take.rs", "compare_exchange", "Acquire", "the load before it acquires the same store"),
    (
        "queue/take.rs",
        "compare_exchange",
        "Release",
        "an RMW continues the release sequence in any case",
    ),
    (
        "queue/take.rs",
        "scanned.fetch_max",
        "",
        "an old value costs a scan; nothing is read through it",
    ),
    ("queue/lease.rs", "queued.0", "Release", "only a sweeper reads it, ordered by the death"),
    ("queue/lease.rs", "moved.0", "Release", "only a sweeper reads it, ordered by the death"),
    ("queue/lease.rs", "reply.0", "Release", "the REPLIED CAS behind it carries it"),
    ("queue/lease.rs", "carries.store", "Release", "the REPLIED CAS behind it carries it"),
    ("queue/lease.rs", "pend.fetch_add", "Acquire", "nothing is read through it"),
    (
        "queue/mod.rs",
        "swap_slot",
        "",
        "its own load before it, and the release sequence it continues, carry the same",
    ),
    (
        "queue/mod.rs",
        "closed.load",
        "Acquire",
        "nothing is read through the flag; the mark, an AcqRel CAS, decides",
    ),
    (
        "queue/close.rs",
        "closed.swap",
        "",
        "nothing is read through the flag; the mark, an AcqRel CAS, decides",
    ),
    (
        "queue/sweep.rs",
        "swept",
        "",
        "every repair is a CAS of the word itself, which whoever needs it reads",
    ),
    (
        "queue/sweep.rs",
        "Ordering::Release,",
        "Release",
        "`swept`: every repair is a CAS of the word itself",
    ),
    ("queue/sweep.rs", "slot.block.load", "Acquire", "checked by a CAS of the word it belongs to"),
    ("queue/sweep.rs", "link.load", "Acquire", "checked by a CAS of the word it belongs to"),
    ("queue/block.rs", "committed", "", "mapped memory that is not committed is not modelled"),
    (
        "member.rs",
        "high_water",
        "",
        "an entry that an old mark hides belongs to a joiner that did nothing yet that the reader knows of",
    ),
];

/// One weakening: where it stands, and what it makes of it.
#[derive(Clone, Debug)]
pub(super) struct Weakening {
    pub(super) name: String,
    pub(super) layers: &'static [Layer],
    pub(super) harmless: Option<&'static str>,
}

/// Plants every weakening of one source in it: `number` is the first one's. Gives what was planted, in order.
pub(super) fn plant(
    file: &'static str,
    layers: &'static [Layer],
    source: &str,
    mut number: usize,
) -> (String, Vec<Weakening>) {
    let mut planted = Vec::new();
    let mut out = String::with_capacity(source.len() * 2);
    let mut seen: Vec<String> = Vec::new();
    let mut tests = false;
    let lines: Vec<&str> = source.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        tests |= line.starts_with("#[cfg(all(test") || line.starts_with("#[cfg(test)]");
        let declares = line.trim_start().starts_with("use ") || tests && line.starts_with("mod ");
        if line.starts_with("mod ") || line.is_empty() {
            // `#[cfg(test)] mod tests;` on lines of its own ends with itself.
            tests &= !line.ends_with(';');
        }
        let comment = line.trim_start().starts_with("//");
        if tests || declares || comment || line.contains("crate::mutant::") {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let mut rest = *line;
        while let Some(at) = rest.find("Ordering::") {
            let (before, here) = rest.split_at(at);
            out.push_str(before);
            let order = ["AcqRel", "Acquire", "Release"]
                .into_iter()
                .find(|order| here["Ordering::".len()..].starts_with(order));
            let Some(order) = order else {
                out.push_str("Ordering::");
                rest = &here["Ordering::".len()..];
                continue;
            };
            rest = &here["Ordering::".len() + order.len()..];
            // What is taken away, and what is left.
            let weaker: &[(&str, &str)] = match order {
                "AcqRel" => &[("Acquire", "Release"), ("Release", "Acquire")],
                "Acquire" => &[("Acquire", "Relaxed")],
                _ => &[("Release", "Relaxed")],
            };
            // A call that spans lines is named by the line that says on what.
            let what = named(&lines, i);
            let mut cases = String::new();
            for (without, left) in weaker {
                let mut name = format!("{}: without {without}: `{what}`", short(file));
                let again = seen.iter().filter(|other| **other == name).count();
                seen.push(name.clone());
                if again > 0 {
                    name.push_str(&format!(" ({})", again + 1));
                }
                let harmless = HARMLESS.iter().find(|(of, part, taken, _)| {
                    file.ends_with(of) && name.contains(part) && without.contains(taken)
                });
                planted.push(Weakening { name, layers, harmless: harmless.map(|(.., why)| *why) });
                cases.push_str(&format!("({number}, Ordering::{left}), "));
                number += 1;
            }
            out.push_str(&format!("crate::mutant::order(&[{cases}], Ordering::{order})"));
        }
        out.push_str(rest);
        out.push('\n');
    }
    (out, planted)
}

fn short(file: &str) -> &str {
    file.strip_prefix("core/src/").unwrap_or(file)
}

/// The statement around line `i`, in one line, cut short.
fn named(lines: &[&str], i: usize) -> String {
    let mut from = i;
    while from > 0
        && i - from < 6
        && !lines[from - 1].trim_end().ends_with([';', '{', '}', ','])
        && !lines[from - 1].trim_start().starts_with("//")
    {
        from -= 1;
    }
    // An argument on a line of its own: go up to the call.
    if lines[i].trim().starts_with("Ordering::") {
        from = (i.saturating_sub(6)..i)
            .rev()
            .find(|line| lines[*line].trim_end().ends_with('('))
            .unwrap_or(from);
    }
    let text: Vec<&str> = lines[from..=i].iter().map(|line| line.trim()).collect();
    let text = text.join(" ").replace('\t', " ");
    text.chars().take(100).collect()
}
