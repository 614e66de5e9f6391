//! Joining after exec, what is refused, and systems that lack something.

use crate::kit::{audit, check_leaf, family, leaf, put, take};
use crate::{kit, kit::box_spec};
use offspring_core::family::RegionRef;
use offspring_core::process::ProcessRef;
use offspring_os_unix::arena::Arena;
use offspring_os_unix::deny::deny;
use offspring_os_unix::family::{Family, FamilyError, Options};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

const ARENA: &str = "OFFSPRING_TEST_ARENA";
const PARENT: &str = "OFFSPRING_TEST_PARENT";
const OBJECT: &str = "OFFSPRING_TEST_OBJECT";

pub fn is_joiner() -> bool {
    std::env::var_os(ARENA).is_some()
}

fn number(name: &str) -> u64 {
    std::env::var(name).unwrap().parse().unwrap()
}

/// The other program of `process_after_exec_joins_by_the_arena`.
pub fn run_joiner() -> ! {
    // SAFETY: the parent left this descriptor open for us.
    let fd = unsafe { OwnedFd::from_raw_fd(number(ARENA) as i32) };
    let parent = ProcessRef::from_bits(number(PARENT));
    let family = Family::join(fd, parent).unwrap();
    assert_ne!(family.me(), parent);
    assert_eq!(family.parent_of(family.me()), parent);
    assert_eq!(family.processes_alive(), 2);
    let hall = family.join_object(RegionRef::from_bits(number(OBJECT)), kit::BOX, 7).unwrap();
    let found = take(&family, &hall).unwrap();
    check_leaf(&found);
    family.leave_object(found.region);
    assert!(put(&hall, &leaf(&family, 0)));
    family.leave_object(hall.region);
    family.leave();
    std::process::exit(0);
}

pub fn process_after_exec_joins_by_the_arena() {
    let family = family();
    let hall = family.allocate(&box_spec(), |_| {}).unwrap();
    let base = audit(&family);
    let mine = leaf(&family, 0);
    assert!(put(&hall, &mine));
    family.leave_object(mine.region);
    let arena = family.arena_fd().as_raw_fd();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(ARENA, arena.to_string())
        .env(PARENT, family.me().bits().to_string())
        .env(OBJECT, hall.region.bits().to_string());
    // SAFETY: `fcntl` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::fcntl(arena, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let status = command.status().unwrap();
    assert!(status.success(), "{status}");
    // The other's leaf stays: it is named by a message.
    let theirs = take(&family, &hall).unwrap();
    family.leave_object(theirs.region);
    let after = audit(&family);
    assert_eq!((after.processes, after.slots_and_lanes), (1, (1, 1)));
    assert_eq!(after.regions, base.regions);
}

pub fn what_is_no_family_is_refused() {
    let arena = Arena::create(1 << 30).unwrap();
    let fd = arena.fd().try_clone_to_owned().unwrap();
    let error = Family::join(fd, ProcessRef::NONE).unwrap_err();
    assert!(matches!(error, FamilyError::NotOurs(_)), "{error}");
    let pipe = std::io::pipe().unwrap().0;
    let error = Family::join(pipe.into(), ProcessRef::NONE).unwrap_err();
    assert!(matches!(error, FamilyError::Os(_)), "{error}");
}

/// The system call fails as on a system that has none, here and in all that this process forks.
fn without(calls: &[libc::c_long]) {
    deny(calls, libc::ENOSYS).unwrap();
}

pub fn member_without_the_barrier_is_refused() {
    let family = family();
    let fd = family.arena_fd().try_clone_to_owned().unwrap();
    without(&[libc::SYS_membarrier]);
    let error = Family::join(fd, family.me()).unwrap_err();
    assert!(matches!(error, FamilyError::Barrier(_)), "{error}");
    assert_eq!(family.processes_alive(), 1);
    // A root that has none founds a family with fences, which anybody may join.
    let other = Family::create(&Options::default()).unwrap();
    let fd = other.arena_fd().try_clone_to_owned().unwrap();
    assert_eq!(Family::join(fd, other.me()).unwrap().id(), other.id());
}

pub fn deaths_are_found_without_pidfds() {
    without(&[libc::SYS_pidfd_open]);
    crate::life::killed_process_is_dead_at_once();
    crate::life::kill_at_every_point_leaks_nothing();
}

pub fn sleeper_learns_of_a_death_without_waitv() {
    without(&[libc::SYS_futex_waitv]);
    crate::life::sleeper_learns_of_a_death();
}
