//! What can be wrong with a region's bytes.

use crate::kill::dice::Dice;
use offspring_core::queue::Geometry;

/// A kind of damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Every byte of the range is random.
    Random,
    /// Some bits are another's.
    Bits,
    /// Some words are: sizes and indices just too large, all ones, another place's word.
    Words,
    /// All behind some place is zero.
    Truncated,
    /// An older state of all, or of some lines.
    Replayed,
    /// Somebody goes on writing words while the others work.
    Scribbled,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Random, Self::Bits, Self::Words, Self::Truncated, Self::Replayed, Self::Scribbled];
}

/// Where: the whole region with its head and its members, or the queue in it; most of it is payload, so the words have
/// a chance of their own.
#[derive(Clone, Debug)]
pub struct Places {
    ranges: Vec<std::ops::Range<usize>>,
}

impl Places {
    pub fn new(geometry: &Geometry, queue_at: usize, len: usize, head_too: bool) -> Self {
        let words = queue_at..queue_at + geometry.committed_at_first() as usize;
        let mut ranges = vec![words];
        for class in geometry.classes() {
            let heads = queue_at + class.heads as usize;
            ranges.push(heads..heads + (class.count * geometry.each()) as usize * 32);
        }
        ranges.push(queue_at..len);
        if head_too {
            ranges.push(0..64);
            ranges.push(64..queue_at.min(64 + 8 * 20));
        }
        ranges.retain(|range| range.end <= len);
        Self { ranges }
    }

    /// Some place.
    pub fn any(&self, dice: &mut Dice) -> usize {
        let range = &self.ranges[dice.below(self.ranges.len() as u32) as usize];
        range.start + dice.below(range.len() as u32) as usize
    }
}

/// The damaged bytes of a region whose bytes are `now`, and were `before` at an earlier time.
pub fn damage(kind: Kind, now: &mut [u8], before: &[u8], places: &Places, dice: &mut Dice) {
    match kind {
        Kind::Random => {
            let range = &places.ranges[dice.below(places.ranges.len() as u32) as usize];
            now[range.clone()].iter_mut().for_each(|byte| *byte = dice.any() as u8);
        }
        Kind::Bits => {
            for _ in 0..=dice.below(12) {
                now[places.any(dice)] ^= 1 << dice.below(8);
            }
        }
        Kind::Words | Kind::Scribbled => {
            for _ in 0..=dice.below(8) {
                let at = places.any(dice) & !7;
                let word = any_word(now, places, dice);
                now[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
        Kind::Truncated => {
            let at = places.any(dice);
            now[at..].fill(0);
        }
        Kind::Replayed => {
            if dice.percent(30) {
                now.copy_from_slice(before);
            } else {
                for (new, old) in now.chunks_mut(32).zip(before.chunks(32)) {
                    if dice.percent(30) {
                        new.copy_from_slice(old);
                    }
                }
            }
        }
    }
}

/// A word as an erring peer would write it.
pub fn any_word(now: &[u8], places: &Places, dice: &mut Dice) -> u64 {
    match dice.below(6) {
        0 => u64::MAX,
        1 => u64::from(dice.below(5000)),
        2 => u64::from(dice.below(5000)) << 32,
        3 => 1 << dice.below(64),
        4 => dice.any(),
        _ => {
            let at = places.any(dice) & !7;
            u64::from_le_bytes(now[at..at + 8].try_into().unwrap_or_default())
        }
    }
}
