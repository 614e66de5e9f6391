//! The one loop that every blocking operation goes through: spin, arm, look again, sleep, repeat.
//!
//! | step | why |
//! |---|---|
//! | spin, trying | most waits are shorter than a system call |
//! | arm the event count, read the death epoch | from here on a change of either refuses or ends the sleep |
//! | try again | what happened before the arming was announced to nobody |
//! | look at the other members: one dead, try again | the attempt sweeps; a death may be what it waits for |
//! | sleep on the event count, the epoch, the count of newcomers and the members' life words, a backstop's length at most | a member that comes later may get what this one waits for, and die |
//! | a life word changed: notice the death, or wake the word's other sleepers | one alone was woken for it |
//!
//! A sleeper that was woken always tries again before it returns, so a wake that it got is never a wake lost to
//! another sleeper who could have used it. What a *killed* sleeper swallowed is made good by the death notice:
//! the epoch changes, and every sleeper watches it. The kernel wakes only *one* sleeper of a life word, so that one
//! sees to the notice before it does anything for itself.

use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::process::ProcessRef;
use crate::wait::{Adaptive, Deadline, EventCount, Family, Watch};

/// Words that one sleep watches at most, whatever the platform could do; 128 is `futex_waitv`'s limit.
const MOST_WATCHES: usize = 128;

/// Blocks until `attempt` gives something, or until `until`; `None` says that the time ran out.
///
/// `attempt` must do its own repair of what the dead left (it is called after every death noticed), and must
/// not block. `members` names the processes that could owe the caller something: the object's other
/// members, beginning behind the caller's own index and going round, so that in an object with more members than
/// one sleep can watch each is watched by somebody. The caller itself may be among them and is passed over.
///
/// # Blocking and crash
///
/// Sleeps only while nothing happens: a notice on `count`, a death noticed anywhere in the family, a new member of any
/// object and the end of a watched process each end the sleep, so `family.backstop()` is for platforms that give no notice. A
/// caller that is killed here leaves at most the waiters' mark of `count`, which the next notice takes away.
/// A deadline that has passed costs the spin and one look; it never cuts the last `attempt` short.
///
/// `attempt` is called again as soon as a member is found dead. If it leaves that member in place, the caller
/// sleeps on, and looks again when something happens or the backstop is over.
pub fn block_on<F, I, R>(
    family: &F,
    count: &EventCount,
    members: impl Fn() -> I,
    spin: &Adaptive,
    until: Option<Deadline>,
    mut attempt: impl FnMut() -> Option<R>,
) -> Option<R>
where
    F: Family,
    I: Iterator<Item = ProcessRef>,
{
    if let Some(done) = spin.spin(family, &mut attempt) {
        return Some(done);
    }
    let mut retry_for_dead = true;
    loop {
        let key = count.arm(family);
        // ORDER: Acquire, with the raise of the epoch: an attempt that comes after it finds that death. Read before
        // the attempt, so that a death noticed during it refuses the sleep.
        let epoch = family.epoch_word().load(Ordering::Acquire);
        if let Some(done) = attempt() {
            spin.slept(0);
            return Some(done);
        }
        let mut watches = [Watch { word: count.word(), seen: key }; MOST_WATCHES];
        watches[1] = Watch { word: family.epoch_word(), seen: epoch };
        let mut others = 2;
        if let Some(word) = family.newcomers_word() {
            // ORDER: Acquire, with the newcomer's Release: who came before is among the members looked at below.
            watches[2] = Watch { word, seen: word.load(Ordering::Acquire) };
            others = 3;
        }
        let lives = &mut watches[others..F::MOST_WATCHES.clamp(others, MOST_WATCHES)];
        let (watched, somebody_died) = watch_lives(family, members(), lives);
        if somebody_died && retry_for_dead {
            retry_for_dead = false;
            continue;
        }
        retry_for_dead = true;
        let now = family.now();
        if until.is_some_and(|until| until <= now) {
            return None;
        }
        let backstop = now.after(family.backstop());
        let wake_at = until.map_or(backstop, |until| until.min(backstop));
        hit(Point::WaitBefore);
        family.wait(&watches[..others + watched], Some(wake_at));
        hit(Point::WaitAfter);
        spin.slept(family.now().0.saturating_sub(now.0));
        pass_on(family, members(), &watches[others..others + watched]);
        // Woken, there is usually something: a look costs less than arming again.
        if let Some(done) = spin.spin(family, &mut attempt) {
            return Some(done);
        }
    }
}

/// Blocks until `attempt` gives something, however long that takes; otherwise as [`block_on`].
pub fn block<F, I, R>(
    family: &F,
    count: &EventCount,
    members: impl Fn() -> I,
    spin: &Adaptive,
    mut attempt: impl FnMut() -> Option<R>,
) -> R
where
    F: Family,
    I: Iterator<Item = ProcessRef>,
{
    loop {
        // Without a deadline this returns only with a result; the loop spares us to say so with a panic.
        if let Some(done) = block_on(family, count, &members, spin, None, &mut attempt) {
            return done;
        }
    }
}

/// Fills `into` with the life words of `members`: how many, and whether one of them was found dead.
///
/// Members beyond the room are not watched, but each is tested.
fn watch_lives<'a, F: Family>(
    family: &'a F,
    members: impl Iterator<Item = ProcessRef>,
    into: &mut [Watch<'a>],
) -> (usize, bool) {
    let me = family.me();
    let mut watched = 0;
    let mut somebody_died = false;
    for member in members.filter(|member| !member.is_none() && *member != me) {
        // The word first, then the question: if it still says alive, its change ends the sleep.
        let life = family.life_watch(member);
        if family.is_dead(member) {
            somebody_died = true;
        } else if let (Some(life), Some(room)) = (life, into.get_mut(watched)) {
            *room = life;
            watched += 1;
        }
    }
    (watched, somebody_died)
}

/// Does what a changed life word asks for, before the woken sleeper goes its own way (and perhaps sleeps no more).
///
/// If its process is dead, asking raises the epoch, which wakes all. If only a thread of it ended, the other
/// sleepers on that word must choose another one.
fn pass_on<F: Family>(family: &F, members: impl Iterator<Item = ProcessRef>, lives: &[Watch<'_>]) {
    // ORDER: Relaxed. `is_dead` reads it again with its own order; an unseen change has its own wake to come.
    let changed = |life: &&Watch<'_>| life.word.load(Ordering::Relaxed) != life.seen;
    if !lives.iter().any(|life| changed(&life)) {
        return;
    }
    for member in members {
        // A member that is gone from the table was noticed by whoever swept it.
        family.is_dead(member);
    }
    for life in lives.iter().filter(changed) {
        family.wake(life.word, u32::MAX);
    }
}
