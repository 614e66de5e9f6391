//! A thread's part in a family: its lane, taken at its first use of the arena and given back at its end.
//!
//! A thread knows by one thread-local pair (process generation, family) that it has a lane here and now: a fork
//! changes the generation, so the child comes the long way once and registers as a process of its own.
//!
//! The main thread's lane is never given back by the thread itself: its thread-local destructors run inside
//! `exit`, and the process's other threads end with it. The kernel marks it.

use super::{FamilyError, Inner, Local, Result, State, identity, locked};
use crate::error::OsError;
use crate::generation;
use offspring_core::family::Registry;
use offspring_core::family::lane::LaneError;
use offspring_core::prim::Ordering;
use offspring_core::process::ProcessRef;
use std::cell::{Cell, RefCell};

/// A lane that this thread holds.
struct Lane {
    generation: u32,
    inner: &'static Inner,
    me: ProcessRef,
    lane: usize,
}

/// The lanes that this thread holds, one for each family that it used.
struct Held(RefCell<Vec<Lane>>);

thread_local! {
    /// Where this thread last was in: generation of the process, address of the family's state.
    static IN: Cell<(u32, *const Inner)> = const { Cell::new((0, std::ptr::null())) };
    static HELD: Held = const { Held(RefCell::new(Vec::new())) };
}

impl Drop for Held {
    fn drop(&mut self) {
        if is_main_thread() {
            return;
        }
        IN.set((0, std::ptr::null()));
        for lane in self.0.take() {
            lane.release();
        }
    }
}

impl Lane {
    fn release(self) {
        // A forked child inherits the list, but holds nothing on it.
        if self.generation == generation::current() {
            let registry = Registry::newcomer(self.inner.tables, self.inner, self.me);
            // SAFETY: this thread took the lane, and the list that it was on gives it out once.
            unsafe { registry.release_lane(self.lane) };
        }
    }
}

/// Whether the calling thread has a lane in this family and this process.
#[inline]
pub(super) fn is_in(inner: &Inner) -> bool {
    let (generation, family) = IN.get();
    std::ptr::eq(family, inner) && generation == generation::current()
}

/// The long way: gives the process a name and the thread a lane, unless they have.
#[cold]
pub(super) fn enter(inner: &'static Inner) -> Result<()> {
    let local = local(inner);
    let mut state = locked(&local.state);
    if *state == State::Left {
        return Err(FamilyError::Left);
    }
    if find(inner, local.generation) {
        IN.set((local.generation, inner));
        return Ok(());
    }
    // A thread that is past its destructors cannot give its lane back.
    let late = HELD.try_with(|_| ()).is_err() && !is_main_thread();
    let (me, lane) = match *state {
        State::New => register(inner, local, late)?,
        _ => {
            // ORDER: Relaxed. Written under the mutex.
            let me = ProcessRef::from_bits(local.me.load(Ordering::Relaxed));
            (me, take_lane(&Registry::newcomer(inner.tables, inner, me), late)?)
        }
    };
    let first = *state == State::New;
    *state = State::In;
    // Past the destructors there is no list to put it on: the kernel marks it.
    let _ = HELD.try_with(|held| {
        held.0.borrow_mut().push(Lane { generation: local.generation, inner, me, lane });
    });
    IN.set((local.generation, inner));
    drop(state);
    if first {
        super::objects::inherit(inner, local);
    }
    // Deaths that were noted on the way here could not be collected after yet.
    inner.registry().settle();
    Ok(())
}

/// Whether the calling thread has a lane, by its list.
fn find(inner: &'static Inner, generation: u32) -> bool {
    let same = |lane: &Lane| std::ptr::eq(lane.inner, inner) && lane.generation == generation;
    HELD.try_with(|held| held.0.borrow().iter().any(same)).unwrap_or(false)
}

/// This process's own state, made anew in a forked child.
pub(super) fn local(inner: &'static Inner) -> &'static Local {
    let newest = inner.newest();
    if newest.generation == generation::current() {
        return newest;
    }
    // ORDER: Relaxed. Written before the fork.
    let parent = ProcessRef::from_bits(newest.me.load(Ordering::Relaxed));
    let mine = Local::leak(parent, Some(newest));
    let (old, new) = (std::ptr::from_ref(newest).cast_mut(), std::ptr::from_ref(mine).cast_mut());
    // ORDER: AcqRel, with the load in `newest`. If another thread of the child was quicker, its state it is.
    match inner.local.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => mine,
        // SAFETY: only leaked `Local`s are ever stored there.
        Err(winner) => unsafe { &*winner },
    }
}

fn register(
    inner: &'static Inner,
    local: &'static Local,
    late: bool,
) -> Result<(ProcessRef, usize)> {
    loop {
        let nobody = Registry::newcomer(inner.tables, inner, ProcessRef::NONE);
        let me = nobody
            .claim_process(std::process::id(), identity(), local.parent)
            .ok_or(FamilyError::TooManyProcesses)?;
        let registry = Registry::newcomer(inner.tables, inner, me);
        match registry.take_lane(late) {
            Ok(lane) if registry.now_alive(lane) => {
                // ORDER: Relaxed. Under the mutex; other threads read it after they took their lane under it.
                local.me.store(me.bits(), Ordering::Relaxed);
                return Ok((me, lane));
            }
            // Taken for dead by a process of another pid namespace, which saw our pid before our identity. Nobody depends
            // on a process that is still coming in: it comes in again, under another name.
            // SAFETY: this thread has just taken the lane.
            Ok(lane) => unsafe { registry.release_lane(lane) },
            Err(LaneError::Dead) => {}
            Err(error) => {
                registry.leave();
                return Err(refused(error));
            }
        }
    }
}

fn take_lane(registry: &Registry<'_, Inner>, late: bool) -> Result<usize> {
    match registry.take_lane(late) {
        Ok(lane) => Ok(lane),
        Err(LaneError::Dead) => park(),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: LaneError) -> FamilyError {
    match error {
        LaneError::Full => FamilyError::TooManyThreads,
        _ => OsError::new("hold", "a life word in the arena", libc::EBUSY)
            .with_advice("its memory is damaged: some process wrote wild")
            .into(),
    }
}

/// Leaves for the whole process.
pub(super) fn leave(inner: &'static Inner) {
    let newest = inner.newest();
    if newest.generation != generation::current() {
        // A forked child that never came in: from now on it never will.
        *locked(&local(inner).state) = State::Left;
        return;
    }
    let mut state = locked(&newest.state);
    if *state == State::In {
        // ORDER: Relaxed. Written under the mutex.
        let me = ProcessRef::from_bits(newest.me.load(Ordering::Relaxed));
        Registry::newcomer(inner.tables, inner, me).leave();
        newest.me.store(0, Ordering::Relaxed);
    }
    *state = State::Left;
    IN.set((0, std::ptr::null()));
    let lanes = HELD.try_with(|held| {
        let mut held = held.0.borrow_mut();
        let (ours, others) = held.drain(..).partition(|lane| std::ptr::eq(lane.inner, inner));
        *held = others;
        ours
    });
    let lanes: Vec<Lane> = lanes.unwrap_or_default();
    lanes.into_iter().for_each(Lane::release);
}

/// The process was declared dead, so it must not touch the arena again: this thread ends here.
fn park() -> ! {
    loop {
        std::thread::park();
    }
}

fn is_main_thread() -> bool {
    // SAFETY: takes nothing, touches nothing.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    u32::try_from(thread).is_ok_and(|thread| thread == std::process::id())
}
