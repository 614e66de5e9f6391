//! A thread's part in a family: its lane, taken at its first use of the arena and given back at its end.
//!
//! A thread knows by one thread-local triple (process generation, lane, family) that it has a lane here and now: a
//! fork changes the generation, so the child comes the long way once and registers as a process of its own.
//!
//! A thread whose end is the process's end ([`System::ends_with_process`]) never gives its lane back: its thread-local
//! destructors run inside `exit`, and the process's other threads end with it. The system marks it.

use super::{FamilyError, Inner, Local, Result, State, System, locked};
use crate::family::Registry;
use crate::family::lane::LaneError;
use crate::prim::Ordering;
use crate::process::ProcessRef;
use core::cell::{Cell, RefCell};
use std::prelude::rust_2024::*;
use std::thread_local;

/// A family of whichever platform, as a thread's list of lanes knows it.
trait AnyFamily: Sync {
    /// Tells families apart.
    fn address(&self) -> *const ();
    /// The present generation of this process.
    fn generation(&self) -> u32;
    fn ends_with_process(&self) -> bool;
    /// Gives back a lane that the calling thread took, under the name that its process had.
    fn give_back(&self, me: ProcessRef, lane: usize);
}

impl<S: System> AnyFamily for Inner<S> {
    fn address(&self) -> *const () {
        core::ptr::from_ref(self).cast()
    }

    fn generation(&self) -> u32 {
        S::generation()
    }

    fn ends_with_process(&self) -> bool {
        S::ends_with_process()
    }

    fn give_back(&self, me: ProcessRef, lane: usize) {
        let registry = Registry::newcomer(self.tables, self, me);
        // SAFETY: this thread took the lane, and the list that it was on gives it out once.
        unsafe { registry.release_lane(lane) };
    }
}

/// A lane that this thread holds.
struct Lane {
    generation: u32,
    family: &'static dyn AnyFamily,
    me: ProcessRef,
    lane: usize,
}

/// The lanes that this thread holds, one for each family that it used.
struct Held(RefCell<Vec<Lane>>);

/// Where a thread last was in.
#[derive(Clone, Copy)]
struct In {
    generation: u32,
    lane: u32,
    /// Address of the family's state.
    family: *const (),
}

const NOWHERE: In = In { generation: 0, lane: 0, family: core::ptr::null() };

thread_local! {
    static IN: Cell<In> = const { Cell::new(NOWHERE) };
    static HELD: Held = const { Held(RefCell::new(Vec::new())) };
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.0.borrow().iter().any(|lane| lane.family.ends_with_process()) {
            return;
        }
        IN.set(NOWHERE);
        for lane in self.0.take() {
            lane.release();
        }
    }
}

impl Lane {
    fn release(self) {
        // A forked child inherits the list, but holds nothing on it.
        if self.generation == self.family.generation() {
            self.family.give_back(self.me, self.lane);
        }
    }
}

/// Whether the calling thread has a lane in this family and this process.
#[inline]
pub(super) fn is_in<S: System>(inner: &Inner<S>) -> bool {
    let last = IN.get();
    core::ptr::addr_eq(last.family, inner) && last.generation == S::generation()
}

/// The calling thread's lane in this family, if it is in.
pub(super) fn lane<S: System>(inner: &Inner<S>) -> Option<usize> {
    is_in(inner).then(|| IN.get().lane as usize)
}

fn now_in<S: System>(inner: &'static Inner<S>, generation: u32, lane: usize) {
    IN.set(In { generation, lane: lane as u32, family: inner.address() });
}

/// The long way: gives the process a name and the thread a lane, unless they have.
#[cold]
pub(super) fn enter<S: System>(inner: &'static Inner<S>) -> Result<(), S::Error> {
    let local = local(inner);
    let mut state = locked(&local.state);
    if *state == State::Left {
        return Err(FamilyError::Left);
    }
    if let Some(lane) = find(inner, local.generation) {
        now_in(inner, local.generation, lane);
        return Ok(());
    }
    // A thread that is past its destructors cannot give its lane back.
    let late = HELD.try_with(|_| ()).is_err() && !S::ends_with_process();
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
    // Past the destructors there is no list to put it on: the system marks it.
    let _ = HELD.try_with(|held| {
        let family: &'static dyn AnyFamily = inner;
        held.0.borrow_mut().push(Lane { generation: local.generation, family, me, lane });
    });
    now_in(inner, local.generation, lane);
    drop(state);
    if first {
        super::objects::inherit(inner, local);
    }
    // Deaths that were noted on the way here could not be collected after yet.
    inner.registry().settle();
    Ok(())
}

/// The calling thread's lane, by its list.
fn find<S: System>(inner: &'static Inner<S>, generation: u32) -> Option<usize> {
    let same = |lane: &&Lane| {
        core::ptr::eq(lane.family.address(), inner.address()) && lane.generation == generation
    };
    HELD.try_with(|held| held.0.borrow().iter().find(same).map(|lane| lane.lane)).ok().flatten()
}

/// This process's own state, made anew in a forked child.
pub(super) fn local<S: System>(inner: &'static Inner<S>) -> &'static Local {
    let newest = inner.newest();
    if newest.generation == S::generation() {
        return newest;
    }
    // ORDER: Relaxed. Written before the fork.
    let parent = ProcessRef::from_bits(newest.me.load(Ordering::Relaxed));
    let mine = Local::leak::<S>(parent, Some(newest));
    let (old, new) = (core::ptr::from_ref(newest).cast_mut(), core::ptr::from_ref(mine).cast_mut());
    // ORDER: AcqRel, with the load in `newest`. If another thread of the child was quicker, its state it is.
    match inner.local.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => mine,
        // SAFETY: only leaked `Local`s are ever stored there.
        Err(winner) => unsafe { &*winner },
    }
}

fn register<S: System>(
    inner: &'static Inner<S>,
    local: &'static Local,
    late: bool,
) -> Result<(ProcessRef, usize), S::Error> {
    loop {
        let nobody = Registry::newcomer(inner.tables, inner, ProcessRef::NONE);
        let me = nobody
            .claim_process(S::number(std::process::id()), S::identity(), local.parent)
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
                return Err(refused::<S>(error));
            }
        }
    }
}

fn take_lane<S: System>(registry: &Registry<'_, Inner<S>>, late: bool) -> Result<usize, S::Error> {
    match registry.take_lane(late) {
        Ok(lane) => Ok(lane),
        Err(LaneError::Dead) => park(),
        Err(error) => Err(refused::<S>(error)),
    }
}

fn refused<S: System>(error: LaneError) -> FamilyError<S::Error> {
    match error {
        LaneError::Full => FamilyError::TooManyThreads,
        _ => FamilyError::Os(S::life_refused()),
    }
}

/// Leaves for the whole process.
pub(super) fn leave<S: System>(inner: &'static Inner<S>) {
    let newest = inner.newest();
    if newest.generation != S::generation() {
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
    IN.set(NOWHERE);
    let lanes = HELD.try_with(|held| {
        let mut held = held.0.borrow_mut();
        let (ours, others) =
            held.drain(..).partition(|lane| core::ptr::eq(lane.family.address(), inner.address()));
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
