//! The ring from one producer to one consumer: two counts, and who may write them.
//!
//! Handles travel, are claimed, renewed and parted with, and are replaced when their process died; every load, store and CAS of a
//! shared word is a step. An item is its position; what a slot holds is checked when it is copied. Not here: sleeping (the event
//! count's model), records of several bytes (they are written before the count, as one step).

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const SLOTS: u8 = 2;
const PROCESSES: usize = 3;
/// Two of each side: the one that has the role, and one that had it or will.
const HANDLES: usize = 4;
const NOTHING: u8 = 0xff;

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

/// A role word: `number 4 | process 2 | state 2`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Role(u8);

const LEFT: u8 = 0;
const HELD: u8 = 1;
const SENT: u8 = 2;

impl Role {
    fn state(self) -> u8 {
        self.0 & 3
    }

    fn process(self) -> usize {
        usize::from(self.0 >> 2 & 3)
    }

    fn held_by(self, process: usize, step: u8) -> Self {
        Self(((self.0 >> 4) + step) << 4 | (process as u8) << 2 | HELD)
    }

    fn as_sent(self) -> Self {
        Self(self.0 & !3 | SENT)
    }

    fn left(self) -> Self {
        Self(((self.0 >> 4) + 1) << 4 | LEFT)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// No handle: none yet, given up, or its process is dead.
    None,
    /// About to take the role over from the word it saw.
    Replace,
    /// Reads the two counts.
    BeginRead,
    BeginWritten,
    Idle,
    /// Knows that the producer ended, or not.
    Look,
    Write,
    Publish,
    Copy,
    Consume,
    /// It was told that the stream ended.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Handle {
    at: At,
    process: u8,
    /// The word that proves its role.
    word: Role,
    read: u8,
    written: u8,
    /// A copy of it travels.
    sent: bool,
    /// The producer had left when it looked.
    ended: bool,
}

const NO_HANDLE: Handle = Handle {
    at: At::None,
    process: 0,
    word: Role(0),
    read: 0,
    written: 0,
    sent: false,
    ended: false,
};

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    slot: [u8; SLOTS as usize],
    written: u8,
    read: u8,
    role: [Role; 2],
    /// What travels of each side: a word, for process 2.
    post: [Role; 2],
    handle: [Handle; HANDLES],
    /// Positions that were committed, and consumed, by number.
    committed: u8,
    consumed: u8,
    dead: u8,
    crashes: u8,
    sends: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    PublishFirst,
    ConsumeFirst,
    BeginsAnew,
    ReplacesTheLiving,
    ReplaceByStore,
    SenderGoesOn,
    PartByStore,
    SameNumber,
    EndAfterLook,
    NoReplace,
    FullIsNotAsked,
}

/// Who takes part: processes 0 (producer), 1 (consumer), 2 (receives what travels).
#[derive(Clone, Copy, Debug)]
pub struct Spsc {
    /// Items to put in all.
    pub items: u8,
    pub crashes: u8,
    /// How often a handle is sent.
    pub sends: u8,
    pub mutant: Option<Mutant>,
}

impl Spsc {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn dead(s: &State, process: usize) -> bool {
        s.dead >> process & 1 != 0
    }

    fn step_of(&self) -> u8 {
        u8::from(!self.has(SameNumber))
    }

    /// Where a new handle of `side` can be.
    fn room(s: &State, side: usize) -> Option<usize> {
        (side * 2..side * 2 + 2).find(|&h| s.handle[h].at == At::None)
    }

    /// What a handle does with the ring, it does with the role only.
    fn acts(s: &State, h: usize) -> Result<(), &'static str> {
        if s.role[h / 2] == s.handle[h].word {
            Ok(())
        } else {
            Err("a handle acts that has lost its role")
        }
    }

    fn rest(handle: &mut Handle) {
        (handle.at, handle.ended) = (At::Idle, false);
    }

    fn idle(&self, s: &State, h: usize, out: &mut Steps<State>) {
        let (side, me) = (h / 2, s.handle[h]);
        let mut n = *s;
        if me.sent && !self.has(SenderGoesOn) {
            // Goes on with it, or parts with it.
            let word = me.word.held_by(usize::from(me.process), self.step_of());
            if s.role[side] == me.word {
                n.role[side] = word;
                n.handle[h].word = word;
                n.handle[h].sent = false;
                n.handle[h].at = At::BeginRead;
                out.step(h, "claims what it had sent: R2", n);
                n = *s;
                n.role[side] = me.word.as_sent();
                n.handle[h] = NO_HANDLE;
                out.step(h, "parts with what it sent: R5", n);
            } else {
                n.handle[h] = NO_HANDLE;
                if self.has(PartByStore) {
                    n.role[side] = me.word.as_sent();
                }
                out.step(h, "is told that what it sent is another's, or parts with it", n);
            }
            return;
        }
        if s.sends > 0 && s.post[side] == Role(0) && !me.sent {
            n.sends -= 1;
            n.post[side] = me.word;
            n.handle[h].sent = true;
            out.luck(h, "sends itself", n);
        }
        self.replace(s, h, out);
        n = *s;
        if side == CONSUMER {
            if me.read != me.written {
                n.handle[h].at = if self.has(ConsumeFirst) { At::Consume } else { At::Copy };
                out.step(h, "knows of an item", n);
            } else if self.has(EndAfterLook) {
                n.handle[h].written = s.written;
                n.handle[h].at = At::Look;
                out.step(h, "reads `written`", n);
            } else {
                n.handle[h].ended = s.role[PRODUCER].state() == LEFT;
                n.handle[h].at = At::Look;
                out.step(h, "reads the producer's role", n);
            }
        } else if me.written < self.items {
            let full = me.written == me.read + SLOTS && !self.has(FullIsNotAsked);
            if full {
                n.handle[h].read = s.read;
                if s.read != me.read {
                    out.step(h, "seems full: reads `read`", n);
                }
            } else {
                n.handle[h].at = if self.has(PublishFirst) { At::Publish } else { At::Write };
                out.step(h, "has room", n);
            }
        } else if s.role[side] == me.word {
            n.role[side] = me.word.left();
            n.handle[h] = NO_HANDLE;
            out.step(h, "put everything, leaves: R3", n);
        }
    }

    /// The other side is wanted by `h`.
    fn replace(&self, s: &State, h: usize, out: &mut Steps<State>) {
        let (side, me) = (h / 2, s.handle[h]);
        let other = 1 - side;
        let word = s.role[other];
        let gone = word.state() == SENT || Self::dead(s, word.process());
        let wanted = word.state() != LEFT && (gone || self.has(ReplacesTheLiving));
        if wanted
            && !self.has(NoReplace)
            && let Some(new) = Self::room(s, other)
        {
            let mut n = *s;
            n.handle[new] = Handle { at: At::Replace, process: me.process, word, ..NO_HANDLE };
            let what = "wants a successor for the other side: reads its role";
            // While it may still be received, nobody gives it up.
            if word.state() == SENT && !Self::dead(s, word.process()) && !Self::dead(s, 2) {
                out.luck(h, what, n);
            } else {
                out.step(h, what, n);
            }
        }
    }

    fn act(&self, s: &State, h: usize, out: &mut Steps<State>) {
        let (side, me) = (h / 2, s.handle[h]);
        let slot = |position: u8| usize::from(position % SLOTS);
        let mut n = *s;
        match me.at {
            At::None | At::Closed => {}
            At::Idle => self.idle(s, h, out),
            At::Replace => {
                let word = me.word.held_by(usize::from(me.process), self.step_of());
                if s.role[side] == me.word || self.has(ReplaceByStore) {
                    n.role[side] = word;
                    n.handle[h] = Handle { at: At::BeginRead, word, ..me };
                    out.step(h, "takes the role over: R4", n);
                } else {
                    n.handle[h] = NO_HANDLE;
                    out.step(h, "finds that the role changed hands", n);
                }
            }
            At::BeginRead => {
                n.handle[h].read = s.read;
                n.handle[h].at = At::BeginWritten;
                out.step(h, "begins: reads `read`", n);
            }
            At::BeginWritten => {
                n.handle[h].written = s.written;
                if self.has(BeginsAnew) {
                    (n.handle[h].read, n.handle[h].written) = (0, 0);
                }
                Self::rest(&mut n.handle[h]);
                out.step(h, "begins: reads `written`", n);
            }
            At::Look => {
                let handle = &mut n.handle[h];
                if self.has(EndAfterLook) {
                    handle.ended = s.role[PRODUCER].state() == LEFT;
                } else {
                    handle.written = s.written;
                }
                let (empty, ended) = (handle.read == handle.written, handle.ended);
                Self::rest(handle);
                if empty && ended {
                    handle.at = At::Closed;
                    let all = s.consumed == s.committed;
                    let then = if all { Ok(n) } else { Err("closed is said before an item") };
                    out.either(h, "nothing is there and nothing will come: closed", then);
                } else {
                    out.step(h, "looks at `written`, or at the role", n);
                }
            }
            At::Write => {
                n.slot[slot(me.written)] = me.written;
                n.handle[h].at = At::Publish;
                let overrun = s.read + SLOTS <= me.written;
                let then = Self::acts(s, h).and(if overrun {
                    Err("an item is overwritten")
                } else {
                    Ok(n)
                });
                if self.has(PublishFirst) {
                    n.handle[h].written += 1;
                    Self::rest(&mut n.handle[h]);
                    out.step(h, "writes the record", n);
                } else {
                    out.either(h, "writes the record", then);
                }
            }
            At::Publish => {
                n.written = me.written + 1;
                n.committed |= 1 << me.written;
                if self.has(PublishFirst) {
                    n.handle[h].at = At::Write;
                } else {
                    n.handle[h].written += 1;
                    Self::rest(&mut n.handle[h]);
                }
                out.either(h, "`written` grows: committed", Self::acts(s, h).map(|()| n));
            }
            At::Copy => {
                let right = s.slot[slot(me.read)] == me.read;
                if self.has(ConsumeFirst) {
                    n.handle[h].read += 1;
                    Self::rest(&mut n.handle[h]);
                } else {
                    n.handle[h].at = At::Consume;
                }
                let then = if right { Ok(n) } else { Err("a wrong record is copied") };
                out.either(h, "copies the record", then);
            }
            At::Consume => {
                let twice = s.consumed >> me.read & 1 != 0;
                n.consumed |= 1 << me.read;
                n.read = me.read + 1;
                if self.has(ConsumeFirst) {
                    n.handle[h].at = At::Copy;
                } else {
                    n.handle[h].read += 1;
                    Self::rest(&mut n.handle[h]);
                }
                let then = Self::acts(s, h).and(if twice {
                    Err("an item is consumed twice")
                } else {
                    Ok(n)
                });
                out.either(h, "`read` grows: consumed", then);
            }
        }
    }

    /// Process 2 receives what travels.
    fn receive(&self, s: &State, side: usize, out: &mut Steps<State>) {
        let word = s.post[side];
        if word == Role(0) || Self::dead(s, 2) {
            return;
        }
        let mut n = *s;
        n.post[side] = Role(0);
        let valid = s.role[side] == word || s.role[side] == word.as_sent();
        if valid && let Some(new) = Self::room(s, side) {
            let held = word.held_by(2, self.step_of());
            n.role[side] = held;
            n.handle[new] = Handle { at: At::BeginRead, process: 2, word: held, ..NO_HANDLE };
            out.step(side * 2, "is received and claimed by process 2: R1", n);
        } else if !valid {
            out.step(side * 2, "is received by process 2, and void", n);
        }
    }
}

impl Protocol for Spsc {
    type State = State;

    fn start(&self) -> State {
        let held = |process| Role(0).held_by(process, 1);
        let mut handle = [NO_HANDLE; HANDLES];
        for side in [PRODUCER, CONSUMER] {
            handle[side * 2] =
                Handle { at: At::Idle, process: side as u8, word: held(side), ..NO_HANDLE };
        }
        State {
            slot: [NOTHING; SLOTS as usize],
            written: 0,
            read: 0,
            role: [held(0), held(1)],
            post: [Role(0); 2],
            handle,
            committed: 0,
            consumed: 0,
            dead: 0,
            crashes: self.crashes,
            sends: self.sends,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for h in 0..HANDLES {
            self.act(s, h, out);
        }
        for side in [PRODUCER, CONSUMER] {
            self.receive(s, side, out);
        }
        if s.crashes > 0 {
            for process in (0..PROCESSES).filter(|&process| !Self::dead(s, process)) {
                let mut n = *s;
                n.crashes -= 1;
                n.dead |= 1 << process;
                for handle in n.handle.iter_mut() {
                    if usize::from(handle.process) == process {
                        *handle = NO_HANDLE;
                    }
                }
                out.luck(HANDLES + process, "dies", n);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let living = |side: usize| {
            let travels = s.post[side] != Role(0) && !Self::dead(s, 2);
            travels || (side * 2..side * 2 + 2).any(|h| s.handle[h].at != At::None)
        };
        let nobody = !living(PRODUCER) && !living(CONSUMER);
        let all = s.consumed == s.committed && s.read == s.written;
        // Who died with the last handle of a side that left wants no successor.
        nobody || all && s.written == self.items
    }

    fn name(&self, who: usize) -> String {
        match who {
            0 | 1 => format!("producer handle {who}"),
            2 | 3 => format!("consumer handle {}", who - 2),
            _ => format!("process {}", who - HANDLES),
        }
    }
}

const NAME: &str = "spsc";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Spsc { items: 3, crashes: 1, sends: 1, mutant: None };
    let calm = Spsc { crashes: 0, sends: 0, ..base };
    let sound = |config, model| Case::sound(NAME, config, model);
    let mut cases = vec![
        sound("3 items, 2 slots", calm),
        sound("3 items, 2 crashes", Spsc { crashes: 2, sends: 0, ..base }),
        sound("3 items, 1 crash, 1 handle sent", base),
        sound(
            "2 items, 2 crashes, 2 handles sent",
            Spsc { items: 2, crashes: 2, sends: 2, ..base },
        ),
    ];
    let mutants: &[(&'static str, Mutant, Expect, Spsc)] = &[
        ("published before it is written", PublishFirst, Unsafe, calm),
        ("consumed before it is copied", ConsumeFirst, Unsafe, calm),
        ("a successor begins at zero", BeginsAnew, Unsafe, base),
        ("the living are replaced", ReplacesTheLiving, Unsafe, calm),
        ("a role is taken over by store", ReplaceByStore, Unsafe, base),
        ("a sender goes on without claiming", SenderGoesOn, Unsafe, Spsc { crashes: 0, ..base }),
        ("a role is parted with by store", PartByStore, Unsafe, Spsc { crashes: 0, ..base }),
        ("a claim leaves the number", SameNumber, Unsafe, Spsc { crashes: 0, ..base }),
        ("the role is read behind `written`", EndAfterLook, Unsafe, calm),
        ("nobody takes over from the dead", NoReplace, Stuck, base),
        ("the producer does not ask whether it is full", FullIsNotAsked, Unsafe, calm),
    ];
    cases.extend(mutants.iter().map(|&(name, mutant, expect, model)| {
        let model = Spsc { mutant: Some(mutant), ..model };
        Case::mutant(NAME, "small, for this mutant", name, expect, model)
    }));
    if !quick {
        let large = Spsc { items: 5, crashes: 2, sends: 2, ..base };
        cases.push(sound("5 items, 2 crashes, 2 handles sent", large));
    }
    cases
}
