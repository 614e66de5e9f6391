//! The asymmetric barrier: publishers look for sleepers without a fence, and the sleeper pays.
//!
//! Each publisher has a store buffer, which drains at any time, in order; its read-modify-writes and fences drain it at
//! once, and so does a heavy barrier (`membarrier`) of anybody for all that are registered. A sleeper without a barrier
//! may have looked for items before its mark was visible, as processors other than x86 allow.

use super::checker::{Protocol, Steps};
use super::{Case, Expect::Stuck};
use std::fmt::Debug;

const PUBLISHERS: usize = 2;
const SLEEPERS: usize = 2;
const ITEMS: usize = 2;
const WAITERS: u8 = 1;
const STEP: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Publish {
    Store,
    Fence,
    Look,
    Count,
    Wake,
    Clear,
    WakeAll,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sleep {
    Arm,
    Barrier,
    Try,
    Commit,
    Asleep,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Publisher {
    at: Publish,
    left: u8,
    /// Stores of items that are not visible yet.
    buffered: u8,
    key: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Sleeper {
    at: Sleep,
    left: u8,
    key: u8,
    /// It looked before its mark was visible, and saw nothing.
    looked: bool,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    word: u8,
    /// Visible items of each publisher.
    items: [u8; PUBLISHERS],
    publisher: [Publisher; PUBLISHERS],
    sleeper: [Sleeper; SLEEPERS],
}

/// What stands between a participant's store and its load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Between {
    Nothing,
    Fence,
    Heavy,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Barrier {
    pub puts: [u8; PUBLISHERS],
    pub takes: [u8; SLEEPERS],
    pub publisher: Between,
    pub sleeper: Between,
    /// Publishers that a heavy barrier reaches, one bit each.
    pub registered: u8,
}

impl Barrier {
    fn drain(n: &mut State, p: usize) {
        n.items[p] += n.publisher[p].buffered;
        n.publisher[p].buffered = 0;
    }

    fn wake_all(n: &mut State) {
        for sleeper in &mut n.sleeper {
            if sleeper.at == Sleep::Asleep {
                *sleeper = Sleeper { at: Sleep::Arm, left: sleeper.left, key: 0, looked: false };
            }
        }
    }

    fn publish(&self, s: &State, p: usize, out: &mut Steps<State>) {
        let me = s.publisher[p];
        let after = if me.left == 0 { Publish::Done } else { Publish::Store };
        let mut n = *s;
        match me.at {
            Publish::Done => {}
            Publish::Store => {
                n.publisher[p].buffered += 1;
                n.publisher[p].left -= 1;
                let fence = self.publisher == Between::Fence;
                n.publisher[p].at = if fence { Publish::Fence } else { Publish::Look };
                out.step(p, "stores an item, into its buffer", n);
            }
            Publish::Fence => {
                Self::drain(&mut n, p);
                n.publisher[p].at = Publish::Look;
                out.step(p, "fence", n);
            }
            Publish::Look => {
                n.publisher[p].at = if s.word & WAITERS == 0 { after } else { Publish::Count };
                out.step(p, "looks for waiters", n);
            }
            Publish::Count => {
                Self::drain(&mut n, p);
                n.word += STEP;
                (n.publisher[p].at, n.publisher[p].key) = (Publish::Wake, n.word);
                out.step(p, "counts the event", n);
            }
            Publish::Wake => {
                let mut woke = false;
                for i in 0..SLEEPERS {
                    if s.sleeper[i].at == Sleep::Asleep {
                        n = *s;
                        let left = s.sleeper[i].left;
                        n.sleeper[i] = Sleeper { at: Sleep::Arm, left, key: 0, looked: false };
                        (n.publisher[p].at, n.publisher[p].key) = (after, 0);
                        out.step(p, "wakes one", n);
                        woke = true;
                    }
                }
                if !woke {
                    n.publisher[p].at = Publish::Clear;
                    out.step(p, "wakes one: nobody sleeps", n);
                }
            }
            Publish::Clear => {
                n.publisher[p].at = after;
                if s.word == me.key {
                    n.word = (me.key & !WAITERS) + STEP;
                    n.publisher[p].at = Publish::WakeAll;
                }
                n.publisher[p].key = 0;
                out.step(p, "takes the mark away by CAS", n);
            }
            Publish::WakeAll => {
                Self::wake_all(&mut n);
                n.publisher[p].at = after;
                out.step(p, "wakes all behind the mark", n);
            }
        }
        if me.buffered > 0 {
            n = *s;
            n.items[p] += 1;
            n.publisher[p].buffered -= 1;
            out.step(p, "a buffered item becomes visible", n);
        }
    }

    fn sleep(&self, s: &State, i: usize, out: &mut Steps<State>) {
        let me = s.sleeper[i];
        let who = PUBLISHERS + i;
        let nothing = s.items == [0; PUBLISHERS];
        let mut n = *s;
        match me.at {
            Sleep::Done | Sleep::Asleep => {}
            Sleep::Arm => {
                n.word |= WAITERS;
                n.sleeper[i].key = n.word;
                let direct = self.sleeper == Between::Nothing;
                n.sleeper[i].at = if direct { Sleep::Try } else { Sleep::Barrier };
                out.step(who, "arms", n);
                if direct && nothing && !me.looked {
                    n = *s;
                    n.sleeper[i].looked = true;
                    out.step(who, "looks, before its mark is visible", n);
                }
            }
            Sleep::Barrier => {
                for p in 0..PUBLISHERS {
                    if self.sleeper == Between::Heavy && self.registered >> p & 1 != 0 {
                        Self::drain(&mut n, p);
                    }
                }
                n.sleeper[i].at = Sleep::Try;
                out.step(who, "barrier", n);
            }
            Sleep::Try if nothing || me.looked => {
                (n.sleeper[i].at, n.sleeper[i].looked) = (Sleep::Commit, false);
                out.step(who, "finds nothing", n);
            }
            Sleep::Try => {
                for p in 0..PUBLISHERS {
                    if s.items[p] > 0 {
                        n = *s;
                        n.items[p] -= 1;
                        let left = me.left - 1;
                        let at = if left == 0 { Sleep::Done } else { Sleep::Arm };
                        n.sleeper[i] = Sleeper { at, left, key: 0, looked: false };
                        out.step(who, "takes an item", n);
                    }
                }
            }
            Sleep::Commit => {
                let stays = s.word == me.key;
                n.sleeper[i].at = if stays { Sleep::Asleep } else { Sleep::Arm };
                out.step(who, if stays { "sleeps" } else { "may not sleep: the word changed" }, n);
            }
        }
    }
}

impl Protocol for Barrier {
    type State = State;

    fn start(&self) -> State {
        let publisher = self.puts.map(|left| Publisher {
            at: if left == 0 { Publish::Done } else { Publish::Store },
            left,
            buffered: 0,
            key: 0,
        });
        let sleeper = self.takes.map(|left| Sleeper {
            at: if left == 0 { Sleep::Done } else { Sleep::Arm },
            left,
            key: 0,
            looked: false,
        });
        State { word: 0, items: [0; ITEMS], publisher, sleeper }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for p in 0..PUBLISHERS {
            self.publish(s, p, out);
        }
        for i in 0..SLEEPERS {
            self.sleep(s, i, out);
        }
    }

    fn finished(&self, s: &State) -> bool {
        s.publisher.iter().all(|p| p.at == Publish::Done && p.buffered == 0)
            && (s.items == [0; ITEMS] || s.sleeper.iter().all(|sleeper| sleeper.at == Sleep::Done))
    }

    fn name(&self, who: usize) -> String {
        format!("{} {who}", if who < PUBLISHERS { "publisher" } else { "sleeper" })
    }
}

const NAME: &str = "barrier";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    use Between::{Fence, Heavy, Nothing};
    let asymmetric = Barrier {
        puts: [1, 1],
        takes: [2, 1],
        publisher: Nothing,
        sleeper: Heavy,
        registered: 0b11,
    };
    let fences = Barrier { publisher: Fence, sleeper: Fence, ..asymmetric };
    let config = "2 publishers, 2 sleepers";
    let mutant = |name, barrier| Case::mutant(NAME, config, name, Stuck, barrier);
    let mut cases = vec![
        Case::sound(NAME, "2 publishers, 2 sleepers, heavy barrier", asymmetric),
        Case::sound(NAME, "2 publishers, 2 sleepers, fences on both sides", fences),
        mutant("no heavy barrier", Barrier { sleeper: Nothing, ..asymmetric }),
        mutant("a fence of the sleeper in its place", Barrier { sleeper: Fence, ..asymmetric }),
        mutant("a fence of the publisher alone", Barrier { sleeper: Nothing, ..fences }),
        mutant("a publisher is not registered", Barrier { registered: 0b01, ..asymmetric }),
    ];
    if !quick {
        let many = Barrier { puts: [3, 2], takes: [3, 3], ..asymmetric };
        cases.push(Case::sound(NAME, "5 items, 2 sleepers, heavy barrier", many));
        let many = Barrier { puts: [3, 2], takes: [3, 3], ..fences };
        cases.push(Case::sound(NAME, "5 items, 2 sleepers, fences on both sides", many));
    }
    cases
}
