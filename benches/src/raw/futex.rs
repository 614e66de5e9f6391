//! Ping-pong over two shared words, asleep every time: the kernel's own round trip.

use super::memory::Shared;
use super::words::Pair;
use crate::Result;
use crate::cores::Cores;
use crate::roles::{Role, in_processes};
use crate::stage::Stage;
use offspring_core::prim::{AtomicU32, Ordering};

fn wake(word: &AtomicU32, turn: u32) {
    // ORDER: Release, with the Acquire in `sleep`; the system call orders it before the kernel's look for sleepers.
    word.store(turn, Ordering::Release);
    // SAFETY: the word is mapped and aligned; FUTEX_WAKE reads nothing but its address.
    unsafe { libc::syscall(libc::SYS_futex, std::ptr::from_ref(word), libc::FUTEX_WAKE, 1) };
}

fn sleep(word: &AtomicU32, turn: u32) {
    loop {
        // ORDER: Acquire, with the Release in `wake`.
        let seen = word.load(Ordering::Acquire);
        if seen == turn {
            return;
        }
        let forever = std::ptr::null::<libc::timespec>();
        // SAFETY: the word is mapped and aligned; without a time-out nothing else is read.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                std::ptr::from_ref(word),
                libc::FUTEX_WAIT,
                seen,
                forever,
            )
        };
    }
}

fn ping_pong(trips: u64, first: usize, second: usize) -> Result<u64> {
    let trips = u32::try_from(trips)?;
    let (stage, pair) = (Stage::new(2)?, Shared::<Pair>::new()?);
    let ping = Role::new(first, |seat| {
        seat.start();
        for turn in 1..=trips {
            wake(&pair.ping.0, turn);
            sleep(&pair.pong.0, turn);
        }
        seat.finish(0, 0);
        Ok(())
    });
    let pong = Role::new(second, |seat| {
        seat.start();
        for turn in 1..=trips {
            sleep(&pair.ping.0, turn);
            wake(&pair.pong.0, turn);
        }
        seat.finish(0, 0);
        Ok(())
    });
    in_processes(&stage, vec![ping, pong])?;
    Ok(stage.outcome().nanos)
}

/// Nanoseconds for `trips` round trips between two processes on one core.
pub fn on_one_core(trips: u64, cores: Cores) -> Result<u64> {
    ping_pong(trips, cores.first, cores.first)
}

/// Nanoseconds for `trips` round trips between two processes on two cores.
pub fn on_two_cores(trips: u64, cores: Cores) -> Result<u64> {
    ping_pong(trips, cores.first, cores.second)
}
