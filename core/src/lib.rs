//! Shared-memory primitives that survive the death of any participant, as algorithms over words.
//!
//! | module | what it has |
//! |---|---|
//! | [`queue`] | the crash-tolerant queue: a ring of slots, blocks for large messages, leases, replies, close |
//! | [`semaphore`] | a counting semaphore whose permits come back when their holder dies |
//! | [`family`] | the registry of processes and threads, the recoverable lock, the regions of an arena |
//! | [`member`] | which processes use an object, by small indices that its words can hold |
//! | [`process`] | the name of a process, and whether it lives |
//! | [`wait`], [`block_on`] | an event count that heals itself, and the one loop that sleeps on it |
//! | [`parking`] | who sleeps on which word, for systems without a futex between processes |
//! | `part` | one process's part in a family, over a platform's system calls (feature `std`) |
//! | [`points`] | named places where a test may kill |
//! | [`prim`] | atomics and cells: the machine's, or loom's under `--cfg offspring_loom` |
//!
//! Nothing here knows where its memory is, allocates, or calls an operating system: a platform implements
//! [`wait::Family`], and a storage trait says where the words are. The protocols' transition tables, orderings
//! and crash points are in the modules' own documentation.
#![cfg_attr(not(offspring_loom), no_std)]

#[cfg(all(feature = "std", not(offspring_loom)))]
extern crate std;

#[cfg(not(target_has_atomic = "64"))]
compile_error!(
    "offspring-core needs 64-bit atomics: its words carry an owner, a lap and a state in one"
);

pub mod block_on;
pub mod family;
pub mod member;
pub mod parking;
#[cfg(all(feature = "std", not(offspring_loom)))]
pub mod part;
pub mod points;
pub mod prim;
pub mod process;
pub mod queue;
pub mod semaphore;
pub mod wait;

#[cfg(all(doctest, not(offspring_loom)))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
