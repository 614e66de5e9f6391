//! Fork servers that are killed, by themselves at a point or from outside, and forks of theirs that are.
//!
//! The children of a server that dies are started all the same, each begins once, and each gives its value; if it was
//! the fork itself that died, that is told.

use super::processes::{Death, KILL_AT, OF_SERVERS, Tally, Who};
use super::system;
use offspring::process::{Context, StartMethod};
use offspring::{Process, Queue};
use std::time::Duration;

/// Children of each server.
const CHILDREN: u32 = 4;

/// Whether this system has them.
pub fn are_here() -> bool {
    StartMethod::supported().contains(&StartMethod::Forkserver)
}

/// Counts itself, and gives its number.
fn begin((queue, number): (Queue<u32>, u32)) -> u32 {
    let put = queue.try_put(number);
    debug_assert!(put.is_ok());
    number
}

fn server_of_this(_: ()) -> Option<u32> {
    system::parent()
}

fn kill_after((pid, life): (u32, Duration)) {
    std::thread::sleep(life);
    system::kill(pid);
}

/// Starts and joins children by a server, which is killed meanwhile, or its forks are.
pub fn case(death: Option<Death>, tally: &mut Tally) -> Result<(), String> {
    let failed = |error: offspring::Error| format!("{error:?}");
    let context = Context::new(StartMethod::Forkserver).map_err(failed)?;
    let begun = Queue::<u32>::bounded(64).map_err(failed)?;
    if let Some(Death::At(point, visit)) = death {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var(KILL_AT, format!("{}:{visit}", point as u32)) };
    }
    let started = context.start_server();
    // SAFETY: as above.
    unsafe { std::env::remove_var(KILL_AT) };
    // What is not the server's own is passed by its forks: all of them die there. And by itself, while it joins the family.
    let serves = matches!(death, Some(Death::At(point, _)) if OF_SERVERS.contains(&point));
    let forks_die = matches!(death, Some(Death::At(..))) && !serves;
    if let Err(error) = &started
        && !(forks_die && error.is_participant_lost())
    {
        tally.complain(format_args!("a server to be killed {death:?} did not start: {error}"));
    }
    let mut killer = None;
    if let Some(Death::After(life)) = death {
        let server = context.spawn(server_of_this, ()).map_err(failed)?.join();
        if let Ok(Some(server)) = server {
            let spawn = Context::new(StartMethod::Spawn).map_err(failed)?;
            killer = Some(spawn.spawn(kill_after, (server, life)).map_err(failed)?);
        }
    }
    let start = |number| context.spawn(begin, (begun.clone(), number));
    let mut died = started.is_err();
    let children = (0..CHILDREN).map(start).collect::<Result<Vec<Process<u32>>, _>>();
    for (number, child) in (0..).zip(children.map_err(failed)?) {
        match child.join() {
            Ok(value) if value == number => {}
            Ok(value) => tally.complain(format_args!(
                "TORN: child {number} of a server killed {death:?} gave {value}"
            )),
            Err(error) if forks_die && error.is_killed() => died = true,
            Err(error) => tally.complain(format_args!(
                "LOST: the value of child {number} of a server killed {death:?}: {error}"
            )),
        }
    }
    if let Some(killer) = killer {
        killer.join().map_err(|error| error.to_string())?;
        died = true;
    }
    let mut times = [0; CHILDREN as usize];
    while let Ok(number) = begun.try_get() {
        if let Some(times) = times.get_mut(number as usize) {
            *times += 1;
        }
    }
    let least = u32::from(!forks_die);
    if times.iter().any(|times| !(least..=1).contains(times)) {
        tally.complain(format_args!("children of a server killed {death:?} began {times:?} times"));
    }
    // It passes its points once for each child.
    died |= matches!(death, Some(Death::At(_, visit)) if serves && visit < CHILDREN);
    let who = if forks_die && started.is_ok() { Who::Child } else { Who::Server };
    tally.count(who, death, died);
    context.end_server().map_err(failed)?;
    system::await_orphans();
    Ok(())
}
