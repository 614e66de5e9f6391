//! Forking, killing at points, and the audit.

use offspring_core::family::{RegionRef, RegionSpec, flags};
use offspring_core::points::{Point, set_hook};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_os_unix::family::{Family, Object, Options, set_trace};

/// Seconds after which the kernel ends a case, or a child of one.
const WATCHDOG: u32 = 120;

pub const BOX: u32 = 1;
pub const LEAF: u32 = 2;
pub const PART: u32 = 3;

/// Words in a box that can name leaves, behind its member table.
pub const SLOTS: usize = 8;
const MEMBERS: u32 = 6;
const SLOTS_AT: usize = 64 + 8 * MEMBERS as usize;

/// Runs `case` in a process of its own; 0 if it passed.
pub fn run_case(case: fn()) -> i32 {
    let pid = fork(case);
    reap(pid)
}

/// Forks a child that runs `body` and exits with 0, or with 101 if it panics.
pub fn fork(body: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes an integer.
            unsafe { libc::alarm(WATCHDOG) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends this process without running what it inherited.
            unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
        }
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        pid => pid,
    }
}

/// Waits for the child; its exit code, or 128 and the signal.
pub fn reap(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let got = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(got, pid, "waitpid: {}", std::io::Error::last_os_error());
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Waits until the child has stopped itself, or ended; whether it stopped.
pub fn await_stop(pid: i32) -> bool {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let got = unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) };
    assert_eq!(got, pid);
    libc::WIFSTOPPED(status)
}

/// Until the child has ended, without reaping it.
pub fn await_end(pid: i32) {
    // SAFETY: all zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is writable.
    let done =
        unsafe { libc::waitid(libc::P_PID, pid as u32, &mut info, libc::WEXITED | libc::WNOWAIT) };
    assert_eq!(done, 0);
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: takes integers; the child is not reaped, so the number is its own.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

pub const KILLED: i32 = 128 + libc::SIGKILL;

static AT: AtomicU32 = AtomicU32::new(u32::MAX);
static TIMES: AtomicU32 = AtomicU32::new(0);
static SIGNAL: AtomicU32 = AtomicU32::new(0);

/// From now on this process gets `signal` when it comes to `point` for the `nth` time (from 1).
pub fn strike_at(point: Point, nth: u32, signal: i32) {
    AT.store(point as u32, Ordering::Relaxed);
    TIMES.store(nth, Ordering::Relaxed);
    SIGNAL.store(signal as u32, Ordering::Relaxed);
    set_hook(Some(hook));
}

fn hook(point: Point) {
    if AT.load(Ordering::Relaxed) == point as u32 && TIMES.fetch_sub(1, Ordering::Relaxed) == 1 {
        // SAFETY: takes integers.
        unsafe { libc::kill(libc::getpid(), SIGNAL.load(Ordering::Relaxed) as i32) };
        // A process with threads may run on for a moment before the signal is delivered here.
        while SIGNAL.load(Ordering::Relaxed) == libc::SIGKILL as u32 {
            std::hint::spin_loop();
        }
    }
}

/// A page that forked children share with this process.
pub struct Shared(*const AtomicU64);

impl Shared {
    pub fn new() -> Self {
        // SAFETY: a fresh mapping of 4096 bytes, never unmapped.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        Self(page.cast())
    }

    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < 512);
        // SAFETY: within the page, which is all zeros at first and is only ever used as atomics.
        unsafe { &*self.0.add(index) }
    }
}

/// A family of this process alone; its boxes can be traced.
pub fn family() -> Family {
    set_trace(BOX, |_, object, found| {
        for slot in 0..SLOTS {
            // ORDER: Acquire, with the CAS that put the name there.
            found(RegionRef::from_bits(slots(object)[slot].load(Ordering::Acquire)));
        }
    });
    Family::create(&Options::default()).unwrap()
}

pub fn box_spec() -> RegionSpec {
    RegionSpec {
        kind: BOX,
        version: 1,
        type_hash: 7,
        len: (SLOTS_AT + 8 * SLOTS) as u64,
        members_offset: 64,
        members_count: MEMBERS,
        flags: flags::OWNERLESS,
        committed: u64::MAX,
    }
}

pub fn leaf_spec(len: u64) -> RegionSpec {
    RegionSpec { kind: LEAF, type_hash: 0, len: len.max(4096), ..box_spec() }
}

pub fn part_spec() -> RegionSpec {
    RegionSpec { kind: PART, members_count: 0, ..leaf_spec(0) }
}

/// The words of a box that name leaves; of a leaf, words that its maker fills.
pub fn slots(object: &Object) -> &[AtomicU64] {
    // SAFETY: boxes, leaves and parts have that many words there, which are only ever used as atomics.
    unsafe { std::slice::from_raw_parts(object.pointer.add(SLOTS_AT).cast(), SLOTS) }
}

const MARK: u64 = 0x6c65_6166;

/// Makes a leaf and marks it.
pub fn leaf(family: &Family, len: u64) -> Object {
    let made = family.allocate(&leaf_spec(len), |start| {
        // SAFETY: as in `slots`; the region is fresh.
        let words: &[AtomicU64] =
            unsafe { std::slice::from_raw_parts(start.add(SLOTS_AT).cast(), SLOTS) };
        assert!(
            words.iter().all(|word| word.load(Ordering::Relaxed) == 0),
            "fresh pages are zeros"
        );
        words.iter().for_each(|word| word.store(MARK, Ordering::Relaxed));
    });
    made.unwrap()
}

/// Checks that a leaf is whole: pages that were given back read zero, or what somebody else writes.
pub fn check_leaf(object: &Object) {
    for word in slots(object) {
        assert_eq!(word.load(Ordering::Relaxed), MARK, "a leaf in use was freed");
    }
}

/// Puts the leaf's name into an empty slot of the box; whether there was one.
pub fn put(into: &Object, leaf: &Object) -> bool {
    leaf.mark_travelled();
    into.mark_carries();
    slots(into).iter().any(|slot| {
        slot.compare_exchange(0, leaf.region.bits(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    })
}

/// Takes a leaf out of a slot of the box: joins it first, as every taker must.
pub fn take(family: &Family, from: &Object) -> Option<Object> {
    slots(from).iter().find_map(|slot| {
        let bits = slot.load(Ordering::Acquire);
        if bits == 0 {
            return None;
        }
        let name = RegionRef::from_bits(bits);
        match family.join_object(name, LEAF, 0) {
            Ok(leaf) => {
                check_leaf(&leaf);
                let taken = slot.compare_exchange(bits, 0, Ordering::AcqRel, Ordering::Relaxed);
                if taken.is_ok() {
                    return Some(leaf);
                }
                family.leave_object(name);
                None
            }
            Err(error) => {
                // A generation is one region, so the slot's word would be the same message.
                assert_ne!(slot.load(Ordering::Acquire), bits, "a named leaf was freed: {error}");
                None
            }
        }
    })
}

/// What a family uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    pub processes: usize,
    pub slots_and_lanes: (usize, usize),
    pub regions: usize,
    pub bytes: u64,
}

pub fn audit(family: &Family) -> Audit {
    Audit {
        processes: family.processes_alive(),
        slots_and_lanes: family.slots_and_lanes_in_use(),
        regions: family.regions_in_use(),
        bytes: family.resident_bytes().unwrap(),
    }
}

/// A small generator of pseudo-random numbers (xorshift64*).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }
}
