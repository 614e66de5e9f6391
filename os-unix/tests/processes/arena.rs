//! The arena under limits of the system.

use crate::support::{child, join, kill, shared, stand, until};
use offspring_core::prim::Ordering;
use offspring_os_unix::arena::{Arena, DEFAULT_LEN};
use offspring_os_unix::{deny, status};
use std::path::{Path, PathBuf};

crate::cases![
    arena_is_smaller_where_address_space_is_limited,
    arena_is_smaller_where_files_are_limited,
    arena_is_made_where_the_kernel_knows_fewer_flags,
    arena_survives_the_process_that_made_it,
    control_group_limit_is_an_error_and_never_a_kill,
];

const MIB: u64 = 1 << 20;

fn limit(resource: i64, bytes: u64) {
    let limit = [bytes, bytes];
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: 0 is this process; `limit` is the kernel's pair of 64-bit limits, and readable.
    let done = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), none) };
    assert_eq!(done, 0);
}

fn arena_is_smaller_where_address_space_is_limited() {
    limit(libc::RLIMIT_AS.into(), 64 << 30);
    let arena = Arena::create(DEFAULT_LEN).unwrap();
    assert_eq!(arena.len(), 32 << 30);
    arena.commit(0, MIB).unwrap();
    drop(arena);
    limit(libc::RLIMIT_AS.into(), 1 << 30);
    let error = Arena::create(DEFAULT_LEN).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert!(error.to_string().contains("ulimit -v"), "{error}");
    assert_eq!(Arena::create(MIB).unwrap().len(), MIB);
}

fn arena_is_smaller_where_files_are_limited() {
    limit(libc::RLIMIT_FSIZE.into(), 8 << 30);
    let arena = Arena::create(DEFAULT_LEN).unwrap();
    assert_eq!(arena.len(), 8 << 30);
    arena.commit(arena.len() - MIB, MIB).unwrap();
    limit(libc::RLIMIT_FSIZE.into(), MIB);
    let error = Arena::create(DEFAULT_LEN).unwrap_err();
    assert!(error.to_string().contains("ulimit -f"), "{error}");
}

fn arena_is_made_where_the_kernel_knows_fewer_flags() {
    // MFD_NOEXEC_SEAL, since Linux 6.3.
    deny::deny_flag(libc::SYS_memfd_create, 1, 8, libc::EINVAL).unwrap();
    let arena = Arena::create(MIB).unwrap();
    Arena::from_fd(arena.fd().try_clone_to_owned().unwrap()).unwrap();
}

fn arena_survives_the_process_that_made_it() {
    let words = shared();
    let arena = Arena::create(DEFAULT_LEN).unwrap();
    arena.commit(0, MIB).unwrap();
    let writer = child(|| {
        // SAFETY: inside the mapping, which nobody else uses.
        unsafe { arena.base().write_volatile(42) };
        crate::support::set(&words[0], 1);
        stand();
    });
    until(&words[0], 1);
    kill(&writer);
    status::wait(&writer);
    // SAFETY: as above; the writer is gone.
    assert_eq!(unsafe { arena.base().read_volatile() }, 42);
    assert_eq!(arena.resident_bytes().unwrap(), MIB);
}

/// A control group with a limit, below this process's own; removed when dropped.
struct Group {
    directory: PathBuf,
    version: u32,
}

impl Group {
    fn new(bytes: u64) -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |version: u32| {
            own.lines().find_map(|line| {
                let [number, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..]
                else {
                    return None;
                };
                let fits = match version {
                    1 => controllers.split(',').any(|name| name == "memory"),
                    _ => number == "0",
                };
                fits.then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let name = format!("offspring-{}", std::process::id());
        for (version, root, file) in [
            (1, "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            (2, "/sys/fs/cgroup", "memory.max"),
        ] {
            let Some(path) = path(version) else { continue };
            let directory = Path::new(root).join(path).join(&name);
            if std::fs::create_dir(&directory).is_err() {
                continue;
            }
            let group = Self { directory, version };
            if std::fs::write(group.directory.join(file), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    fn enter(&self) {
        let me = std::process::id().to_string();
        std::fs::write(self.directory.join("cgroup.procs"), me).unwrap();
    }

    /// What the kernel had to refuse or kill for.
    fn kills(&self) -> String {
        let (file, line) = match self.version {
            1 => ("memory.oom_control", "oom_kill "),
            _ => ("memory.events", "oom_kill "),
        };
        let text = std::fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        text.lines().find_map(|text| text.strip_prefix(line)).unwrap_or("0").to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.directory);
    }
}

fn control_group_limit_is_an_error_and_never_a_kill() {
    let Some(group) = Group::new(64 * MIB) else {
        println!("    skipped: no memory control group can be made");
        return;
    };
    let words = shared();
    let inside = child(|| {
        group.enter();
        let arena = Arena::create(DEFAULT_LEN).unwrap();
        let touch = |offset: u64, len: u64| {
            for at in (offset..offset + len).step_by(4096) {
                // SAFETY: inside the mapping, committed, and nobody else uses it.
                unsafe { arena.base().add(at as usize).write_volatile(1) };
            }
        };
        arena.commit(0, 24 * MIB).unwrap();
        touch(0, 24 * MIB);
        let error = arena.commit(1 << 30, 256 * MIB).unwrap_err();
        assert!(error.is_out_of_memory(), "{error}");
        assert!(error.to_string().contains(group.directory.to_str().unwrap()), "{error}");
        assert_eq!(arena.resident_bytes().unwrap(), 24 * MIB, "a refused commit leaves nothing");
        // Small ones until no more fit; each that was granted can be written to.
        let mut granted = 24;
        let error = loop {
            if let Err(error) = arena.commit(granted * MIB, MIB) {
                break error;
            }
            touch(granted * MIB, MIB);
            granted += 1;
        };
        assert!(error.is_out_of_memory(), "{error}");
        arena.release(0, 8 * MIB).unwrap();
        arena.commit(0, 4 * MIB).unwrap();
        touch(0, 4 * MIB);
        words[0].store(granted as u32, Ordering::Release);
    });
    join(&inside);
    let granted = words[0].load(Ordering::Acquire);
    println!("    {granted} of 64 MiB granted");
    assert!((32..64).contains(&granted), "{granted}");
    assert_eq!(group.kills(), "0");
}
