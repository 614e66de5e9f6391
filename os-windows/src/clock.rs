//! Monotonic time: one clock for all processes of the machine, and what is left until a deadline.

use offspring_core::wait::Deadline;
use std::sync::OnceLock;
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::Threading::INFINITE;

/// Now: nanoseconds since the machine started, the same in every process.
#[must_use]
pub fn now() -> Deadline {
    let mut ticks = 0;
    // SAFETY: `ticks` is writable. The call does not fail on Windows XP or later.
    unsafe { QueryPerformanceCounter(&mut ticks) };
    let nanos = u128::from(ticks.unsigned_abs()) * 1_000_000_000 / u128::from(frequency());
    Deadline(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Ticks a second; fixed when the machine starts.
fn frequency() -> u64 {
    static FREQUENCY: OnceLock<u64> = OnceLock::new();
    *FREQUENCY.get_or_init(|| {
        let mut frequency = 0;
        // SAFETY: `frequency` is writable.
        unsafe { QueryPerformanceFrequency(&mut frequency) };
        frequency.unsigned_abs().max(1)
    })
}

/// What is left until `until`, for the system's waits: milliseconds, rounded up; for ever if there is no deadline.
///
/// A wait of that length may end early by the clock's grain, or because it is longer than the system counts: look at
/// [`now`] again.
#[must_use]
pub fn millis_until(until: Option<Deadline>) -> u32 {
    let Some(until) = until else { return INFINITE };
    millis(until.0.saturating_sub(now().0))
}

fn millis(nanos: u64) -> u32 {
    u32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(INFINITE).min(INFINITE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_is_counted_in_nanoseconds() {
        let (ours, theirs) = (now(), std::time::Instant::now());
        std::thread::sleep(std::time::Duration::from_millis(20));
        let (passed, real) = (now().0 - ours.0, theirs.elapsed().as_nanos() as u64);
        assert!(passed >= 19_000_000, "{passed} ns");
        assert!(passed < real + 1_000_000_000, "{passed} ns of {real}");
    }

    #[test]
    fn what_is_left_is_rounded_up_and_never_for_ever() {
        assert_eq!(millis_until(None), INFINITE);
        assert_eq!(millis_until(Some(Deadline(0))), 0);
        assert_eq!(millis_until(Some(Deadline(u64::MAX))), INFINITE - 1);
        assert_eq!([0, 1, 1_000_000, 1_000_001].map(millis), [0, 1, 1, 2]);
    }
}
