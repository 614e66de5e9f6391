//! The chain of rings: successors, the two ends, passing, retiring, pins, giving back, and leases that outlive their ring's place.
//!
//! Finding a slot in a ring and its CAS are one look and one step (hints are the ring model's matter), and a repair is one step
//! a ring. Each ring has two slots and one block; a reader notes what it passed in the head ring alone. Not covered: close, a
//! head's mover that does not promote (its mistake shows only with three processes, a death and a ring used again: too many
//! states here).

mod free;
mod put;
mod state;
mod take;

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;
use state::*;

pub use state::{Mutant, State};

/// Who takes part: the producers first, then the readers.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub rings: u8,
    /// Slots of each ring in use, one or two.
    pub slots: u8,
    /// Items of each producer.
    pub puts: &'static [u8],
    pub readers: usize,
    pub lease: bool,
    pub crashes: u8,
    pub returns: u8,
    /// An item of nobody's lies in the first ring already; needs a ring of one slot.
    pub filled: bool,
    /// Who may die, one bit each.
    pub mortal: u8,
    pub mutant: Option<Mutant>,
}

impl Chain {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn threads(&self) -> usize {
        self.puts.len() + self.readers
    }

    fn is_reader(&self, t: usize) -> bool {
        t >= self.puts.len()
    }

    fn is_dead(s: &State, owner: u8) -> bool {
        owner != 0 && s.dead >> (owner - 1) & 1 != 0
    }

    fn deaths(s: &State) -> u8 {
        s.dead.count_ones() as u8
    }

    /// Whether a ring's memory is there: else the step that looks at it is wrong.
    fn memory(s: &State, at: Link) -> bool {
        s.ring[usize::from(at.index)].memory >> at.generation & 1 != 0
    }

    /// Whether a slot is still in an older lap than the position behind `last` (which is its, if it is there).
    fn is_older(&self, ring: &Ring, last: Option<usize>, i: usize) -> bool {
        let position = |i: usize| ring.slot[i].lap * self.slots + i as u8;
        last.is_some_and(|last| position(i) != position(last) + 1)
    }

    /// The slots of a ring in the order of their positions.
    fn in_order(&self, ring: &Ring) -> [usize; SLOTS] {
        let position = |i: usize| ring.slot[i].lap * self.slots + i as u8;
        if self.slots == 2 && position(1) < position(0) { [1, 0] } else { [0, 1] }
    }

    /// Gives the pins back, then goes on at `then` (idle, or holding a lease).
    fn leave(thread: &mut Thread) {
        *thread = Thread {
            at: if thread.pins[1] == NONE { At::UnpinFirst } else { At::UnpinSecond },
            pins: thread.pins,
            did: thread.did,
            item: thread.item,
            x: thread.x,
            back: thread.back,
            ..FRESH
        };
    }

    /// What is there to do at the beginning of an operation.
    fn begin(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        let thread = &mut n.thread[t];
        if s.swept != Self::deaths(s) {
            (thread.at, thread.e) = (At::SweepControl, Self::deaths(s));
            return out.step(t, "sees that a death was not swept", n);
        }
        let reads = self.is_reader(t);
        if !reads && thread.did == self.puts[t] {
            thread.at = At::Done;
            return out.step(t, "has put all", n);
        }
        if reads && s.pend != s.scanned {
            (thread.at, thread.e) = (At::ScanPin, s.pend);
            return out.step(t, "pend differs from scanned: will scan", n);
        }
        let x = if reads { s.head } else { s.tail };
        (thread.at, thread.x, thread.head) = (At::Pin, x, x);
        out.step(t, if reads { "reads the head" } else { "reads the tail" }, n);
    }

    fn enter(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        let thread = &mut n.thread[t];
        if thread.at == At::Pin {
            thread.pins[0] = thread.x.index;
            thread.at = At::Recheck;
            return out.step(t, "pins the ring", n);
        }
        let reads = self.is_reader(t);
        let end = if reads { s.head } else { s.tail };
        if end == thread.x || self.has(NoRecheck) {
            thread.at = if reads { At::Look } else { At::Next };
            out.step(t, "sees the end where it was", n);
        } else {
            Self::leave(thread);
            out.step(t, "sees that the end moved", n);
        }
    }

    /// An item comes into a reader's hands.
    fn hand_over(&self, n: &mut State, item: u8) -> Result<(), &'static str> {
        let at = usize::from(item);
        if n.item[at] != Item::There {
            return Err("an item is handed out that is not there");
        }
        // The first item of the same producer.
        let mut first = 0;
        for puts in self.puts {
            if item < first + puts {
                break;
            }
            first += puts;
        }
        let overtakes = n.item[usize::from(first)..at].contains(&Item::There);
        if overtakes && self.crashes == 0 && self.returns == 0 {
            return Err("an item overtakes one of the same producer");
        }
        n.item[at] = Item::InHand;
        Ok(())
    }
}

const TOUCH: &str = "looks at a ring that was given back";

impl Protocol for Chain {
    type State = State;

    fn start(&self) -> State {
        let ring = Ring {
            word: NO_WORD,
            next: NOWHERE,
            before: NOWHERE,
            memory: 0,
            slot: [EMPTY; SLOTS],
            block: Block::Free,
        };
        let mut rings = [ring; RINGS];
        rings[0].word = Word { is: Is::Live, generation: 0, spare: 0 };
        rings[0].memory = 1;
        let mut item = [Item::NotPut; ITEMS];
        if self.filled {
            item[ITEMS - 1] = Item::There;
            rings[0].slot[0] = Slot { is: In::Full, item: ITEMS as u8 - 1, ..EMPTY };
        }
        let first = Link { index: 0, generation: 0 };
        let mut thread = [Thread { at: At::Done, ..FRESH }; THREADS];
        thread[..self.threads()].fill(FRESH);
        State {
            ring: rings,
            head: first,
            tail: first,
            item,
            pend: 0,
            scanned: 0,
            swept: 0,
            dead: 0,
            thread,
            crashes: self.crashes,
            returns: self.returns,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads() {
            use At::*;
            match s.thread[t].at {
                Done | Dead => continue,
                Idle => self.begin(s, t, out),
                Pin | Recheck => self.enter(s, t, out),
                Next | Follow | Claim | Fill => self.put(s, t, out),
                Grow | Reset | Make | Offer | Link | Promote | MoveTail | Lost => {
                    self.grow(s, t, out);
                }
                Look | Still | Take | Mark | PassPin | PassCheck => self.walk(s, t, out),
                SlotsClear | RetirePromote | RetireTail | RetireWord | RetireHead => {
                    self.retire(s, t, out);
                }
                Copy | LeaseBlock | LeaseSlot | Hold | EndPin | EndBlock | EndCount => {
                    self.hold(s, t, out);
                }
                ScanPin | ScanCheck | ScanTake | ScanEnd => self.scan(s, t, out),
                UnpinSecond | LeftSecond | UnpinFirst | LeftFirst => self.unpin(s, t, out),
                SweepControl | SweepMemory | SweepPin | SweepCheck | SweepWords | SweepCount
                | SweepUnpin | SweepFree => self.sweep(s, t, out),
                _ => self.free(s, t, out),
            }
            if s.crashes > 0 && self.mortal >> t & 1 != 0 {
                let mut n = *s;
                n.crashes -= 1;
                n.dead |= 1 << t;
                let Thread { pins, item, .. } = s.thread[t];
                n.thread[t] = Thread { at: At::Dead, pins, item, ..FRESH };
                out.luck(t, "dies", n);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        // The protocol's counts are larger: a run that used up the model's is not judged.
        if s.ring.iter().any(|ring| ring.word.spare == MOST_SPARED || ring.word.generation == 7) {
            return true;
        }
        let dead = |t: usize| s.thread[t].at == At::Dead;
        let puts = (0..self.puts.len()).all(|t| dead(t) || s.thread[t].at == At::Done);
        let reads = (self.puts.len()..self.threads()).any(|t| !dead(t));
        if !puts || !reads {
            return puts || (0..self.puts.len()).all(dead) || !reads;
        }
        let idle = |t: usize| dead(t) || s.thread[t].at == At::Idle;
        let used = s.ring.iter().filter(|ring| ring.word.is != Is::Free).count();
        let memory: u32 = s.ring.iter().map(|ring| ring.memory.count_ones()).sum();
        (self.puts.len()..self.threads()).all(idle)
            && s.item.iter().all(|item| matches!(item, Item::NotPut | Item::Gone))
            && used == 1
            && memory == 1
            && s.swept == Self::deaths(s)
    }

    fn name(&self, who: usize) -> String {
        let what = if self.is_reader(who) { "reader" } else { "producer" };
        format!("{what} {who}")
    }
}

const NAME: &str = "chain";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Chain {
        rings: 3,
        slots: 1,
        puts: &[2],
        readers: 1,
        lease: false,
        crashes: 1,
        returns: 0,
        filled: false,
        mortal: 0xff,
        mutant: None,
    };
    let calm = Chain { crashes: 0, ..base };
    let readers = Chain { readers: 2, ..calm };
    let race = Chain { puts: &[1, 1], filled: true, ..calm };
    let order = Chain { puts: &[2, 1], ..calm };
    let lease = Chain { lease: true, returns: 1, ..calm };
    let lessees = Chain { readers: 2, ..lease };
    let long = Chain { puts: &[3], ..calm };
    let wide = Chain { slots: 2, ..order };
    let sound = |config, chain| Case::sound(NAME, config, chain);
    let mut cases = vec![
        sound("2 puts, 1 reader, 1 death", base),
        sound("2 puts, 1 lessee, 1 return", lease),
        sound("2 slots, 3 puts, 1 reader, 1 death", Chain { slots: 2, crashes: 1, ..long }),
    ];
    let list: &[(&'static str, Mutant, Expect, Chain)] = &[
        ("the end is not read again behind the pin", NoRecheck, Unsafe, readers),
        ("no pins", NoPin, Unsafe, readers),
        ("a ring is not offered before it is linked", NoOffer, Unsafe, base),
        ("an offered ring of the dead is freed unseen", OfferedAlwaysFreed, Unsafe, base),
        ("the head passes slots in use", HeadPassesUsedSlots, Stuck, wide),
        ("the head passes without the mark", HeadPassesWithoutMark, Stuck, race),
        ("next is not reset", NextNotReset, Unsafe, long),
        (
            "passing without a look at the head",
            PassWithoutRecheck,
            Unsafe,
            Chain { readers: 2, ..long },
        ),
        (
            "retired only after the head moved",
            RetireAfterHead,
            Stuck,
            Chain { crashes: 1, mortal: 2, ..readers },
        ),
        ("pins of the dead count", DeadPinsCount, Stuck, base),
        ("no state before the last look at the pins", NoDying, Unsafe, lease),
        ("blocks are not looked at", BlocksNotLookedAt, Unsafe, lessees),
        ("a spared ring's word is as before", SparedUnchanged, Stuck, readers),
        ("passing without noting what was passed", PassWithoutGuard, Unsafe, order),
        ("who leaves a ring does not try to free it", LeaveDoesNotFree, Stuck, readers),
        ("given back is counted first", SweepTakesPendFirst, Stuck, lessees),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, chain)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Chain { mutant: Some(mutant), ..chain })
    }));
    if !quick {
        cases.extend([
            sound("2 puts, 2 readers, no death", readers),
            sound("2 producers that need a successor, 1 reader, no death", race),
            Case::mutant(
                NAME,
                "2 producers that need a successor",
                "link by plain store",
                Stuck,
                Chain { mutant: Some(LinkByStore), ..race },
            ),
            sound("2 puts, 2 lessees, 1 return", lessees),
            sound("2 puts, 2 readers, 1 death", Chain { crashes: 1, ..readers }),
            sound("3 puts, 1 reader, 2 deaths", Chain { crashes: 2, ..long }),
            sound(
                "2 producers that need a successor, 1 reader, 1 death",
                Chain { crashes: 1, ..race },
            ),
            sound("2 producers, 3 puts, 1 reader, no death", order),
            sound("2 puts, 2 lessees, 1 death", Chain { crashes: 1, returns: 0, ..lessees }),
            sound("2 slots, 2 producers, 3 puts, 1 reader, no death", wide),
        ]);
    }
    cases
}
