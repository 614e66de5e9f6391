//! Waiting for several queues at once: one sleep on the words of all of them.

use super::place::Attached;
use super::unbounded::Core;
use super::{Queue, Receiver, Until};
use crate::error::{Error, Kind, Result, Subject};
use offspring_core::prim::Ordering;
use offspring_core::process::Liveness;
use offspring_core::wait::{Family as _, Wait, Watch};
use std::time::Duration;

/// What [`wait`] can wait for: a [`Queue`] or a [`Receiver`].
pub trait Waitable: Watched {}

/// Where what is waited for lies. Only this crate's types have it.
pub trait Watched {
    #[doc(hidden)]
    fn at(&self) -> At<'_>;
}

/// Hides what is inside.
#[doc(hidden)]
pub struct At<'a>(pub(super) &'a Attached);

impl std::fmt::Debug for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("At")
    }
}

impl<T, R> Watched for Queue<T, R> {
    fn at(&self) -> At<'_> {
        At(&self.at)
    }
}

impl<T, R> Waitable for Queue<T, R> {}

impl<T> Watched for Receiver<T> {
    fn at(&self) -> At<'_> {
        At(self.attached())
    }
}

impl<T> Waitable for Receiver<T> {}

/// Words kept for life words, beside those of the queues and the death epoch.
const LEAST_LIVES: usize = 8;

/// Waits until an item is there in one of `queues`, or one of them is closed, for `timeout` at most (`None`: as long as it takes).
/// Which ones, by index; none if the time was over first, or there are none.
///
/// Takes nothing: by the time the caller does, somebody else may have been faster, so take with a `try_` form. A wake that
/// this caller got and another reader could use is passed on.
///
/// ```
/// use offspring::Queue;
/// use offspring::queue::wait;
/// use std::time::Duration;
///
/// let (numbers, words) = (Queue::<u32>::bounded(4)?, Queue::<String>::unbounded()?);
/// words.put("ready".into())?;
/// assert_eq!(wait(&[&numbers, &words], None)?, [1]);
/// assert_eq!(wait(&[&numbers], Some(Duration::from_millis(1)))?, []);
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// # Blocking and crash
///
/// One sleep for all of them, ended by a put, a close or a death anywhere. Killed here, a process leaves nothing behind.
///
/// # Errors
///
/// More queues than one sleep can watch (about 100 on Linux); this process takes no part in one of them.
#[doc(alias = "multiprocessing.connection.wait")]
pub fn wait(queues: &[&dyn Waitable], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let ats: Vec<_> = queues.iter().map(|queue| queue.at()).collect();
    let cores = ats.iter().map(|at| at.0.core()).collect::<Result<Vec<_>>>()?;
    let Some(first) = cores.first() else { return Ok(Vec::new()) };
    let family = first.family();
    let most = <crate::sys::Family as Wait>::MOST_WATCHES.saturating_sub(1 + LEAST_LIVES).max(1);
    if cores.len() > most {
        let text = format!("wait for {} queues: one sleep can watch {most}", cores.len());
        return Err(Error::new(Kind::Options, Subject::None, text));
    }
    let until = timeout.map_or(Until::Ever, |timeout| Until::timeout(first, timeout)).nanos();
    let ready = || -> Vec<usize> { (0..cores.len()).filter(|i| is_ready(&cores[*i])).collect() };
    let mut found = ready();
    if !found.is_empty() {
        return Ok(found);
    }
    loop {
        // In this order: what is announced after the arming ends the sleep; what came before it is seen by the look.
        let keys: Vec<_> = cores.iter().map(|core| core.readers().arm(family)).collect();
        // ORDER: Acquire, with the raise of the epoch: a look that comes after it finds that death.
        let epoch = family.epoch_word().load(Ordering::Acquire);
        found = ready();
        if !found.is_empty() {
            break;
        }
        // All, not the first: each repairs its own.
        if cores.iter().filter(|core| core.recover()).count() > 0 {
            found = ready();
            if !found.is_empty() {
                break;
            }
        }
        let now = family.now();
        if until.is_some_and(|until| until <= now) {
            return Ok(Vec::new());
        }
        let mut watches: Vec<_> = cores
            .iter()
            .zip(&keys)
            .map(|(core, key)| Watch { word: core.readers().word(), seen: *key })
            .collect();
        watches.push(Watch { word: family.epoch_word(), seen: epoch });
        if let Some(word) = family.newcomers_word() {
            // ORDER: Acquire, with the newcomer's Release: who came before is among the members looked at below.
            watches.push(Watch { word, seen: word.load(Ordering::Acquire) });
        }
        let others = watches.len();
        watch_lives(&cores, &mut watches);
        let backstop = now.after(family.backstop());
        family.wait(&watches, Some(until.map_or(backstop, |until| until.min(backstop))));
        // The kernel wakes one sleeper of a life word: it notices the death, and wakes the others.
        for life in &watches[others..] {
            // ORDER: Relaxed. Asking reads it again with its own order.
            if life.word.load(Ordering::Relaxed) != life.seen {
                cores.iter().flat_map(Core::others).for_each(|other| {
                    family.is_dead(other);
                });
                family.wake(life.word, u32::MAX);
            }
        }
    }
    // The wake may have been another reader's as well, and this caller may not take the item.
    found.iter().for_each(|i| cores[*i].readers().notify_one(family));
    Ok(found)
}

fn is_ready(core: &Core<'_>) -> bool {
    core.sweep_if_due();
    core.is_next_ready() || core.ends_now() || core.is_closed() || !core.is_empty()
}

/// Adds life words of the other members, as many as one sleep can watch.
fn watch_lives<'a>(cores: &'a [Core<'a>], watches: &mut Vec<Watch<'a>>) {
    let Some(family) = cores.first().map(Core::family) else { return };
    let mut seen = Vec::new();
    for other in cores.iter().flat_map(Core::others) {
        if watches.len() >= <crate::sys::Family as Wait>::MOST_WATCHES {
            return;
        }
        if other != family.me() && !seen.contains(&other) {
            seen.push(other);
            watches.extend(family.life_watch(other));
        }
    }
}
