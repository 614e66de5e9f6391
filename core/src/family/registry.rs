//! The process registry: joining, leaving, and finding out that a process is dead.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | FREE g → JOINING(pid) g+1 | the joiner | before anything else of it is visible |
//! | JOINING → ALIVE | the joiner | its identity is written and its first lane is published |
//! | ALIVE, SUSPECT → SUSPECT(seq+1) | anyone | the process's lanes are all marked, at least one that is not late |
//! | SUSPECT → ALIVE | a thread of that process that takes a lane; the suspecter that then saw another sign of life | |
//! | SUSPECT(seq) → DEAD | the suspecter | it looked again *after* its mark and still all lanes are marked |
//! | JOINING, ALIVE, SUSPECT → DEAD | anyone | the system says that this process is gone |
//! | ALIVE, SUSPECT → DEAD | the process itself | it leaves |
//! | DEAD → FREE | whoever has raised the epoch after it saw DEAD | |
//!
//! DEAD is a passage: whoever declares a process dead goes on to raise the epoch, wake all, and free the slot. If it dies
//! before that, whoever meets DEAD next does the same, so nobody learns of a death that the epoch does not tell.
//!
//! A generation is one process, so a slot that shows another generation, or FREE, says dead.

use super::lane::Evidence;
use super::layout::Tables;
use super::word::{ProcessBits, ProcessState};
use super::{Backend, LaneEntry, ProcessEntry};
use crate::points::{Point, hit};
use crate::prim::{AtomicU32, Ordering, fence};
use crate::process::{Liveness, ProcessRef};
use crate::wait::{Deadline, Family, Wait, Watch, Woken};

/// The family's tables as one process sees them: cheap to make, only borrows.
#[derive(Debug)]
pub struct Registry<'a, B: ?Sized> {
    pub(super) tables: Tables<'a>,
    pub(super) backend: &'a B,
    pub(super) me: ProcessRef,
    pub(super) has_lane: bool,
}

impl<B: ?Sized> Clone for Registry<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ?Sized> Copy for Registry<'_, B> {}

impl<'a, B: Backend + ?Sized> Registry<'a, B> {
    /// The tables, seen by a thread of the process `me` that has a lane, or by a process that only looks on and is
    /// [`ProcessRef::NONE`].
    #[must_use]
    pub fn new(tables: Tables<'a>, backend: &'a B, me: ProcessRef) -> Self {
        Self { tables, backend, me, has_lane: !me.is_none() }
    }

    /// The tables, seen by a thread that has no lane yet. It may join, take its lane and note deaths, but takes no lock:
    /// its process could be declared dead, on the evidence of other lanes, while it still held it.
    #[must_use]
    pub fn newcomer(tables: Tables<'a>, backend: &'a B, me: ProcessRef) -> Self {
        Self { tables, backend, me, has_lane: false }
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> Tables<'a> {
        self.tables
    }

    /// Takes a slot for a process that comes in; `None` if living processes have them all.
    ///
    /// The caller goes on with [`take_lane`](Self::take_lane) under the returned name, then
    /// [`now_alive`](Self::now_alive).
    ///
    /// # Blocking and crash
    ///
    /// Does not block. Until the process is ALIVE nobody depends on it; dying leaves a slot that names a pid, which is
    /// freed when the system says that it is gone.
    #[must_use]
    pub fn claim_process(&self, pid: u32, identity: u64, parent: ProcessRef) -> Option<ProcessRef> {
        let me = self.claim_slot(pid).or_else(|| {
            self.patrol();
            self.claim_slot(pid)
        })?;
        hit(Point::JoinSlotClaimed);
        let entry = &self.tables.processes[usize::from(me.slot())];
        // ORDER: Relaxed; `identified` carries them. A hint of the slot's last process must not survive.
        entry.primary.store(0, Ordering::Relaxed);
        entry.parent.store(parent.bits(), Ordering::Relaxed);
        entry.identity.store(identity, Ordering::Relaxed);
        entry.space.store(self.backend.process_space(), Ordering::Relaxed);
        // ORDER: Release, F3.
        entry.identified.store(me.generation(), Ordering::Release);
        hit(Point::JoinIdentified);
        Some(me)
    }

    fn claim_slot(&self, pid: u32) -> Option<ProcessRef> {
        for (slot, entry) in self.tables.processes.iter().enumerate() {
            // ORDER: Acquire, F4.
            let mut bits = entry.word.load(Ordering::Acquire);
            if bits.state() == ProcessState::Dead {
                // Whoever declared it may have died before it raised the epoch.
                self.finish_death(ProcessRef::new(slot as u16, bits.generation()), false);
                // ORDER: Acquire, F4.
                bits = entry.word.load(Ordering::Acquire);
            }
            if bits.state() != ProcessState::Free {
                continue;
            }
            // 0 is no generation: after the last comes 1.
            let generation = bits.generation().checked_add(1).unwrap_or(1);
            let joining = ProcessBits::new(ProcessState::Joining, 0, pid, generation);
            // ORDER: Release: whoever must see this slot reads a high water that covers it.
            self.tables.head.process_high.fetch_max(slot as u32 + 1, Ordering::Release);
            // ORDER: AcqRel, F4.
            if entry.word.change(bits, joining, Ordering::AcqRel) {
                return Some(ProcessRef::new(slot as u16, generation));
            }
        }
        None
    }

    /// Says that the calling process, JOINING until now, is ALIVE with `lane` as its first; `false` if it was declared
    /// dead meanwhile.
    pub fn now_alive(&self, lane: usize) -> bool {
        let Some(entry) = self.entry(self.me) else { return false };
        // ORDER: Relaxed. A hint.
        entry.primary.store(lane as u32 + 1, Ordering::Relaxed);
        // ORDER: Acquire; the CAS decides.
        let bits = entry.word.load(Ordering::Acquire);
        let alive = bits.generation() == self.me.generation()
            && bits.state() == ProcessState::Joining
            // ORDER: AcqRel: whoever sees ALIVE sees the first lane.
            && entry.word.change(bits, bits.with(ProcessState::Alive), Ordering::AcqRel);
        if alive {
            hit(Point::JoinAlive);
        }
        alive
    }

    /// Says that the calling process takes no part any more: its objects are swept and its slot is free, as after a death.
    ///
    /// Its threads must not touch the arena again, apart from giving back their lanes. Idempotent.
    pub fn leave(&self) {
        let Some(entry) = self.entry(self.me) else { return };
        hit(Point::LeaveBefore);
        loop {
            // ORDER: Acquire; the CAS decides.
            let bits = entry.word.load(Ordering::Acquire);
            if bits.generation() != self.me.generation() || is_over(bits) {
                return;
            }
            // ORDER: AcqRel, F2.
            if entry.word.change(bits, bits.with(ProcessState::Dead), Ordering::AcqRel) {
                break;
            }
        }
        hit(Point::LeaveMarked);
        // No collecting here: a process that says it is dead must not take the lock. The sleepers just woken do it.
        self.finish_death(self.me, false);
    }

    /// The parent of `process` has reaped it: it is gone, whatever its lanes say.
    ///
    /// With [`ProcessRef::NONE`] as name, every process with that pid is looked at instead. The caller promises that
    /// `process` was the name of the reaped one.
    pub fn note_gone(&self, pid: u32, process: ProcessRef) {
        for slot in 0..self.processes_high() {
            let entry = &self.tables.processes[slot];
            loop {
                // ORDER: Acquire; the CAS decides.
                let bits = entry.word.load(Ordering::Acquire);
                let named = ProcessRef::new(slot as u16, bits.generation());
                if !(process.is_none() || process == named) {
                    break;
                }
                if is_over(bits) || bits.pid() != pid {
                    self.conclude(named, bits);
                    break;
                }
                let gone = process == named || self.system_says_gone(named, bits);
                if !gone || self.declare(named, bits, true) {
                    break;
                }
            }
        }
        self.free_abandoned_lanes();
        self.settle();
    }

    /// Asks the system about every process that is not known to be dead: for those whose life words do not tell.
    /// Finishes what dead declarers left, and collects if that is due.
    pub fn patrol(&self) {
        for slot in 0..self.processes_high() {
            // ORDER: Acquire, F2.
            let bits = self.tables.processes[slot].word.load(Ordering::Acquire);
            let process = ProcessRef::new(slot as u16, bits.generation());
            match bits.state() {
                ProcessState::Free | ProcessState::Dead => self.conclude(process, bits),
                _ if process == self.me => {}
                _ if self.system_says_gone(process, bits) => {
                    self.declare(process, bits, true);
                }
                _ => {
                    self.is_dead(process);
                }
            }
        }
        self.free_abandoned_lanes();
        self.settle();
    }

    /// The processes that are in the family now, the calling one among them.
    pub fn processes(&self) -> impl Iterator<Item = (ProcessRef, ProcessBits)> + '_ {
        (0..self.processes_high()).filter_map(|slot| {
            // ORDER: Acquire, F2.
            let bits = self.tables.processes[slot].word.load(Ordering::Acquire);
            let process = ProcessRef::new(slot as u16, bits.generation());
            (!is_over(bits) && !self.is_dead(process)).then_some((process, bits))
        })
    }

    /// The other processes, beginning behind the caller's slot and going round: whom a sleeper watches.
    pub(super) fn others(&self) -> impl Iterator<Item = ProcessRef> + '_ {
        let high = self.processes_high();
        let me = usize::from(self.me.slot()).min(high);
        (me + 1..high).chain(0..me).filter_map(|slot| {
            // ORDER: Acquire, F2.
            let bits = self.tables.processes[slot].word.load(Ordering::Acquire);
            (!is_over(bits)).then(|| ProcessRef::new(slot as u16, bits.generation()))
        })
    }

    /// How many process slots are not FREE, whatever their processes do.
    pub fn slots_in_use(&self) -> usize {
        (0..self.processes_high())
            .filter(|slot| {
                // ORDER: Relaxed. A count for a report.
                let bits = self.tables.processes[*slot].word.load(Ordering::Relaxed);
                bits.state() != ProcessState::Free
            })
            .count()
    }

    /// The long way of `is_dead`, when neither the word nor the first lane decides.
    #[cold]
    fn examine(&self, process: ProcessRef) -> bool {
        let Some(entry) = self.entry(process) else { return true };
        loop {
            // ORDER: Acquire, F2.
            let bits = entry.word.load(Ordering::Acquire);
            if bits.generation() != process.generation() || is_over(bits) {
                self.conclude(process, bits);
                self.settle();
                return true;
            }
            if process == self.me {
                return false;
            }
            let evidence = match bits.state() {
                ProcessState::Joining => Evidence::Undecided,
                _ => self.evidence(process),
            };
            match evidence {
                Evidence::Alive => return false,
                Evidence::Ending | Evidence::Undecided => {
                    if !self.system_says_gone(process, bits) {
                        return false;
                    }
                    if self.declare(process, bits, true) {
                        self.settle();
                        return true;
                    }
                }
                Evidence::AllMarked => {
                    let suspect = bits.suspected();
                    // ORDER: AcqRel, F1.
                    if !entry.word.change(bits, suspect, Ordering::AcqRel) {
                        continue;
                    }
                    hit(Point::SuspectMarked);
                    // ORDER: F1. The mark comes before the second look.
                    fence(Ordering::SeqCst);
                    let again = self.evidence(process);
                    hit(Point::SuspectScanned);
                    if again == Evidence::AllMarked {
                        if self.declare(process, suspect, false) {
                            self.settle();
                            return true;
                        }
                    } else {
                        // ORDER: AcqRel. A failure means that the process or another suspecter was quicker.
                        entry.word.change(
                            suspect,
                            suspect.with(ProcessState::Alive),
                            Ordering::AcqRel,
                        );
                        hit(Point::SuspectResolved);
                    }
                }
            }
        }
    }

    fn system_says_gone(&self, process: ProcessRef, bits: ProcessBits) -> bool {
        self.identity(process).is_some_and(|identity| {
            self.backend.process_is_gone(bits.pid(), identity) == Some(true)
        })
    }

    /// What to ask the system with: 0 while the process has not said it; `None` if its pid means nothing here.
    fn identity(&self, process: ProcessRef) -> Option<u64> {
        let entry = self.entry(process)?;
        // ORDER: Acquire, F3. The identity is this generation's: only its process writes it, and says so after.
        if entry.identified.load(Ordering::Acquire) != process.generation() {
            return Some(0);
        }
        // ORDER: Relaxed, carried by `identified`; `declare` finds out if the slot has changed hands since.
        let same_space = entry.space.load(Ordering::Relaxed) == self.backend.process_space();
        same_space.then(|| entry.identity.load(Ordering::Relaxed))
    }

    /// For a process that is ending, and whose last lane says nothing: waits for the system to say that it is gone, which
    /// is soon, since no life word will wake who sleeps for it.
    fn await_ending(&self, process: ProcessRef) {
        if process == self.me || self.is_dead(process) || self.evidence(process) != Evidence::Ending
        {
            return;
        }
        if let Some(entry) = self.entry(process) {
            // ORDER: Acquire, F2.
            let bits = entry.word.load(Ordering::Acquire);
            if bits.generation() == process.generation()
                && let Some(identity) = self.identity(process)
            {
                self.backend.await_gone(bits.pid(), identity);
                self.is_dead(process);
            }
        }
    }

    /// Declares `process` dead if its word is still `bits`, and tells everybody. `gone`: the system said so.
    fn declare(&self, process: ProcessRef, bits: ProcessBits, gone: bool) -> bool {
        let Some(entry) = self.entry(process) else { return false };
        // ORDER: AcqRel, F2.
        let declared = entry.word.change(bits, bits.with(ProcessState::Dead), Ordering::AcqRel);
        if declared {
            hit(Point::SuspectResolved);
            self.finish_death(process, gone);
        }
        declared
    }

    /// Finishes the death of `process` if it is DEAD only: whoever declared it (itself, perhaps, when it left) may have died
    /// before it told anybody.
    fn conclude(&self, process: ProcessRef, bits: ProcessBits) {
        let unfinished = bits.state() == ProcessState::Dead
            && bits.generation() == process.generation()
            && process != self.me;
        if unfinished {
            self.finish_death(process, false);
        }
    }

    /// What follows a declaration: raise the epoch, wake all, free the lanes and the slot. Any number may do it at once;
    /// the epoch then counts too many deaths, which costs a sweep and breaks nothing.
    fn finish_death(&self, dead: ProcessRef, gone: bool) {
        let head = self.tables.head;
        // ORDER: AcqRel: whoever sees this epoch sees the word DEAD; F6 by the fence.
        head.epoch.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        hit(Point::DeathCounted);
        self.backend.wake(&head.epoch, u32::MAX);
        hit(Point::DeathWoken);
        self.free_lanes(dead, gone);
        if let Some(entry) = self.entry(dead) {
            // ORDER: Acquire; the CAS decides.
            let bits = entry.word.load(Ordering::Acquire);
            if bits.generation() == dead.generation() && bits.state() == ProcessState::Dead {
                let free = ProcessBits::new(ProcessState::Free, 0, 0, dead.generation());
                // ORDER: Release, F4.
                entry.word.change(bits, free, Ordering::Release);
            }
        }
    }

    pub(super) fn entry(&self, process: ProcessRef) -> Option<&'a ProcessEntry> {
        self.tables.processes.get(usize::from(process.slot()))
    }

    fn processes_high(&self) -> usize {
        // ORDER: Acquire, with the joiner's `fetch_max`. Never beyond the table.
        let high = self.tables.head.process_high.load(Ordering::Acquire) as usize;
        high.min(self.tables.processes.len())
    }

    /// The lane table, for the platform to find its life words.
    #[must_use]
    pub fn lane_table(&self) -> &'a [LaneEntry] {
        self.tables.lanes
    }
}

fn is_over(bits: ProcessBits) -> bool {
    matches!(bits.state(), ProcessState::Free | ProcessState::Dead)
}

// SAFETY: L1: true only for a generation that is over, or DEAD: declared so on the word of the kernel that every thread that
// touched the arena is gone (life words, looked at again after the SUSPECT mark, F1) or that the process is gone (B2), or by
// the process itself when it left; F2 carries what it did. L2: a word leaves DEAD only for FREE, and FREE only for the next
// generation. L3: the kernel marks the life words of all its threads, or the system says that it is gone.
unsafe impl<B: Backend + ?Sized> Liveness for Registry<'_, B> {
    #[inline]
    fn is_dead(&self, process: ProcessRef) -> bool {
        if process.is_none() {
            return false;
        }
        let Some(entry) = self.entry(process) else { return true };
        // ORDER: Acquire, F2.
        let bits = entry.word.load(Ordering::Acquire);
        if bits.generation() != process.generation() || bits.state() == ProcessState::Free {
            return true;
        }
        if bits.state() != ProcessState::Dead && (process == self.me || self.primary_lives(process))
        {
            return false;
        }
        self.examine(process)
    }

    #[inline]
    fn death_epoch(&self) -> u32 {
        // ORDER: Acquire: whoever sees this epoch sees the words DEAD that it counts.
        self.tables.head.epoch.load(Ordering::Acquire)
    }
}

// SAFETY: forwards to the platform.
unsafe impl<B: Backend + ?Sized> Wait for Registry<'_, B> {
    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        self.backend.wait(watches, until)
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.backend.wake(word, most)
    }

    fn now(&self) -> Deadline {
        self.backend.now()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        self.backend.light_barrier();
    }

    fn heavy_barrier(&self) {
        self.backend.heavy_barrier();
    }

    fn is_alone(&self) -> bool {
        self.backend.is_alone()
    }
}

// SAFETY: F1: both are the head's epoch. F2: whoever moves a word to DEAD goes through `finish_death` before it returns;
// if it dies in there, its own death raises the epoch. F3: the platform's life words (B1). F4: `FamilyLock::join`.
unsafe impl<B: Backend + ?Sized> Family for Registry<'_, B> {
    fn me(&self) -> ProcessRef {
        self.me
    }

    fn epoch_word(&self) -> &AtomicU32 {
        &self.tables.head.epoch
    }

    fn newcomers_word(&self) -> Option<&AtomicU32> {
        Some(&self.tables.head.newcomers)
    }

    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>> {
        let watch = self.held_life(process);
        if watch.is_none() {
            self.await_ending(process);
        }
        watch
    }

    fn backstop(&self) -> u64 {
        self.backend.backstop()
    }
}
