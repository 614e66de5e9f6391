//! The arena's file, read and written behind the library's back.

use offspring::Queue;
use offspring_core::family::layout::{FamilyHead, REGIONS_AT, RegionEntry};
use std::fs::{self, File, OpenOptions};
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Opens this process's arena; it is its only file without a name on any disk.
pub fn open() -> File {
    let paths = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let mut arenas = paths.filter(|path| {
        fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:"))
    });
    let path = arenas.next().expect("a family was founded");
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// How many 512-byte pieces of it have memory.
pub fn pieces() -> u64 {
    open().metadata().unwrap().blocks()
}

/// The number that tells this process's family from others.
pub fn family_id() -> u64 {
    word(&open(), offset_of!(FamilyHead, family_id) as u64)
}

fn word(arena: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    arena.read_exact_at(&mut bytes, at).unwrap();
    u64::from_ne_bytes(bytes)
}

/// Where a queue's region is: offset and length in bytes.
pub fn region<T, R>(queue: &Queue<T, R>) -> (u64, u64) {
    let (arena, entry) = (open(), entry(queue));
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
        let (arena, entry, (at, _)) = (open(), entry(queue), region(queue));
        let mut bytes = vec![0; len as usize];
        arena.read_exact_at(&mut bytes, at).unwrap();
        Self { bytes, at, entry, word: word(&arena, entry) }
    }

    /// Unless the region was freed meanwhile, and is perhaps another's.
    pub fn put_back(self) {
        let arena = open();
        if word(&arena, self.entry) == self.word {
            arena.write_all_at(&self.bytes, self.at).unwrap();
        }
    }
}

/// The parts of a range of it that have memory, as (offset, length).
pub fn used(arena: &File, (from, len): (u64, u64)) -> Vec<(u64, u64)> {
    use std::os::fd::AsRawFd;
    let end = from + len;
    let seek = |at: u64, whence| {
        // SAFETY: takes integers.
        let to = unsafe { libc::lseek64(arena.as_raw_fd(), at as i64, whence) };
        u64::try_from(to).unwrap_or(end).min(end)
    };
    let mut parts = Vec::new();
    let mut at = seek(from, libc::SEEK_DATA);
    while at < end {
        let hole = seek(at, libc::SEEK_HOLE);
        parts.push((at, hole - at));
        at = seek(hole, libc::SEEK_DATA);
    }
    parts
}
