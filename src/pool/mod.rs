//! Pools: worker processes that call functions with arguments, and whose death costs one task and nothing else.
//!
//! # How a task travels
//!
//! ```text
//! submit, map, imap → backlog (private) → queue in shared memory → a worker's lease → its function → reply to the ticket
//!                     chunks of tasks      a few chunks a worker     progress and results so far on the board
//! ```
//!
//! A *chunk* is some tasks of one function, as one request in a [`Queue`](crate::Queue). A worker takes it on lease, so it is never
//! lost, and ends the lease by a reply, so a result counts once. The chunk's size follows the measured time of its function:
//! about half a millisecond of work. Beside the queue lies the *board*, a region with a slot for each worker: which chunk it is
//! at, how many tasks of it began, and, before the reply, the results so far.
//!
//! # Who does what
//!
//! Between a caller that waits and a worker that works there is no third: the worker replies and rings; the waiting caller takes
//! the replies that are there (also other callers'), hands them on, and feeds the queue from the backlog. All callers wait
//! at one bell, with the workers' life words and the family's death epoch: a worker's death wakes them as a reply does.
//!
//! A pool has one thread of its own, which its maker asked for by making a pool. It replaces workers, watches over
//! deadlines, and does the callers' part while none of them waits and something is due: a backlog, a callback, the end after
//! `close`. It sleeps on the same words, never looks again without a reason, and while callers wait it sleeps through
//! their replies. (Without it a pool whose owner does something else would shrink death by death, no deadline would be kept, and no
//! callback would run.) Callbacks run on a second thread, which starts with the first of them, so that a slow one holds up
//! nobody but who waits for that very task.
//!
//! # What a death costs
//!
//! A worker that ends in the middle of a chunk leaves on the board: how many results it had committed, and how many tasks it had begun.
//! The queue gives the chunk back as a dead letter (it is never delivered twice by itself), which the chunk's ticket tells at once.
//! Whoever takes that answer waits for the dead process, then
//!
//! | task of the chunk | becomes |
//! |---|---|
//! | result committed on the board | that result |
//! | begun, and no result | [`TaskError::WorkerLost`], or another attempt if [`retry`](Builder::retry) allows one |
//! | not begun | sent again, first of all; it did not run yet |
//!
//! So delivery is *at most once* unless `retry` says otherwise; with `retry` it is at least once, with the result counted once. A worker that
//! dies before it began a task costs nothing but its replacement; after several of these in a row, with pauses that double between
//! them, the pool gives up starting workers ([`TaskError::Degraded`]) instead of doing so for ever.
//!
//! The board's words change so; `begin` is the order of a worker's writes:
//!
//! | word | from → to | by | when |
//! |---|---|---|---|
//! | `outbox`, `progress` | → 0; `stop` = all, `begun` = 0 | worker | has a lease |
//! | `chunk` | 0 → id | worker | behind those (Release) |
//! | `places[p]` | WAITING(id) → TAKEN(id) | worker, CAS | last, before the first task; fails → the lease is committed unseen |
//! | `places[p]` | WAITING(id) → WITHDRAWN(id) | parent, CAS | a task in it was cancelled |
//! | `progress` | `begun` + 1, unless it is `stop` | worker, CAS | before each task |
//! | `progress` | `stop` → less | parent, CAS | a task that has not begun was cancelled |
//! | `outbox` | results + 1, words + n | worker, Release | behind the result's bytes |
//! | `chunk` | id → 0 | worker | behind the reply |
//! | `state` | BUSY → IDLE | worker, CAS | behind that; fails → it ends |
//! | `state` | BUSY → DOOMED | parent, CAS | a task ran over its deadline, or was cancelled: now it is killed |
//!
//! Before the parent dooms a worker it sets `stop` behind the task that is meant, and behind that it looks once more whether the worker
//! is at that task. So the kill meets that task or nothing. The model of all this is `verify/src/model/pool.rs`.
//!
//! While a worker stands idle and no chunk waits, the parent looks every 2 ms at the chunks that others are at: it sets `stop` behind what
//! has begun, and sends the tasks behind it again as a chunk of their own: all of them behind a task that takes so long, half of them
//! otherwise. Whether the `stop` met the chunk that was meant, `chunk` says afterwards: it never returns to the same id.
//!
//! A worker's slot is given to another process only after its death is known and its chunk is dealt with, so no dead and no
//! living writer are there at once. A death between any two of these is one of the rows above it.
//!
//! # How a function travels
//!
//! A pool's functions are not known when its workers start. Each worker has a pipe from the parent, over which it learns functions as
//! places in the program's image, in order; shared memory carries only the index. Wild bytes in the arena can so make a worker
//! call a function that the parent named, with arguments that pass their deserialiser, and nothing else.
//!
//! # Features
//!
//! A [`Task`] is a future in every build. `stream` makes an [`Imap`] a `futures_core::Stream`, for any executor: the pool's own thread
//! wakes it, so nothing of tokio is needed (`tokio` is another name of the feature). `progress` shows maps on a bar of indicatif:
//! `Imap::progress`, `Task::wait_with`.
//!
//! When to take a pool at all: the [guide].
//!
//! # Names
//!
//! | Python | here |
//! |---|---|
//! | `Pool(4, init, args, 10)` | [`Pool::builder`] |
//! | `apply`, `apply_async` | [`Pool::apply`], [`Pool::submit`] |
//! | `map`, `map_async` | [`Pool::map`], [`Pool::submit_map`] |
//! | `starmap`, `starmap_async` | [`Pool::starmap`], [`Pool::submit_starmap`] |
//! | `imap`, `imap_unordered` | [`Pool::imap`], [`Pool::imap_unordered`] |
//! | `AsyncResult` | [`Task`] |
//! | `with Pool() as pool` | [`Builder::scope`] |
//! | `MaybeEncodingError` | [`TaskError::Refused`] |

#[doc = include_str!("guide.md")]
pub mod guide {}

mod board;
mod builder;
mod call;
mod callback;
mod chunk;
mod crew;
mod error;
mod function;
mod gather;
mod hub;
mod imap;
mod loss;
mod share;
mod stats;
mod supervisor;
mod task;
mod wire;
mod worker;

pub use builder::Builder;
pub use call::Pool;
pub use error::TaskError;
pub use imap::Imap;
pub use stats::{Stats, Watch, WorkerStats};
pub use task::Task;
pub use worker::is_cancelled;

pub(crate) use hub::end;
