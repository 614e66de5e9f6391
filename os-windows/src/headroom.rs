//! How much memory may still be committed before the system refuses.
//!
//! Windows keeps its word: what was committed can be used, and a commit beyond the limit (memory and paging files, or a job's
//! limit) is refused at once. So this look is a courtesy: it leaves something to others, and it says who sets the limit.
//! It is what protects where the promise is not kept (Wine).

use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

/// What is left, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// What sets the limit.
    pub set_by: String,
}

/// How much this process may still commit; `None` if the system does not tell.
#[must_use]
pub fn room() -> Option<Room> {
    // SAFETY: all zero is a valid value.
    let mut status: MEMORYSTATUSEX = unsafe { std::mem::zeroed() };
    status.dwLength = size_of::<MEMORYSTATUSEX>() as u32;
    // SAFETY: `status` is writable and says its length.
    let told = unsafe { GlobalMemoryStatusEx(&mut status) } != 0;
    // Wine answers zeros to a thread that asks while another one's first question is being answered.
    (told && status.ullTotalPageFile != 0).then(|| Room {
        bytes: status.ullAvailPageFile,
        set_by: "the commit limit (memory and paging files)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_ask_at_once_are_not_told_that_nothing_is_there() {
        let gate = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    gate.wait();
                    assert!(room().is_none_or(|room| room.bytes > 0));
                });
            }
        });
    }

    #[test]
    fn there_is_some_room_and_less_than_everything() {
        // Another test's thread may be asking for the first time.
        let room = std::iter::repeat_with(room).flatten().next().unwrap();
        assert!(room.bytes > 1 << 20 && room.bytes < 1 << 60, "{room:?}");
    }
}
