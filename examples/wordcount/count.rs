//! What a word is, and how often each occurs.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Files larger than this are no sources.
const LARGEST: u64 = 16 << 20;

/// How often each word occurs.
#[derive(Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts(HashMap<String, u64>);

/// Counts one file; `None` if it is no readable UTF-8 text.
///
/// A word is a longest run of letters, digits and `_`, in lower case.
pub(crate) fn count_file(path: &Path) -> Option<Counts> {
    if std::fs::metadata(path).ok()?.len() > LARGEST {
        return None;
    }
    let text = String::from_utf8(std::fs::read(path).ok()?).ok()?;
    let mut counts = Counts::default();
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()) {
        counts.one(word);
    }
    Some(counts)
}

impl Counts {
    fn one(&mut self, word: &str) {
        if !word.chars().any(char::is_uppercase) {
            match self.0.get_mut(word) {
                Some(times) => *times += 1,
                None => drop(self.0.insert(word.to_owned(), 1)),
            }
        } else {
            *self.0.entry(word.to_lowercase()).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (word, times) in other.0 {
            *self.0.entry(word).or_default() += times;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn different(&self) -> usize {
        self.0.len()
    }

    /// The most frequent words; equal ones in alphabetical order.
    pub(crate) fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(word, times)| (word.as_str(), *times)).collect();
        all.sort_unstable_by_key(|(word, times)| (std::cmp::Reverse(*times), *word));
        all.truncate(most);
        all
    }

    /// The first difference, for a person.
    pub(crate) fn different_from(&self, other: &Self) -> String {
        let words = self.0.keys().chain(other.0.keys());
        let of = |counts: &Self, word: &String| counts.0.get(word).copied().unwrap_or(0);
        words
            .filter(|word| of(self, word) != of(other, word))
            .map(|word| format!("{word:?} {} times, not {}", of(self, word), of(other, word)))
            .next()
            .unwrap_or_default()
    }
}
