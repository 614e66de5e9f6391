//! A board in the arena that all processes of a test see, children that share it, and waits without a backstop.

use offspring_core::block_on::block;
use offspring_core::family::{RegionRef, RegionSpec, flags};
use offspring_core::points::{Point, set_hook};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Adaptive, Deadline, EventCount, Family as Waits, Wait, Watch, Woken};
use offspring_os_windows::family::{Family, Object, Options};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::{Child, Command};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

const MEMBERS: u32 = 320;
const WORDS_AT: u64 = (64 + 8 * MEMBERS as u64).next_multiple_of(64);
const WORDS: usize = 1024;

/// The exit code of a process that was terminated here.
pub const KILLED: i32 = 9;

/// The words of the board, by number. Event counts lie on lines of their own.
pub mod at {
    /// Items to take.
    pub const ITEMS: usize = 0;
    /// Items taken.
    pub const TAKEN: usize = 1;
    /// Rounds of a conversation.
    pub const TURN: usize = 2;
    /// Children that came so far.
    pub const CAME: usize = 3;
    /// Set: children may go.
    pub const GO: usize = 4;
    /// An object that a child made: index and generation.
    pub const MADE: usize = 5;
    /// Tells the takers of items.
    pub const FULL: usize = 16;
    /// Tells everybody else.
    pub const NEWS: usize = 32;
    /// How often the child of some number parked.
    pub const PARKED: usize = 64;
    /// The name of the child of some number: slot and generation.
    pub const NAMES: usize = 128;
}

/// A process's part in a test.
#[derive(Clone, Copy)]
pub struct Team {
    pub family: Family,
    pub board: Object,
}

/// The family, by one who trusts notices for ever.
pub struct Patient(pub Family);

// SAFETY: forwards.
unsafe impl Liveness for Patient {
    fn is_dead(&self, process: ProcessRef) -> bool {
        self.0.is_dead(process)
    }

    fn death_epoch(&self) -> u32 {
        self.0.death_epoch()
    }
}

// SAFETY: forwards.
unsafe impl Wait for Patient {
    const MOST_WATCHES: usize = <Family as Wait>::MOST_WATCHES;

    fn wait(&self, watches: &[Watch<'_>], _: Option<Deadline>) -> Woken {
        self.0.wait(watches, None)
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.0.wake(word, most)
    }

    fn now(&self) -> Deadline {
        self.0.now()
    }

    fn light_barrier(&self) {
        self.0.light_barrier();
    }

    fn heavy_barrier(&self) {
        self.0.heavy_barrier();
    }
}

// SAFETY: forwards.
unsafe impl Waits for Patient {
    fn me(&self) -> ProcessRef {
        self.0.me()
    }

    fn epoch_word(&self) -> &AtomicU32 {
        self.0.epoch_word()
    }

    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>> {
        self.0.life_watch(process)
    }

    fn backstop(&self) -> u64 {
        u64::MAX
    }
}

impl Team {
    /// A new family with a board.
    pub fn found() -> Self {
        let family = Family::create(&Options { arena_len: 1 << 30, ..Options::default() }).unwrap();
        let spec = RegionSpec {
            kind: 1,
            version: 1,
            type_hash: 7,
            len: WORDS_AT + 4 * WORDS as u64,
            members_offset: 64,
            members_count: MEMBERS,
            flags: flags::OWNERLESS,
            committed: u64::MAX,
        };
        let board = family.allocate(&spec, |_| {}).unwrap();
        Self { family, board }
    }

    /// What a child was given by [`start`](Self::start): handle, parent and board.
    pub fn join(given: &[u64]) -> Self {
        let handle = std::ptr::without_provenance_mut(given[0] as usize);
        // SAFETY: the parent made this process inherit the handle, for it alone.
        let section = unsafe { OwnedHandle::from_raw_handle(handle) };
        let family = Family::join(section, ProcessRef::from_bits(given[1])).unwrap();
        let board = family.join_object(RegionRef::from_bits(given[2]), 1, 7).unwrap();
        Self { family, board }
    }

    pub fn word(&self, index: usize) -> &'static AtomicU32 {
        assert!(index < WORDS);
        // SAFETY: within the board, whose words behind the members are only ever used as such atomics; the arena is
        // mapped for the life of the process.
        unsafe { &*self.board.pointer.add(WORDS_AT as usize).cast::<AtomicU32>().add(index) }
    }

    pub fn get(&self, index: usize) -> u32 {
        self.word(index).load(Ordering::SeqCst)
    }

    pub fn event(&self, index: usize) -> &'static EventCount {
        // SAFETY: an event count is a transparent `AtomicU32`.
        unsafe { &*std::ptr::from_ref(self.word(index)).cast::<EventCount>() }
    }

    /// Adds to a word of the board and tells all.
    pub fn add(&self, index: usize, by: u32) {
        self.word(index).fetch_add(by, Ordering::SeqCst);
        self.event(at::NEWS).notify_all(&self.family);
    }

    /// Puts an item and tells one.
    pub fn put(&self) {
        self.word(at::ITEMS).fetch_add(1, Ordering::SeqCst);
        self.event(at::FULL).notify_one(&self.family);
    }

    /// Waits for an item and takes it.
    pub fn take(&self) {
        self.wait_for(at::FULL, || {
            let items = self.get(at::ITEMS);
            let less = items.wrapping_sub(1);
            let word = self.word(at::ITEMS);
            items > 0
                && word.compare_exchange(items, less, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        });
        self.add(at::TAKEN, 1);
    }

    /// Waits until a word of the board holds `value`.
    pub fn until(&self, index: usize, value: u32) {
        self.wait_for(at::NEWS, || self.get(index) == value);
    }

    /// Waits on an event count, watching all members, until `done`.
    pub fn wait_for(&self, event: usize, done: impl Fn() -> bool) {
        let members = || self.board.members().iter().map(|(_, member)| member);
        let attempt = || done().then_some(());
        block(&Patient(self.family), self.event(event), members, &Adaptive::new(), attempt);
    }

    /// Starts this program again as `role` with its own number and some more.
    pub fn start(&self, role: &str, more: &[u64]) -> Kid {
        let section = self.family.arena_fd().try_clone_to_owned().unwrap();
        // SAFETY: our own handle.
        let done = unsafe {
            SetHandleInformation(section.as_raw_handle(), HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT)
        };
        assert_ne!(done, 0);
        let given = [
            section.as_raw_handle().addr() as u64,
            self.family.me().bits(),
            self.board.region.bits(),
        ];
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("--role")
            .arg(role)
            .args(given.iter().chain(more).map(u64::to_string))
            .spawn()
            .unwrap();
        Kid { child, family: self.family }
    }

    /// Writes this process's name on the board, as the child of that number.
    pub fn sign(&self, number: usize) {
        let me = self.family.me();
        self.word(at::NAMES + 2 * number).store(u32::from(me.slot()), Ordering::SeqCst);
        self.word(at::NAMES + 2 * number + 1).store(me.generation(), Ordering::SeqCst);
    }

    /// The name of the child of that number, who has signed.
    pub fn name(&self, number: usize) -> ProcessRef {
        let slot = self.get(at::NAMES + 2 * number);
        ProcessRef::new(slot as u16, self.get(at::NAMES + 2 * number + 1))
    }
}

/// A child; terminated when it is dropped.
pub struct Kid {
    child: Child,
    family: Family,
}

impl Kid {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Terminates it, without telling anybody.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end; its exit code.
    pub fn join(mut self) -> i32 {
        let code = self.child.wait().unwrap().code().unwrap();
        self.family.note_gone(self.pid(), ProcessRef::NONE);
        code
    }
}

impl Drop for Kid {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Terminates the calling process: no destructor runs, no other thread goes on.
pub fn die() -> ! {
    // SAFETY: a constant that means this process, and an integer.
    unsafe { TerminateProcess(GetCurrentProcess(), KILLED as u32) };
    loop {
        std::thread::park();
    }
}

static AT: AtomicU32 = AtomicU32::new(u32::MAX);
static TIMES: AtomicU32 = AtomicU32::new(0);

/// From now on this process dies when it comes to `point` for the `nth` time (from 1).
pub fn die_at(point: Point, nth: u32) {
    AT.store(point as u32, Ordering::SeqCst);
    TIMES.store(nth, Ordering::SeqCst);
    set_hook(Some(|point| {
        if AT.load(Ordering::SeqCst) == point as u32 && TIMES.fetch_sub(1, Ordering::SeqCst) == 1 {
            die();
        }
    }));
}
