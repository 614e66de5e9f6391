//! Windows: children that are executed, ends by exit codes, a section in memory. Nobody forks, and who is to stop pauses.

use super::{News, PACE};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_os_windows::clock;
use offspring_os_windows::family::set_backstop;
use offspring_os_windows::lifeline::Lifeline;
use offspring_os_windows::start::{Child, Start, Stdio};
use offspring_os_windows::status::{self, ExitStatus};
use offspring_os_windows::{inherited, signal};
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle};
use std::ptr;
use std::sync::{Once, OnceLock};
use std::time::Duration;
use windows_sys::Win32::Foundation::{ERROR_INTERNAL_ERROR, ERROR_MORE_DATA, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::JobObjects as job;
use windows_sys::Win32::System::Memory as memory;
use windows_sys::Win32::System::Threading as thread;

pub use offspring_os_windows::clock::now;
pub use offspring_os_windows::family::{Family, Object, ObjectError, Options, set_trace};
pub use std::os::windows::io::{BorrowedHandle as BorrowedFile, OwnedHandle as OwnedFile};

/// Lends a file.
pub fn borrow(file: &OwnedFile) -> BorrowedFile<'_> {
    file.as_handle()
}

/// Whether sleepers park: there is no futex between processes.
pub const PARKS: bool = true;

/// Whether so many are killed in a second that whoever needs another's death soon meets one.
pub const MANY: bool = false;

/// How long a process that is to stop lets others go on, and how often.
const PAUSE: Duration = Duration::from_millis(40);
const PAUSES: u32 = 8;

/// The signal that tells of a kill.
pub const KILLED: i32 = signal::KILL;

/// What a victim is handed, in this order.
///
/// # Safety
///
/// The harness handed exactly these to this process, and nothing else has taken them.
pub unsafe fn handed() -> Option<[OwnedFile; 2]> {
    // SAFETY: the caller's promise.
    let [arena, board] = unsafe { [3, 4].map(|number| inherited::take(number).ok()) };
    Some([arena?, board?])
}

/// How often a start that failed is tried again.
const ATTEMPTS: u32 = 5;

/// The children of this process.
#[derive(Debug)]
pub struct Children(Vec<(Child, Lifeline)>);

impl Children {
    /// None yet.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// A copy of this process, which lives `life`; its number. `None` where there is no such thing.
    pub fn fork(&mut self, _: impl FnOnce()) -> Option<Result<u32, String>> {
        None
    }

    /// This program again, with arguments and files; its number. It ends with this process.
    pub fn execute(
        &mut self,
        arguments: [&str; 3],
        files: Vec<BorrowedFile<'_>>,
    ) -> Result<u32, String> {
        let (lifeline, _) = Lifeline::pair().map_err(|error| error.to_string())?;
        let start = Start {
            argv: arguments.map(Into::into).to_vec(),
            env: inherited::environment_changed(true, &[]),
            stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
            ..Start::tied(&lifeline, files)
        };
        let mut child = start.spawn();
        // Under load Wine fails a start now and then with an error that Windows does not know here.
        for _ in 0..ATTEMPTS {
            match child {
                Err(error) if error.code() == ERROR_INTERNAL_ERROR as i32 => child = start.spawn(),
                _ => break,
            }
        }
        let child = child.map_err(|error| error.to_string())?;
        let pid = child.pid();
        self.0.push((child, lifeline));
        Ok(pid)
    }

    fn place(&self, pid: u32) -> Option<usize> {
        self.0.iter().position(|(child, _)| child.pid() == pid)
    }

    /// Kills a child that [`news`](Self::news) has not told the end of.
    pub fn kill(&self, pid: u32) {
        if let Some(place) = self.place(pid) {
            // It may have ended by itself.
            let _ = self.0[place].0.pidfd().send_signal(signal::KILL);
        }
    }

    /// Lets a child that stopped go on: there is none.
    pub fn go_on(&self, _: u32) {}

    /// What became of one of them; `None` if nothing is new.
    pub fn news(&mut self) -> Option<(u32, News)> {
        let (place, status) = self
            .0
            .iter()
            .enumerate()
            .find_map(|(place, (child, _))| Some((place, status::try_wait(child)?)))?;
        let (child, _) = self.0.swap_remove(place);
        let news = match status {
            ExitStatus::Signal { signal: signal::KILL, .. } => News::Killed,
            ExitStatus::Code(code) => News::Ended(code),
            other => News::Died(other.signal().unwrap_or(0)),
        };
        Some((child.pid(), news))
    }

    /// Blocks until a child has ended, whatever comes of it.
    pub fn await_end(&mut self, pid: u32) {
        if let Some(place) = self.place(pid) {
            status::wait(&self.0.swap_remove(place).0);
        }
    }

    /// Sleeps until a child has news, or so many nanoseconds.
    pub fn sleep(&self, nanos: u64) {
        let children: Vec<&Child> = self.0.iter().map(|(child, _)| child).collect();
        let _ = status::wait_any_deadline(&children, Some(now().after(nanos)));
    }
}

/// Lets others go on for a while: long enough for one of them to die, and for that to be repaired. Nobody is told, as no
/// process is asked here to let another go on. Whether it shall stop there again.
pub fn stop_self() -> bool {
    static PAUSED: AtomicU32 = AtomicU32::new(0);
    std::thread::sleep(PAUSE);
    // ORDER: Relaxed. A count.
    PAUSED.fetch_add(1, Ordering::Relaxed) < PAUSES
}

/// Kills this process.
pub fn kill_self() {
    signal::end_this_process(signal::KILL);
}

/// Leaves the process.
pub fn quit(code: i32) -> ! {
    std::process::exit(code)
}

/// Nothing but notices is to end this process's waits within a round.
pub fn trust_notices() {
    set_backstop(100 * PACE.hang);
}

/// This process does not outlive its parent: that is so from its start, by its job.
pub fn end_with_parent() {}

/// Ends this process unless it is called again within so many seconds.
pub fn watchdog(seconds: u32) {
    // ORDER: Relaxed. A time of its own.
    static UNTIL: AtomicU64 = AtomicU64::new(0);
    static THREAD: Once = Once::new();
    UNTIL.store(now().after(u64::from(seconds) * 1_000_000_000).0, Ordering::Relaxed);
    THREAD.call_once(|| {
        std::thread::spawn(|| {
            loop {
                let left = UNTIL.load(Ordering::Relaxed).saturating_sub(clock::now().0);
                if left == 0 {
                    eprintln!("kill: the watchdog ends this program");
                    std::process::abort();
                }
                std::thread::park_timeout(Duration::from_nanos(left));
            }
        });
    });
}

/// The job that this process and all that it starts are in.
static FAMILY_JOB: OnceLock<OwnedFile> = OnceLock::new();

/// From now on this process can wait for its children's children, too.
pub fn adopt_orphans() -> Result<(), String> {
    let failed = || format!("make a job for all processes: {}", io::Error::last_os_error());
    // SAFETY: no attributes and no name.
    let made = unsafe { job::CreateJobObjectW(ptr::null(), ptr::null()) };
    if made.is_null() {
        return Err(failed());
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    let made = unsafe { OwnedFile::from_raw_handle(made) };
    // SAFETY: an open job, and this process.
    let done =
        unsafe { job::AssignProcessToJobObject(made.as_raw_handle(), thread::GetCurrentProcess()) };
    if done == 0 {
        return Err(failed());
    }
    FAMILY_JOB.set(made).map_err(|_| "there is such a job already".to_owned())
}

/// The process that made this one, where somebody needs it.
pub fn parent() -> Option<u32> {
    None
}

/// Kills a fork server, of which there are none here.
pub fn kill(_: u32) {}

/// Waits until this process is the only one in its job: whoever was left over has ended.
pub fn await_orphans() {
    let Some(all) = FAMILY_JOB.get() else { return };
    loop {
        let others = processes(all).into_iter().filter(|pid| *pid != std::process::id());
        let mut nobody = true;
        for pid in others {
            nobody = false;
            // SAFETY: takes integers.
            let process = unsafe { thread::OpenProcess(thread::PROCESS_SYNCHRONIZE, 0, pid) };
            if process.is_null() {
                continue; // it has ended
            }
            // SAFETY: the call made this handle, and nobody else knows it.
            let process = unsafe { OwnedFile::from_raw_handle(process) };
            // SAFETY: an open handle.
            unsafe { thread::WaitForSingleObject(process.as_raw_handle(), thread::INFINITE) };
        }
        if nobody {
            return;
        }
    }
}

/// The numbers of the processes in a job.
fn processes(of: &OwnedFile) -> Vec<u32> {
    let mut room = 64;
    loop {
        // The list is two counts of 32 bits, and a number of pointer size for each.
        let mut list = vec![0_usize; 1 + room];
        // SAFETY: the list is writable and as long as said.
        let done = unsafe {
            job::QueryInformationJobObject(
                of.as_raw_handle(),
                job::JobObjectBasicProcessIdList,
                list.as_mut_ptr().cast(),
                (list.len() * size_of::<usize>()) as u32,
                ptr::null_mut(),
            )
        };
        if done == 0 && io::Error::last_os_error().raw_os_error() == Some(ERROR_MORE_DATA as i32) {
            room *= 2;
            continue;
        }
        let listed = list[0] >> 32;
        return list[1..].iter().take(listed).map(|pid| *pid as u32).collect();
    }
}

/// Memory for this process and whom it is handed to: `len` zeros, and where they lie for the process's life.
pub fn make_memory(len: usize) -> io::Result<(OwnedFile, *mut u8)> {
    // SAFETY: no file, no attributes, no name.
    let made = unsafe {
        memory::CreateFileMappingW(
            INVALID_HANDLE_VALUE,
            ptr::null(),
            memory::PAGE_READWRITE,
            (len >> 32) as u32,
            len as u32,
            ptr::null(),
        )
    };
    if made.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    let file = unsafe { OwnedFile::from_raw_handle(made) };
    let base = map_memory(&file, len)?;
    Ok((file, base))
}

/// What [`make_memory`] made, in a process that it was handed to.
pub fn map_memory(file: &OwnedFile, len: usize) -> io::Result<*mut u8> {
    // SAFETY: an open section, mapped at an address of the system's choice.
    let view = unsafe {
        memory::MapViewOfFile(file.as_raw_handle(), memory::FILE_MAP_ALL_ACCESS, 0, 0, len)
    };
    if view.Value.is_null() { Err(io::Error::last_os_error()) } else { Ok(view.Value.cast()) }
}

/// The arena, to hand to a victim.
pub fn arena(family: &Family) -> BorrowedFile<'_> {
    family.arena_fd()
}

/// Not counted: committed pages of a section stay committed until the last process of the family ends, to be used again.
pub fn heap_bytes(_: &Family) -> u64 {
    0
}

/// Not counted: handles of peers and of their events are kept for the next wait, and their number goes up and down.
pub fn open_files() -> usize {
    0
}

/// Names vanish with the last handle.
pub fn names() -> usize {
    0
}

/// Nobody stays to be reaped.
pub fn children() -> usize {
    0
}
