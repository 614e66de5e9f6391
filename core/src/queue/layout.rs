//! How large everything in a queue's region is, and where: decided once, checked at attach, kept privately.
//!
//! ```text
//! Head 512 | slots: capacity x stride | for each class: block heads | for each class: payloads, page-aligned
//! ```
//!
//! A class that serves replies has two heads and payloads per block: block `b` and its *pair*, set aside for the
//! reply to `b`, so that a reply never waits for room that only the end of requests could give.

use super::word::{MOST_BLOCKS, MOST_SLOTS};

/// The most size classes of blocks.
pub const MOST_CLASSES: usize = 16;

/// Payload bytes of the smallest block; each class is four times the one before.
pub const SMALLEST_BLOCK: u64 = 256;

const PAGE: u64 = 4096;

/// What the maker of a queue chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Items that the ring holds, 1..=[`MOST_SLOTS`].
    pub capacity: u32,
    /// Bytes of a message that lie in the slot itself; 0 sends every message to a block. Rounded up.
    pub inline: u32,
    /// Bytes of the largest message.
    pub most_message: u64,
    /// Bytes that the blocks of one class may take in all; never less than three blocks.
    pub class_bytes: u64,
    /// Whether messages can ask for a reply.
    pub replies: bool,
    /// Deliveries after which an item goes to the dead letters; 0 = never. Not 0 sends every message to a block.
    pub most_deliveries: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            capacity: 1024,
            inline: 48,
            most_message: 256 << 20,
            class_bytes: 64 << 20,
            replies: false,
            most_deliveries: 0,
        }
    }
}

/// Blocks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Class {
    /// Payload bytes of each block.
    pub size: u64,
    /// Number of the first block.
    pub first: u32,
    /// How many blocks, their pairs not counted.
    pub count: u32,
    /// Bytes from the queue's start to the first head, and to the first payload.
    pub heads: u64,
    /// Bytes from the queue's start to the first payload.
    pub payloads: u64,
}

/// All sizes and places of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    options: Options,
    stride: u32,
    inline: u32,
    blocks: u32,
    classes: [Class; MOST_CLASSES],
    class_count: usize,
    len: u64,
}

/// Why no queue can have these options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadOptions {
    /// A queue that holds nothing.
    ZeroCapacity,
    /// More slots than a position can name.
    TooManySlots {
        /// What was asked.
        asked: u64,
        /// What is possible.
        most: u32,
    },
    /// Larger than any arena.
    TooLarge,
}

impl core::fmt::Display for BadOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ZeroCapacity => {
                f.write_str("a queue of capacity 0 could hold nothing; ask for at least 1")
            }
            Self::TooManySlots { asked, most } => {
                write!(f, "a capacity of {asked} is more than the {most} that a queue can have")
            }
            Self::TooLarge => f.write_str("messages this large, or this many, exceed any arena"),
        }
    }
}

impl core::error::Error for BadOptions {}

/// The size of the fixed words.
pub(crate) const HEAD_LEN: u64 = 512;
const SLOT_HEAD: u32 = 16;
const BLOCK_HEAD: u64 = 32;

impl Geometry {
    /// The geometry that `options` give; the same options always give the same geometry.
    pub fn new(options: Options) -> Result<Self, BadOptions> {
        if options.capacity == 0 {
            return Err(BadOptions::ZeroCapacity);
        }
        if options.capacity > MOST_SLOTS {
            let asked = u64::from(options.capacity);
            return Err(BadOptions::TooManySlots { asked, most: MOST_SLOTS });
        }
        if options.most_message > 1 << 44 || options.class_bytes > 1 << 44 || options.inline > 4080
        {
            return Err(BadOptions::TooLarge);
        }
        // A limit of deliveries needs exact counts, which only block words have.
        let inline = if options.most_deliveries == 0 { options.inline } else { 0 };
        // Dense rather than each slot on lines of its own: fewer lines travel between processors (64-byte messages between two
        // processes run 1.6 times as fast as with a stride of 128), and neighbours are used by the same two anyway.
        let stride = (SLOT_HEAD + inline).next_multiple_of(16);
        let mut at = HEAD_LEN + u64::from(options.capacity) * u64::from(stride);
        let mut classes = [Class::default(); MOST_CLASSES];
        let (mut class_count, mut first, mut size) = (0, 0_u32, SMALLEST_BLOCK);
        let each = if options.replies { 2 } else { 1 };
        // Enough for a full ring and as many leases again.
        let most = u64::from(options.capacity) * 2 + 64;
        loop {
            if class_count == MOST_CLASSES {
                return Err(BadOptions::TooLarge);
            }
            // Two for puts, so that one message can be written while another is read; one kept for leases.
            let count = (options.class_bytes / size).clamp(3, most) as u32;
            at = at.next_multiple_of(64);
            let class = Class { size, first, count, heads: at, payloads: 0 };
            at += u64::from(count) * each * BLOCK_HEAD;
            first = first
                .checked_add(count * each as u32)
                .filter(|all| *all <= MOST_BLOCKS)
                .ok_or(BadOptions::TooLarge)?;
            classes[class_count] = class;
            class_count += 1;
            if size >= options.most_message {
                break;
            }
            size *= 4;
        }
        for class in &mut classes[..class_count] {
            at = at.next_multiple_of(PAGE);
            class.payloads = at;
            at += u64::from(class.count) * each * class.size;
        }
        let len = at.next_multiple_of(PAGE);
        Ok(Self {
            options,
            stride,
            inline: stride - SLOT_HEAD,
            blocks: first,
            classes,
            class_count,
            len,
        }
        .with_inline(inline))
    }

    fn with_inline(mut self, asked: u32) -> Self {
        if asked == 0 {
            self.inline = 0;
        }
        self
    }

    /// What it was made from.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Slots.
    #[inline(always)]
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.options.capacity
    }

    /// Bytes from one slot to the next.
    #[inline(always)]
    #[must_use]
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Bytes of a message that a slot takes.
    #[inline(always)]
    #[must_use]
    pub fn inline(&self) -> usize {
        self.inline as usize
    }

    /// Blocks in all, pairs included.
    #[inline(always)]
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The size classes, smallest first.
    #[inline(always)]
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes[..self.class_count]
    }

    /// The smallest class that takes `len` bytes.
    #[inline]
    #[must_use]
    pub fn class_for(&self, len: usize) -> Option<usize> {
        let len = len as u64;
        if len > self.options.most_message {
            return None;
        }
        self.classes().iter().position(|class| class.size >= len)
    }

    /// The class that `block` belongs to.
    #[inline]
    #[must_use]
    pub fn class_of(&self, block: u32) -> Option<usize> {
        if block >= self.blocks {
            return None;
        }
        self.classes().iter().rposition(|class| class.first <= block)
    }

    /// Heads and payloads per block: two where there are replies.
    #[inline(always)]
    #[must_use]
    pub fn each(&self) -> u32 {
        if self.options.replies { 2 } else { 1 }
    }

    /// Bytes of the whole queue, in whole pages.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: a queue has a head at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes from the start that must have memory before the first use: head and slots.
    #[must_use]
    pub fn committed_at_first(&self) -> u64 {
        HEAD_LEN + u64::from(self.capacity()) * u64::from(self.stride)
    }

    /// Bytes from the queue's start to the head of `block`.
    #[inline]
    pub(crate) fn block_head_at(&self, block: u32) -> Option<u64> {
        let class = &self.classes[self.class_of(block)?];
        Some(class.heads + u64::from(block - class.first) * BLOCK_HEAD)
    }

    /// Bytes from the queue's start to the payload of `block`, and how many it has.
    #[inline]
    pub(crate) fn payload_at(&self, block: u32) -> Option<(u64, u64)> {
        let class = &self.classes[self.class_of(block)?];
        Some((class.payloads + u64::from(block - class.first) * class.size, class.size))
    }

    /// The ranges (offset, length) that blocks `from..to` of `class` lie in.
    pub(crate) fn ranges(&self, class: usize, from: u32, to: u32) -> [(u64, u64); 2] {
        let c = &self.classes[class];
        let each = u64::from(self.each());
        let (from, n) = (u64::from(from) * each, u64::from(to.saturating_sub(from)) * each);
        [(c.heads + from * BLOCK_HEAD, n * BLOCK_HEAD), (c.payloads + from * c.size, n * c.size)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_zero_and_too_large_are_refused() {
        let with = |capacity| Geometry::new(Options { capacity, ..Options::default() });
        assert_eq!(with(0), Err(BadOptions::ZeroCapacity));
        assert!(matches!(with(u32::MAX), Err(BadOptions::TooManySlots { .. })));
    }

    #[test]
    fn nothing_overlaps() {
        for replies in [false, true] {
            for capacity in [1, 3, 1000, 70_000] {
                let g = Geometry::new(Options { capacity, replies, ..Options::default() }).unwrap();
                let mut end = g.committed_at_first();
                for (i, class) in g.classes().iter().enumerate() {
                    let [heads, _] = g.ranges(i, 0, class.count);
                    assert!(heads.0 >= end);
                    end = heads.0 + heads.1;
                }
                for (i, class) in g.classes().iter().enumerate() {
                    let [_, payloads] = g.ranges(i, 0, class.count);
                    assert!(payloads.0 >= end);
                    end = payloads.0 + payloads.1;
                    let last = class.first + class.count * g.each() - 1;
                    assert_eq!(g.class_of(last), Some(i));
                    assert_eq!(g.payload_at(last).unwrap().0 + class.size, end);
                }
                assert!(end <= g.len());
                assert_eq!(g.class_of(g.blocks()), None);
            }
        }
    }

    #[test]
    fn every_message_has_a_class_up_to_the_limit() {
        let g = Geometry::new(Options { most_message: 1000, ..Options::default() }).unwrap();
        assert_eq!(g.class_for(0), Some(0));
        assert_eq!(g.class_for(257), Some(1));
        assert_eq!(g.class_for(1000), Some(1));
        assert_eq!(g.class_for(1001), None);
    }
}
