//! Life words: marked by the kernel whatever ends the thread, and only then.

use crate::again::MARK;
use crate::support::{KILLED, after_millis, child, count, join, kill, middle_and_p99, set, shared};
use crate::support::{stand, until};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::Woken;
use offspring_os_unix::life::{self, Busy, Held, LifeCell};
use offspring_os_unix::{futex, status};
use std::ffi::CStr;

crate::cases![
    killed_holder_marks_the_word_and_wakes_a_sleeper,
    exit_abort_and_exec_mark_the_word,
    ended_thread_marks_the_word,
    released_cell_is_never_marked,
    forked_child_does_not_hold_what_its_parent_holds,
    setting_up_again_changes_nothing,
    cell_that_was_never_set_up_is_refused,
    holder_killed_at_any_time_leaves_a_usable_cell,
    holder_killed_at_every_instruction_leaves_a_usable_cell,
    stopped_holder_is_alive,
    many_sleepers_on_one_death_all_learn_of_it,
];

/// A cell and some words beside it, shared.
fn cell() -> (&'static LifeCell, &'static [AtomicU32]) {
    let (cell, words) = shared().split_at(16);
    // SAFETY: 64 zeroed bytes at the start of a page, of words; a cell is the same.
    let cell = unsafe { &*cell.as_ptr().cast::<LifeCell>() };
    life::init(cell).unwrap();
    (cell, words)
}

fn hold(cell: &'static LifeCell) -> Result<Held, Busy> {
    // SAFETY: the mapping is leaked.
    unsafe { life::try_hold(cell) }
}

fn killed_holder_marks_the_word_and_wakes_a_sleeper() {
    let (cell, words) = cell();
    let mut times = Vec::new();
    for round in 1..=50 {
        let holder = child(|| {
            let expected = if round == 1 { Held::Fresh } else { Held::Inherited };
            assert_eq!(hold(cell), Ok(expected));
            set(&words[0], round);
            stand();
        });
        until(&words[0], round);
        assert!(life::is_held(cell) && !life::is_marked(cell));
        assert_eq!(hold(cell), Err(Busy::Held));
        let watch = life::watch(cell).unwrap();
        let begin = futex::now();
        kill(&holder);
        // A wait may end early; a lost wake would take until the deadline.
        let deadline = after_millis(20_000);
        while !life::is_marked(cell) {
            assert_eq!(futex::wait(&[watch], Some(deadline)), Woken::Maybe);
        }
        times.push(futex::now().0 - begin.0);
        assert!(life::watch(cell).is_none() && !life::is_held(cell));
        assert_eq!(status::wait(&holder), KILLED);
    }
    println!("    kill to woken: {}", middle_and_p99(times));
    assert_eq!(hold(cell), Ok(Held::Inherited));
    assert!(life::is_held(cell) && !life::is_marked(cell));
    life::release(cell).unwrap();
    assert_eq!(hold(cell), Ok(Held::Fresh));
}

fn exit_abort_and_exec_mark_the_word() {
    let ends: [(&str, fn()); 3] = [
        // SAFETY: takes an integer.
        ("exit", || unsafe { libc::_exit(0) }),
        // SAFETY: takes integers.
        ("abort", || unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::abort()
        }),
        ("exec", || {
            let arguments: [*const CStr; 3] = [c"processes", MARK, c"stand"];
            let arguments = arguments.map(|text| text.cast::<libc::c_char>());
            let arguments = [arguments[0], arguments[1], arguments[2], std::ptr::null()];
            // SAFETY: terminated strings, terminated list.
            unsafe { libc::execv(c"/proc/self/exe".as_ptr(), arguments.as_ptr()) };
        }),
    ];
    for (name, end) in ends {
        let (cell, words) = cell();
        let holder = child(|| {
            hold(cell).unwrap();
            set(&words[0], 1);
            until(&words[1], 1);
            end();
        });
        until(&words[0], 1);
        let watch = life::watch(cell).unwrap();
        set(&words[1], 1);
        let deadline = after_millis(20_000);
        while !life::is_marked(cell) {
            assert_eq!(futex::wait(&[watch], Some(deadline)), Woken::Maybe, "{name}");
        }
        if name == "exec" {
            assert!(!holder.pidfd().is_gone(), "the process goes on as another program");
            kill(&holder);
        }
        status::wait(&holder);
    }
}

fn ended_thread_marks_the_word() {
    let (cell, _) = cell();
    std::thread::spawn(|| hold(cell).unwrap()).join().unwrap();
    // `join` returns when the kernel is done with the thread.
    assert!(life::is_marked(cell));
    assert_eq!(hold(cell), Ok(Held::Inherited));
}

fn released_cell_is_never_marked() {
    let (cell, _) = cell();
    join(&child(|| {
        hold(cell).unwrap();
        life::release(cell).unwrap();
        assert!(life::release(cell).unwrap_err().is_denied());
    }));
    assert!(!life::is_marked(cell) && !life::is_held(cell));
    assert!(life::watch(cell).is_none());
    assert_eq!(hold(cell), Ok(Held::Fresh));
}

fn forked_child_does_not_hold_what_its_parent_holds() {
    let (cell, _) = cell();
    hold(cell).unwrap();
    join(&child(|| {
        assert!(life::release(cell).unwrap_err().is_denied());
        assert_eq!(hold(cell), Err(Busy::Held));
    }));
    assert!(life::is_held(cell) && !life::is_marked(cell));
    life::release(cell).unwrap();
}

fn setting_up_again_changes_nothing() {
    let (cell, words) = cell();
    let holder = child(|| {
        hold(cell).unwrap();
        set(&words[0], 1);
        stand();
    });
    until(&words[0], 1);
    life::init(cell).unwrap();
    assert!(life::is_held(cell));
    kill(&holder);
    assert_eq!(status::wait(&holder), KILLED);
    life::init(cell).unwrap();
    assert!(life::is_marked(cell));
    assert_eq!(hold(cell), Ok(Held::Inherited));
}

fn cell_that_was_never_set_up_is_refused() {
    let cell: &'static LifeCell = Box::leak(Box::new(LifeCell::new()));
    assert_eq!(hold(cell), Err(Busy::Broken));
    assert!(!life::is_held(cell) && !life::is_marked(cell) && life::watch(cell).is_none());
    life::init(cell).unwrap();
    assert_eq!(hold(cell), Ok(Held::Fresh));
    life::release(cell).unwrap();
}

fn holder_killed_at_any_time_leaves_a_usable_cell() {
    let (cell, words) = cell();
    let mut inherited = 0;
    const KILLS: u32 = 300;
    for round in 1..=KILLS {
        let holder = child(|| {
            loop {
                life::init(cell).unwrap();
                hold(cell).unwrap();
                life::release(cell).unwrap();
                words[0].fetch_add(1, Ordering::Relaxed);
            }
        });
        // Somewhere in the loop: nothing that the child does tells this process when.
        let begun = words[0].load(Ordering::Relaxed);
        while words[0].load(Ordering::Relaxed).wrapping_sub(begun) < 10 + round % 90 {
            std::thread::yield_now();
        }
        kill(&holder);
        assert_eq!(status::wait(&holder), KILLED);
        assert!(!life::is_held(cell), "the word still names a dead thread");
        inherited += u32::from(hold(cell).unwrap() == Held::Inherited);
        life::release(cell).unwrap();
    }
    println!("    {inherited} of {KILLS} died holding");
    assert!(inherited > 0 && inherited < KILLS);
}

/// Steps through one setting up, taking and releasing, and kills after 0, 1, 2 and so on instructions.
fn holder_killed_at_every_instruction_leaves_a_usable_cell() {
    /// In an unoptimised program there are too many; then every so many is left out.
    const MOST_STEPS: u32 = 500_000;
    let (cell, _) = cell();
    let Some(all) = kill_after(cell, u32::MAX) else {
        println!("    skipped: tracing is refused");
        return;
    };
    let stride = (all.saturating_mul(all) / 2).div_ceil(MOST_STEPS);
    let mut seen = [0; 3];
    for steps in (0..all).step_by(stride as usize) {
        kill_after(cell, steps).unwrap();
        assert!(!life::is_held(cell), "after {steps} instructions the word names a dead thread");
        match hold(cell).unwrap() {
            Held::Fresh if steps < all / 2 => seen[0] += 1,
            Held::Fresh => seen[2] += 1,
            Held::Inherited => seen[1] += 1,
        }
        life::release(cell).unwrap();
    }
    println!(
        "    {all} instructions, killed at one in {stride}; died before, holding, after: {seen:?}"
    );
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

/// Kills a child after so many instructions; how many it made. `None` where children cannot be traced.
fn kill_after(cell: &'static LifeCell, most: u32) -> Option<u32> {
    let none = std::ptr::null_mut::<libc::c_void>();
    let victim = child(|| {
        // SAFETY: both take integers here.
        unsafe {
            if libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) != 0 {
                libc::_exit(3);
            }
            libc::raise(libc::SIGSTOP);
        }
        life::init(cell).unwrap();
        hold(cell).unwrap();
        life::release(cell).unwrap();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    });
    let pid = victim.pid() as i32;
    let mut steps = 0;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        if !libc::WIFSTOPPED(status) {
            assert!(libc::WIFEXITED(status), "{status:x}");
            return (libc::WEXITSTATUS(status) == 0).then_some(steps);
        }
        if steps == most {
            kill(&victim);
            assert_eq!(status::wait(&victim), KILLED);
            return Some(steps);
        }
        // SAFETY: takes integers; the child is stopped and traced.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, none, none) }, 0);
        steps += 1;
    }
}

fn stopped_holder_is_alive() {
    let (cell, words) = cell();
    let holder = child(|| {
        hold(cell).unwrap();
        set(&words[0], 1);
        stand();
    });
    until(&words[0], 1);
    holder.pidfd().send_signal(libc::SIGSTOP).unwrap();
    // SAFETY: waits until the child has stopped.
    let stopped =
        unsafe { libc::waitpid(holder.pid() as i32, std::ptr::null_mut(), libc::WUNTRACED) };
    assert_eq!(stopped, holder.pid() as i32);
    assert!(life::is_held(cell) && !life::is_marked(cell) && !holder.pidfd().is_gone());
    kill(&holder);
    assert_eq!(status::wait(&holder), KILLED);
    assert!(life::is_marked(cell));
}

/// The kernel wakes one; that one passes it on, as the family does.
fn many_sleepers_on_one_death_all_learn_of_it() {
    const SLEEPERS: u32 = 6;
    let (cell, words) = cell();
    let (ready, epoch, done) = (&words[0], &words[16], &words[32]);
    let holder = child(|| {
        hold(cell).unwrap();
        count(ready);
        stand();
    });
    until(ready, 1);
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|_| {
            child(|| {
                let of_epoch = offspring_core::wait::Watch { word: epoch, seen: 0 };
                let of_life = life::watch(cell).unwrap();
                count(ready);
                while epoch.load(Ordering::Acquire) == 0 {
                    let _ = futex::wait(&[of_epoch, of_life], None);
                    if life::is_marked(cell) {
                        count(epoch);
                    }
                }
                count(done);
            })
        })
        .collect();
    until(ready, 1 + SLEEPERS);
    kill(&holder);
    until(done, SLEEPERS);
    sleepers.iter().for_each(join);
}
