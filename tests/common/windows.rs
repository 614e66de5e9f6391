//! What the tests ask of the system: Windows.

use super::until;
use offspring_core::family::layout::{FAMILY_MAGIC, FamilyHead};
use offspring_os_windows::process::Process;
use offspring_os_windows::signal;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{CloseHandle, WAIT_OBJECT_0};
use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE, STD_OUTPUT_HANDLE};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_FREE, MEM_MAPPED, MEMORY_BASIC_INFORMATION, VirtualQuery,
};
use windows_sys::Win32::System::Threading::{
    INFINITE, OpenProcess, PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

/// Whether memory that is not used any more goes back to the system while the family lives: pages of a section do not.
pub const MEMORY_GOES_BACK: bool = false;

/// Ends this program unless it is called again within so many seconds; its children go with it.
pub fn watchdog(seconds: u32) {
    static UNTIL: Mutex<Option<Instant>> = Mutex::new(None);
    let now = || UNTIL.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = now().replace(Instant::now() + Duration::from_secs(seconds.into())).is_some();
    if !begun {
        std::thread::spawn(move || {
            loop {
                let until = *now();
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                let Some(left) = left.filter(|left| !left.is_zero()) else { break };
                std::thread::sleep(left);
            }
            eprintln!("the watchdog ends this program");
            std::process::abort();
        });
    }
}

/// The calling thread's number: its place in the family.
pub fn thread() -> u32 {
    offspring::__place().expect("it takes part in the family")
}

/// Waits until that thread, of whichever process, sleeps in the library: the parking word of its place says so.
#[track_caller]
pub fn until_blocked(thread: u32) {
    let asleep = || offspring::__is_asleep(thread).expect("sleepers park here");
    until(&format!("the thread at place {thread} blocks"), asleep);
}

/// Kills a process by its number.
pub fn kill_number(pid: u32) {
    let code = signal::CODE | signal::KILL as u32;
    // SAFETY: takes integers.
    let process = unsafe { OpenProcess(PROCESS_TERMINATE, 0, pid) };
    if !process.is_null() {
        // SAFETY: the call made this handle, and nobody else knows it.
        let process = unsafe { OwnedHandle::from_raw_handle(process) };
        // It may have ended, which Windows refuses to end.
        // SAFETY: an open handle.
        unsafe { TerminateProcess(process.as_raw_handle(), code) };
    }
}

/// Kills this process.
pub fn kill_self() {
    signal::end_this_process(signal::KILL);
}

/// Waits until the process with that number has ended.
pub fn until_gone(pid: u32) {
    assert!(Process::open(pid).map_or(true, |process| process.wait_gone(None)));
}

/// Whether a sentinel is ready within so many milliseconds, or ever.
pub fn is_ready(sentinel: BorrowedHandle<'_>, millis: Option<i32>) -> bool {
    let millis = millis.map_or(INFINITE, |millis| millis as u32);
    // SAFETY: an open handle.
    unsafe { WaitForSingleObject(sentinel.as_raw_handle(), millis) == WAIT_OBJECT_0 }
}

/// Closes this process's standard output and standard error.
pub fn close_streams() {
    // SAFETY: the handles are this process's own, and nobody uses their numbers for anything else here.
    unsafe {
        for stream in [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
            CloseHandle(GetStdHandle(stream));
        }
    }
}

/// Whether the process with that number has ended.
pub fn has_ended(pid: u32) -> bool {
    Process::open(pid).map_or(true, |process| process.is_gone())
}

/// The arena as this process has it mapped.
pub struct Memory(*const u8);

impl Memory {
    /// Finds it: it is the only section whose view begins with a family's head.
    pub fn open() -> Self {
        let mut at = ptr::null();
        while let Some(part) = part(at) {
            let first = part.BaseAddress == part.AllocationBase;
            let whole = part.RegionSize >= size_of::<FamilyHead>();
            if first && whole && part.Type == MEM_MAPPED && part.State == MEM_COMMIT {
                let base = part.BaseAddress.cast_const().cast::<u8>();
                let magic = base.wrapping_add(offset_of!(FamilyHead, magic)).cast::<AtomicU64>();
                // SAFETY: the page is committed, the view of a section that nobody unmaps; views begin at multiples of 64 KiB.
                if unsafe { (*magic).load(Ordering::Acquire) } == FAMILY_MAGIC {
                    return Self(base);
                }
            }
            at = part.BaseAddress.wrapping_byte_add(part.RegionSize).cast_const();
        }
        panic!("a family was founded");
    }

    fn byte(&self, at: u64) -> &AtomicU8 {
        // SAFETY: committed memory of the arena, as the callers know, which is never unmapped; others may write it meanwhile.
        unsafe { &*self.0.add(at as usize).cast() }
    }

    /// Reads what lies at an offset that has memory.
    pub fn read(&self, at: u64, into: &mut [u8]) {
        for (byte, at) in into.iter_mut().zip(at..) {
            *byte = self.byte(at).load(Ordering::Relaxed);
        }
    }

    /// Overwrites what lies at an offset that has memory.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        for (byte, at) in bytes.iter().zip(at..) {
            self.byte(at).store(*byte, Ordering::Relaxed);
        }
    }

    /// The parts of a range (offset, length) that have memory, in the same form.
    pub fn used(&self, (from, len): (u64, u64)) -> Vec<(u64, u64)> {
        let end = from + len;
        let mut parts = Vec::new();
        let mut at = from;
        while at < end {
            let part = part(self.0.wrapping_add(at as usize).cast()).expect("the arena is mapped");
            let over = part.BaseAddress.addr() + part.RegionSize - self.0.addr();
            let over = (over as u64).min(end);
            if part.State == MEM_COMMIT {
                parts.push((at, over - at));
            }
            at = over;
        }
        parts
    }
}

/// The part of this process's memory that begins at or before `at` and is alike up to its end.
fn part(at: *const std::ffi::c_void) -> Option<MEMORY_BASIC_INFORMATION> {
    let mut part = MEMORY_BASIC_INFORMATION { State: MEM_FREE, ..Default::default() };
    let size = size_of_val(&part);
    // SAFETY: `part` is writable, and that large.
    let told = unsafe { VirtualQuery(at, &mut part, size) };
    (told == size).then_some(part)
}

/// Not counted: pages of the arena stay committed until the family ends.
pub fn pieces() -> u64 {
    0
}

/// Not counted: handles of peers and of their events are kept for the next wait.
pub fn descriptors() -> usize {
    0
}

/// Nobody stays to be reaped.
pub fn has_children() -> bool {
    false
}
