//! Arbitrary bytes in the queue's memory: every operation comes back, with a value or an error, and stays inside.
//!
//! What a peer that errs can do: single bits, words of another place or none, lengths and indices beyond all sizes. The
//! survivors may lose items, but not their memory safety, and not their way out.

use super::Extent;
use super::cases::MOST_MESSAGE;
use super::shared::{Q, Shared};
use crate::fake::reference;
use offspring_core::queue::{
    Buffer, Geometry, LeaseToken, Message, Mode, Options, Start, Taken, TicketToken,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// An operation that has not come back after this has hung: each takes milliseconds, at most.
const FOREVER: Duration = Duration::from_secs(60);
const HEAD: usize = 512;
const BLOCK_HEAD: usize = 32;

/// Where the bytes go wrong.
#[derive(Clone, Debug)]
enum Place {
    Head(Index),
    Slot(Index, Index),
    Block(Index, Index),
    Anywhere(Index),
}

/// How.
#[derive(Clone, Debug)]
enum Wrong {
    Flip(u8),
    Byte(u8),
    Word(u64),
    /// A number that is only just too large, or not.
    Small(u32),
    Ones,
}

#[derive(Clone, Debug)]
struct Case {
    options: Options,
    start: Start,
    /// After each group everybody tries everything.
    groups: Vec<Vec<(Place, Wrong)>>,
}

fn place() -> impl Strategy<Value = Place> {
    let index = any::<Index>;
    prop_oneof![
        3 => index().prop_map(Place::Head),
        4 => (index(), index()).prop_map(|(slot, at)| Place::Slot(slot, at)),
        4 => (index(), index()).prop_map(|(block, at)| Place::Block(block, at)),
        1 => index().prop_map(Place::Anywhere),
    ]
}

fn wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        3 => (0..8u8).prop_map(Wrong::Flip),
        2 => any::<u8>().prop_map(Wrong::Byte),
        2 => any::<u64>().prop_map(Wrong::Word),
        3 => (0..2000u32).prop_map(Wrong::Small),
        1 => Just(Wrong::Ones),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let limit = prop_oneof![Just(0u8), Just(2)];
    let inline = prop_oneof![Just(0u32), Just(8), Just(48)];
    let options = (1..=4u32, inline, any::<bool>(), limit).prop_map(
        |(capacity, inline, replies, most_deliveries)| Options {
            capacity,
            inline,
            most_message: MOST_MESSAGE as u64,
            class_bytes: 1,
            replies,
            most_deliveries,
        },
    );
    let lap = prop_oneof![Just(0), (1u64 << 39) - 3..1 << 39];
    let groups = prop::collection::vec(prop::collection::vec((place(), wrong()), 1..12), 1..4);
    (options, lap, groups).prop_map(|(options, lap, groups)| {
        let start = Start { lap, ..Start::default() };
        Case { options, start, groups }
    })
}

impl Place {
    fn offset(&self, geometry: &Geometry) -> usize {
        match self {
            Self::Head(at) => at.index(HEAD),
            Self::Slot(slot, at) => {
                let slot = slot.index(geometry.capacity() as usize);
                HEAD + slot * geometry.stride() as usize + at.index(16)
            }
            Self::Block(block, at) => {
                let class = &geometry.classes()[block.index(geometry.classes().len())];
                let heads = (class.count * geometry.each()) as usize;
                class.heads as usize + at.index(heads * BLOCK_HEAD)
            }
            Self::Anywhere(at) => at.index(geometry.len() as usize),
        }
    }
}

impl Wrong {
    fn apply(&self, shared: &Shared, offset: usize) {
        match *self {
            Self::Flip(bit) => shared.overwrite(offset, &[shared.byte(offset) ^ 1 << bit]),
            Self::Byte(byte) => shared.overwrite(offset, &[byte]),
            Self::Word(word) => shared.overwrite(offset & !7, &word.to_ne_bytes()),
            Self::Small(number) => shared.overwrite(offset & !3, &number.to_ne_bytes()),
            Self::Ones => shared.overwrite(offset & !7, &[0xff; 8]),
        }
    }
}

#[derive(Default)]
struct Copied(Vec<u8>);

// SAFETY: `room` makes the vector as long as asked, and nothing moves it before the next call.
unsafe impl Buffer for Copied {
    fn room(&mut self, len: usize) -> *mut u8 {
        assert!(len <= 4096, "no message is longer than the largest block");
        self.0.clear();
        self.0.resize(len, 0);
        self.0.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {}
}

/// What a participant has in hand when the bytes change.
#[derive(Default)]
struct Hands {
    leases: Vec<LeaseToken>,
    tickets: Vec<TicketToken>,
}

impl Hands {
    /// Every operation there is.
    fn try_everything(&mut self, q: &Q<'_>) {
        let mut copied = Copied::default();
        for len in [8, 100, 600, 1100, MOST_MESSAGE + 1] {
            let bytes = vec![7; len];
            let _ = q.try_put(Message { bytes: &bytes, carries: len == 100 });
            self.tickets.extend(q.try_request(Message { bytes: &bytes, carries: false }));
            if let Ok(Taken::Lease(lease)) = q.try_take(Mode::Lease, true, &mut copied) {
                self.leases.push(lease);
            }
            let _ = q.try_take(Mode::Get, len == 8, &mut copied);
        }
        for (i, lease) in std::mem::take(&mut self.leases).into_iter().enumerate() {
            match i % 3 {
                0 => q.commit(lease),
                1 => q.give_back(lease),
                _ => {
                    let bytes = [1; 700];
                    let reply = Message { bytes: &bytes, carries: true };
                    if let Err((lease, _)) = q.try_reply(lease, reply) {
                        q.give_back(lease);
                    }
                }
            }
        }
        for ticket in std::mem::take(&mut self.tickets) {
            if let Ok((_, Some(ticket))) = q.take_answer(ticket, &mut copied) {
                q.drop_ticket(ticket);
            }
        }
        self.leases.extend(q.try_take_dead(&mut copied));
        let _ = (q.len(), q.is_empty(), q.is_full(), q.is_closed(), q.in_use());
        q.trace(&mut |_| {});
        let _ = format!("{:?}", q.dump());
        q.sweep();
        q.recover();
        // Something in hand for the next time.
        if let Ok(Taken::Lease(lease)) = q.try_take(Mode::Lease, true, &mut copied) {
            self.leases.push(lease);
        }
        self.tickets.extend(q.try_request(Message { bytes: b"again", carries: false }));
    }
}

fn run(case: &Case) -> Result<(), TestCaseError> {
    let shared = Shared::new(case.options, 8, 4, case.start);
    for number in 2..=4 {
        assert_eq!(shared.members().join(reference(number)), Some(number as u16));
    }
    let processes = [1, 2].map(|number| shared.world.process(number));
    let mut hands = [Hands::default(), Hands::default()];
    let all = |hands: &mut [Hands; 2]| {
        for (process, hands) in processes.iter().zip(hands) {
            hands.try_everything(&shared.queue(process, process.number() as u16));
        }
    };
    all(&mut hands);
    for (i, group) in case.groups.iter().enumerate() {
        for (place, wrong) in group {
            wrong.apply(&shared, place.offset(&shared.geometry));
        }
        if i == 1 {
            shared.world.kill(3); // whom the bytes may name
        }
        all(&mut hands);
        prop_assert!(shared.is_contained(), "somebody wrote beyond the queue");
    }
    shared.queue(&processes[0], 1).close();
    all(&mut hands);
    prop_assert!(shared.is_contained(), "somebody wrote beyond the queue");
    Ok(())
}

/// Runs the cases in a thread of their own, so that one that hangs is told, not waited for.
pub(super) fn check(extent: &Extent) -> Result<u32, String> {
    let (extent, begun) = (*extent, Arc::new((AtomicU64::new(0), Mutex::new(String::new()))));
    let (done, told) = mpsc::channel();
    let watched = begun.clone();
    thread::spawn(move || {
        let result = super::try_all(&extent, &case(), |case| {
            if let Ok(mut text) = watched.1.lock() {
                *text = format!("{case:#?}");
            }
            watched.0.fetch_add(1, Ordering::Relaxed);
            run(case)
        });
        let _ = done.send(result); // nobody listens to one that hung before
    });
    loop {
        let before = begun.0.load(Ordering::Relaxed);
        match told.recv_timeout(FOREVER) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err("the thread that tries the cases panicked".to_owned());
            }
            Err(mpsc::RecvTimeoutError::Timeout) if begun.0.load(Ordering::Relaxed) == before => {
                let case = begun.1.lock().map_or_else(|_| String::new(), |text| text.clone());
                return Err(format!("an operation never came back in {case}"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}
