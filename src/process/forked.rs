//! Children by `fork`: copies of this process, which go on with a function and end with it.
#![allow(unsafe_code)] // fork

use super::child;
use super::children::{self, Started};
use super::context::{Context, StartMethod};
use super::start::Prepared;
use crate::error::{Error, Kind, Result, Subject};
use crate::init;
use crate::sys::{self, Fork, Lifeline};
use offspring_core::points::{Point, hit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::sync::Arc;

impl Context {
    /// By `fork`, however many threads this process has.
    ///
    /// # Errors
    ///
    /// [`is_unsupported`](Error::is_unsupported): this system has no `fork`.
    ///
    /// # Safety
    ///
    /// While a process is started with this context, either this process has one thread, or nothing that runs in the child
    /// (the function, its arguments' and value's serde, destructors, whatever is registered for the end of the process)
    /// needs a lock that another thread may hold at that instant. That includes the locks of allocators other than
    /// the system's, of the standard streams, and of this library's own tables.
    pub unsafe fn fork_despite_threads() -> Result<Self> {
        Ok(Self { despite_threads: true, ..Self::new(StartMethod::Fork)? })
    }
}

pub(super) fn launch<A, R>(
    context: &Context,
    prepared: Prepared,
    function: fn(A) -> R,
) -> Result<Arc<Started>>
where
    A: DeserializeOwned,
    R: Serialize,
{
    let name = prepared.birth.told.name.clone();
    let failed =
        |error| Error::caused(Kind::Os, Subject::None, format!("start process `{name}`"), error);
    if !context.despite_threads {
        let threads = sys::thread_count().map_err(failed)?;
        if threads != 1 {
            let text = format!(
                "start process `{name}` by `fork`: this process has {threads} threads, and locks that they hold would stay \
                 locked in the child for ever; use `spawn` or `forkserver`, or start it before the threads"
            );
            return Err(Error::new(Kind::Threads, Subject::None, text));
        }
    }
    let (lifeline, end) = Lifeline::pair().map_err(failed)?;
    hit(Point::StartSent);
    // Else both would write what is still in there.
    let _ = std::io::stdout().flush();
    let Prepared { birth, record, files, streams } = prepared;
    // SAFETY: one thread, as just counted: no other could have made one since. Or the caller of `fork_despite_threads`
    // promised that the child needs nothing that a thread may hold.
    match unsafe { sys::fork() } {
        Ok(Fork::Parent(process)) => {
            hit(Point::StartForked);
            init::began();
            let daemon = birth.told.daemon;
            Ok(children::enter(name, daemon, record, process, (lifeline, end)))
        }
        Ok(Fork::InChild) => {
            // The parent's handle on the record is not this process's to give back.
            std::mem::forget(record);
            child::run_forked(end, birth, streams, files, function)
        }
        Err(error) => Err(failed(error)),
    }
}
