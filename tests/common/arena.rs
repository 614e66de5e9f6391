//! The arena, read and written behind the library's back.

use super::Memory;
use offspring::Queue;
use offspring_core::family::layout::{FamilyHead, REGIONS_AT, RegionEntry};
use std::mem::offset_of;

/// The number that tells this process's family from others.
pub fn family_id() -> u64 {
    word(&Memory::open(), offset_of!(FamilyHead, family_id) as u64)
}

fn word(arena: &Memory, at: u64) -> u64 {
    let mut bytes = [0; 8];
    arena.read(at, &mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Where a queue's region is: offset and length in bytes.
pub fn region<T, R>(queue: &Queue<T, R>) -> (u64, u64) {
    let (arena, entry) = (Memory::open(), entry(queue));
    let field = |offset: usize| word(&arena, entry + offset as u64);
    (field(offset_of!(RegionEntry, offset)), field(offset_of!(RegionEntry, len)))
}

/// Where in the region table a queue's entry is.
fn entry<T, R>(queue: &Queue<T, R>) -> u64 {
    let text = format!("{queue:?}");
    let digits = text.split("region: ").nth(1).unwrap().split([',', ' ']).next().unwrap();
    let index = digits.parse::<u64>().unwrap() & 0xffff;
    REGIONS_AT as u64 + index * size_of::<RegionEntry>() as u64
}

/// The first bytes of a queue's region as they are now, to be put back.
pub struct Start {
    bytes: Vec<u8>,
    at: u64,
    entry: u64,
    word: u64,
}

impl Start {
    /// Reads `len` bytes.
    pub fn of<T, R>(queue: &Queue<T, R>, len: u64) -> Self {
        let (arena, entry, (at, _)) = (Memory::open(), entry(queue), region(queue));
        let mut bytes = vec![0; len as usize];
        arena.read(at, &mut bytes);
        Self { bytes, at, entry, word: word(&arena, entry) }
    }

    /// Unless the region was freed meanwhile, and is perhaps another's.
    pub fn put_back(self) {
        let arena = Memory::open();
        if word(&arena, self.entry) == self.word {
            arena.write(self.at, &self.bytes);
        }
    }
}
