//! The promises of the platform seam, by number; the list is compared with the documentation that makes them.

/// One promise.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Its number in the documentation of core.
    pub id: &'static str,
    /// It, in few words.
    pub says: &'static str,
}

const fn promise(id: &'static str, says: &'static str) -> Promise {
    Promise { id, says }
}

/// All of them. B1 to B5 of `family::Backend` are core's own: it keeps them by S1 to S5.
pub const PROMISES: &[Promise] = &[
    promise("S1", "the arena is one aligned mapping whose tables can be written"),
    promise("S2", "committed pages are writable, released ones readable, committed again zero"),
    promise("S3", "sleeping, waking and the barrier work on words of the arena"),
    promise("S4", "a life word is marked only when its thread is gone"),
    promise("S5", "a process is said to be gone only when it is"),
    promise("S6", "a generation is constant, and another one in a fork"),
    promise("S7", "processes that live at once have different numbers below 2^22, or none"),
    promise("S8", "what is attached are the same pages"),
    promise("S9", "a commit that cannot be is an error"),
    promise("S10", "a number with another identity is gone: re-use of a number deceives nobody"),
    promise("S11", "the life word of a process that is gone is marked"),
    promise("S12", "a life word is held, given back, and held again"),
    promise("S13", "the clock never goes back, and is one for all"),
    promise("S14", "waiting for a process's end lasts until then, or a backstop's length"),
    promise("S15", "random numbers differ"),
    promise("W1", "a wake after a change ends every wait that saw the old value"),
    promise("W2", "a wait that ends early says that it did"),
    promise("W3", "words mapped at another address are the same words"),
    promise("W4", "a wait ends after its deadline, and says so no sooner"),
    promise("W5", "of two that store, pass the barrier and load, one sees the other"),
    promise("W6", "n wakes of one end n waits"),
    promise("L1", "nothing of the dead happens after they are called dead"),
    promise("L2", "the dead stay dead, whoever takes their place"),
    promise("L3", "a death is found out, and neither a stopped nor an ending thread is one"),
    promise("F1", "the death epoch is the value of its word"),
    promise("F2", "who finds a death raises the epoch and wakes its sleepers"),
    promise("F3", "the end of a process ends a sleep on its life word"),
    promise("F4", "a new member is told to all who sleep for one"),
];

/// Where the promises are made, and with which letter.
const MADE: &[(&str, char)] = &[
    (include_str!("../../../core/src/part/system.rs"), 'S'),
    (include_str!("../../../core/src/wait.rs"), 'W'),
    (include_str!("../../../core/src/wait.rs"), 'F'),
    (include_str!("../../../core/src/process.rs"), 'L'),
];

/// The numbers with this letter that the documentation of an unsafe trait makes promises under, in its order.
fn made(source: &str, letter: char) -> Vec<String> {
    let mut found = Vec::new();
    let mut promising = false;
    for line in source.lines() {
        let Some(text) = line.trim_start().strip_prefix("///") else {
            promising = false;
            continue;
        };
        promising |= text.contains("Implementors promise");
        // Behind a colon, a semicolon or a dash, and before a blank: everything else only speaks of a promise.
        let words: Vec<&str> = text.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let begins = match at.checked_sub(1) {
                None => true,
                Some(before) => words[before].ends_with([':', ';']) || words[before] == "-",
            };
            let number = word.strip_prefix(letter).filter(|number| number.parse::<u32>().is_ok());
            let promised = promising && begins && number.is_some();
            if promised && !found.iter().any(|other| other == word) {
                found.push((*word).to_owned());
            }
        }
    }
    found
}

/// What the documentation promises and this list does not have, or the other way round.
pub fn differences() -> Vec<String> {
    let mut wrong = Vec::new();
    let documented: Vec<String> =
        MADE.iter().flat_map(|(source, letter)| made(source, *letter)).collect();
    for id in &documented {
        if !PROMISES.iter().any(|promise| promise.id == id) {
            wrong.push(format!("  {id} is promised in core, and is not on the list of promises"));
        }
    }
    for promise in PROMISES {
        if !documented.iter().any(|id| id == promise.id) {
            wrong.push(format!("  {} is on the list, and core promises no such thing", promise.id));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_found_where_they_are_made_and_nowhere_else() {
        let text = "/// As W9 says.\npub fn a();\n/// Implementors promise: W1 this, see W8; W2\n/// that; W3 all.\n\
                    pub unsafe trait A {}\n/// W7 is elsewhere.\n";
        assert_eq!(made(text, 'W'), ["W1", "W2", "W3"]);
        assert_eq!(
            made("/// Implementors promise:\n/// - S1 a\n/// - S2 b (S9)\n", 'S'),
            ["S1", "S2"]
        );
    }

    #[test]
    fn list_has_what_the_documentation_promises() {
        assert_eq!(differences(), Vec::<String>::new());
    }
}
