//! The protocol in one process, deaths included: what each operation leaves, and what the sweep makes of it.

extern crate std;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::boxed::Box;
use std::ptr::NonNull;
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::member::MemberTable;
use crate::prim::{AtomicBool, AtomicU32, AtomicU64};
use crate::process::ProcessRef;
use crate::wait::{Deadline, Wait, Watch, Woken};

/// Processes that die on command; nobody sleeps here.
pub(super) struct Mortals {
    dead: [AtomicBool; 16],
    epoch: AtomicU32,
}

impl Mortals {
    pub(super) fn new() -> Self {
        Self { dead: [const { AtomicBool::new(false) }; 16], epoch: AtomicU32::new(0) }
    }

    pub(super) fn kill(&self, slot: u16) {
        self.dead[usize::from(slot)].store(true, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) fn process(slot: u16) -> ProcessRef {
    ProcessRef::new(slot, 1)
}

// SAFETY: the tests use a process's index no more once they killed it.
unsafe impl Liveness for Mortals {
    fn is_dead(&self, process: ProcessRef) -> bool {
        self.dead[usize::from(process.slot())].load(Ordering::SeqCst)
    }

    fn death_epoch(&self) -> u32 {
        self.epoch.load(Ordering::SeqCst)
    }
}

// SAFETY: nobody sleeps in these tests; both barriers are full fences.
unsafe impl Wait for Mortals {
    fn wait(&self, _: &[Watch<'_>], _: Option<Deadline>) -> Woken {
        unreachable!("these tests never block")
    }

    fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
        0
    }

    fn now(&self) -> Deadline {
        Deadline(0)
    }

    fn light_barrier(&self) {
        crate::prim::fence(Ordering::SeqCst);
    }

    fn heavy_barrier(&self) {
        crate::prim::fence(Ordering::SeqCst);
    }
}

// SAFETY: as above.
unsafe impl Family for Mortals {
    fn me(&self) -> ProcessRef {
        process(1)
    }

    fn epoch_word(&self) -> &AtomicU32 {
        &self.epoch
    }

    fn life_watch(&self, _: ProcessRef) -> Option<Watch<'_>> {
        None
    }

    fn backstop(&self) -> u64 {
        0
    }
}

pub(super) struct Heap;

impl Commit for Heap {
    fn commit(&self, _: u64, _: u64) -> Result<(), NoMemory> {
        Ok(())
    }
}

struct World {
    family: Mortals,
    storage: Mapped<Heap>,
    memory: (NonNull<u8>, Layout),
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `world`.
        unsafe { dealloc(self.memory.0.as_ptr(), self.memory.1) }
    }
}

fn world(options: Options) -> World {
    let geometry = Geometry::new(options).unwrap();
    let layout = Layout::from_size_align(geometry.len() as usize, 4096).unwrap();
    // SAFETY: the size is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    let members: &'static [AtomicU64] = Box::leak((0..16).map(|_| AtomicU64::new(0)).collect());
    let high_water: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let table = MemberTable::new(members, high_water);
    for slot in 1..=8 {
        assert_eq!(table.join(process(slot)), Some(slot));
    }
    // SAFETY: `base` is zeroed, page-aligned, `geometry.len()` long and freed with the world; the rest is leaked.
    let storage = unsafe { Mapped::new(base, members.into(), high_water.into(), geometry, Heap) };
    World { family: Mortals::new(), storage, memory: (base, layout) }
}

fn small(capacity: u32) -> Options {
    Options {
        capacity,
        most_message: 4096,
        class_bytes: 64 << 10,
        replies: true,
        ..Options::default()
    }
}

impl World {
    fn member(&self, me: u16) -> Queue<'_, Mapped<Heap>, Mortals> {
        Queue::new(&self.storage, &self.family, me)
    }
}

#[derive(Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

// SAFETY: `room` makes the vector as long as asked.
unsafe impl Buffer for Bytes {
    fn room(&mut self, len: usize) -> *mut u8 {
        self.0 = vec![0; len];
        self.0.as_mut_ptr()
    }

    fn filled(&mut self, len: usize, _: bool) {
        assert_eq!(self.0.len(), len);
    }
}

pub(super) fn message(bytes: &[u8]) -> Message<'_> {
    Message { bytes, carries: false }
}

type Q<'a> = Queue<'a, Mapped<Heap>, Mortals>;

fn get(q: &Q<'_>) -> Result<Vec<u8>, GetError> {
    let mut bytes = Bytes::default();
    q.try_take(Mode::Get, true, &mut bytes).map(|_| bytes.0)
}

fn lease(q: &Q<'_>) -> Result<(LeaseToken, Vec<u8>), GetError> {
    let mut bytes = Bytes::default();
    match q.try_take(Mode::Lease, true, &mut bytes)? {
        Taken::Lease(token) => Ok((token, bytes.0)),
        Taken::Item => panic!("a lease was asked for"),
    }
}

#[test]
fn items_come_out_in_order_small_and_large() {
    for capacity in [1, 2, 3, 7] {
        let w = world(small(capacity));
        let (a, b) = (w.member(1), w.member(2));
        for round in 0..100_u32 {
            for i in 0..capacity {
                let n = if i % 2 == 0 { 8 } else { 1000 };
                let mut bytes = vec![round as u8; n];
                bytes[0] = i as u8;
                a.try_put(message(&bytes)).unwrap();
                assert_eq!(a.len(), i as usize + 1);
            }
            assert!(a.is_full());
            assert_eq!(a.try_put(message(b"x")), Err(PutError::Full));
            assert_eq!(a.try_put(message(&[0; 600])), Err(PutError::Full));
            for i in 0..capacity {
                let got = get(&b).unwrap();
                assert_eq!(got[0], i as u8);
                assert_eq!(got[1], round as u8);
                assert_eq!(got.len(), if i % 2 == 0 { 8 } else { 1000 });
            }
            assert_eq!(get(&b), Err(GetError::Empty));
            assert!(b.is_empty());
        }
    }
}

#[test]
fn message_that_never_fits_is_refused_with_its_size() {
    let w = world(small(2));
    assert_eq!(
        w.member(1).try_put(message(&[0; 5000])),
        Err(PutError::TooLarge { len: 5000, most: 4096 })
    );
}

#[test]
fn committed_lease_is_gone_and_returned_lease_comes_back_counted() {
    for n in [8, 900] {
        let w = world(small(3));
        let (a, b, c) = (w.member(1), w.member(2), w.member(3));
        a.try_put(message(&vec![7; n])).unwrap();
        let (token, bytes) = lease(&b).unwrap();
        assert_eq!((token.deliveries(), bytes.len()), (0, n));
        assert_eq!(get(&c), Err(GetError::Empty));
        b.give_back(token);
        assert_eq!(c.len(), 1);
        let (token, bytes) = lease(&c).unwrap();
        assert_eq!((token.deliveries(), bytes.len()), (1, n));
        c.commit(token);
        assert_eq!(get(&b), Err(GetError::Empty));
        assert_eq!(in_use(&w), 0);
    }
}

fn in_use(w: &World) -> usize {
    let q = w.member(8);
    let mut blocks = 0;
    q.each_block(|b| {
        blocks += usize::from(q.block_word(b).state() != BlockState::Free);
        true
    });
    blocks
}

#[test]
fn death_with_a_lease_gives_the_item_to_another() {
    for n in [8, 900] {
        let w = world(small(3));
        let (a, b, c) = (w.member(1), w.member(2), w.member(3));
        a.try_put(message(&vec![9; n])).unwrap();
        let (_lost, _) = lease(&b).unwrap();
        w.family.kill(2);
        let (token, bytes) = lease(&c).unwrap();
        assert_eq!((token.deliveries(), bytes), (1, vec![9; n]));
        c.commit(token);
        assert_eq!(in_use(&w), 0);
        assert_eq!(w.storage.members().get(2), ProcessRef::NONE, "the swept index is free");
    }
}

#[test]
fn reply_reaches_the_requester_and_commits() {
    for n in [8, 900, 4000] {
        let w = world(small(3));
        let (a, b) = (w.member(1), w.member(2));
        let ticket = a.try_request(message(b"question")).unwrap();
        let (token, _) = lease(&b).unwrap();
        let mut out = Bytes::default();
        let (answer, ticket) = a.take_answer(ticket, &mut out).unwrap();
        assert_eq!(answer, Answer::Pending);
        assert_eq!(b.try_reply(token, message(&vec![5; n])), Ok(Replied::Delivered));
        let (answer, ticket) = a.take_answer(ticket.unwrap(), &mut out).unwrap();
        assert_eq!((answer, out.0, ticket), (Answer::Reply, vec![5; n], None));
        assert_eq!(in_use(&w), 0);
    }
}

#[test]
fn reply_to_a_dead_or_uninterested_requester_commits_and_says_so() {
    for dead in [false, true] {
        let w = world(small(3));
        let (a, b) = (w.member(1), w.member(2));
        let ticket = a.try_request(message(b"question")).unwrap();
        let (token, _) = lease(&b).unwrap();
        if dead {
            w.family.kill(1); // and nobody swept
        } else {
            a.drop_ticket(ticket);
        }
        assert_eq!(b.try_reply(token, message(b"late")), Ok(Replied::RequesterGone));
        assert_eq!(in_use(&w), 0);
    }
}

#[test]
fn answer_left_by_a_dead_requester_is_swept() {
    let w = world(small(3));
    let (a, b, c) = (w.member(1), w.member(2), w.member(3));
    let _ticket = a.try_request(message(b"question")).unwrap();
    let (token, _) = lease(&b).unwrap();
    assert_eq!(b.try_reply(token, message(b"answer")), Ok(Replied::Delivered));
    w.family.kill(1);
    w.family.kill(2);
    assert!(c.sweep_if_due());
    assert_eq!(in_use(&w), 0);
}

#[test]
fn item_given_back_too_often_goes_to_the_dead_letters() {
    let w = world(Options { most_deliveries: 2, ..small(3) });
    let (a, b, c) = (w.member(1), w.member(2), w.member(3));
    let ticket = a.try_request(message(b"poison")).unwrap();
    b.give_back(lease(&b).unwrap().0);
    let _killer = lease(&b).unwrap();
    w.family.kill(2);
    assert_eq!(get(&c), Err(GetError::Empty));
    let mut out = Bytes::default();
    assert_eq!(a.take_answer(ticket, &mut out).unwrap().0, Answer::Dead);
    let token = c.try_take_dead(&mut out).unwrap();
    assert_eq!((token.deliveries(), out.0.as_slice()), (2, &b"poison"[..]));
    c.commit(token);
    assert_eq!(in_use(&w), 0);
}

#[test]
fn closed_queue_refuses_puts_delivers_the_rest_and_then_says_closed() {
    let w = world(small(3));
    let (a, b) = (w.member(1), w.member(2));
    a.try_put(message(b"one")).unwrap();
    a.try_put(message(&[2; 500])).unwrap();
    assert!(a.close());
    assert!(!b.close());
    assert_eq!(a.try_put(message(b"x")), Err(PutError::Closed));
    assert_eq!(get(&b).unwrap(), b"one");
    let (token, _) = lease(&b).unwrap();
    assert_eq!(get(&b), Err(GetError::Leased { mine: 1, others: false }));
    assert_eq!(get(&a), Err(GetError::Leased { mine: 0, others: true }));
    b.give_back(token);
    assert_eq!(get(&a).unwrap(), vec![2; 500]);
    assert_eq!(get(&a), Err(GetError::Closed));
    assert_eq!(get(&b), Err(GetError::Closed));
}

#[test]
fn requests_never_take_the_room_that_their_replies_need() {
    let w = world(Options { capacity: 1, class_bytes: 512, most_message: 256, ..small(1) });
    let (a, b) = (w.member(1), w.member(2));
    let mut tickets = Vec::new();
    let mut leases = Vec::new();
    while let Ok(ticket) = a.try_request(message(b"q")) {
        tickets.push(ticket);
        leases.push(lease(&b).unwrap().0);
    }
    assert!(tickets.len() >= 2, "{}", tickets.len());
    for token in leases {
        assert_eq!(b.try_reply(token, message(&[1; 256])), Ok(Replied::Delivered));
    }
}

#[test]
fn random_bytes_in_the_region_give_errors_and_never_leave_it() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..300 {
        let w = world(Options { capacity: 4, class_bytes: 4096, ..small(4) });
        let q = w.member(1);
        for i in 0..3 {
            q.try_put(message(&[i; 300])).unwrap();
        }
        let words = w.storage.geometry().classes()[0].payloads as usize / 8;
        for i in 0..words {
            if random() % 3 == 0 {
                // SAFETY: inside the world's memory; nobody else uses it now.
                unsafe { w.memory.0.cast::<u64>().add(i).write(random()) };
            }
        }
        // Whatever they answer, they come back.
        for _ in 0..8 {
            let _ = format!("{:?}", (get(&q), q.len(), q.is_full(), q.try_put(message(&[1; 300]))));
            q.sweep();
            q.trace(&mut |_| {});
        }
    }
}

#[test]
fn hints_that_went_far_back_cost_a_lap_and_no_more() {
    let w = world(small(2));
    let q = w.member(1);
    let put_and_get = |n: u32| {
        for i in 0..n {
            q.try_put(message(&i.to_le_bytes())).unwrap();
            assert_eq!(get(&q).unwrap(), i.to_le_bytes());
        }
    };
    // More laps than a walk may take steps before it holds the words for overwritten.
    put_and_get(300_000);
    q.try_put(message(b"first")).unwrap();
    // A putter and a taker that stood still all the while store what they saw at the beginning.
    w.storage.head().tail.0.store(0, Ordering::SeqCst);
    w.storage.head().head.0.store(0, Ordering::SeqCst);
    assert_eq!((q.len(), q.is_full()), (1, false));
    q.try_put(message(b"second")).unwrap();
    w.storage.head().tail.0.store(0, Ordering::SeqCst);
    assert_eq!(q.try_put(message(b"third")), Err(PutError::Full));
    assert_eq!(get(&q).unwrap(), b"first");
    w.storage.head().head.0.store(0, Ordering::SeqCst);
    assert_eq!(get(&q).unwrap(), b"second");
    w.storage.head().head.0.store(0, Ordering::SeqCst);
    assert_eq!(get(&q), Err(GetError::Empty));
    put_and_get(10);
}

/// Takes a batch of up to `most` for good.
fn get_many(q: &Q<'_>, most: usize) -> Result<Vec<Vec<u8>>, (usize, GetError)> {
    let mut buffers: Vec<Bytes> = (0..most).map(|_| Bytes::default()).collect();
    let taken = q.try_take_many(true, &mut buffers)?;
    Ok(buffers.into_iter().take(taken).map(|bytes| bytes.0).collect())
}

fn put_many(q: &Q<'_>, bytes: &[Vec<u8>]) -> Result<(), (usize, PutError)> {
    let messages: Vec<_> = bytes.iter().map(|bytes| message(bytes)).collect();
    q.try_put_many(&messages)
}

#[test]
fn batches_keep_the_order_of_messages_of_any_size() {
    let w = world(small(64));
    let q = w.member(1);
    let all: Vec<Vec<u8>> = (0..50_u8).map(|i| vec![i; if i % 7 == 3 { 500 } else { 4 }]).collect();
    put_many(&q, &all).unwrap();
    let mut got = Vec::new();
    while let Ok(some) = get_many(&q, 9) {
        assert!((1..=9).contains(&some.len()));
        got.extend(some);
    }
    assert_eq!(got, all);
    assert_eq!(get_many(&q, 3), Err((0, GetError::Empty)));
    assert_eq!(q.try_take_many::<Bytes>(true, &mut []), Ok(0));
}

#[test]
fn batch_that_does_not_fit_is_put_as_far_as_it_does() {
    let w = world(small(20));
    let q = w.member(1);
    let all: Vec<Vec<u8>> = (0..30_u8).map(|i| vec![i]).collect();
    assert_eq!(put_many(&q, &all), Err((20, PutError::Full)));
    assert_eq!(put_many(&q, &all[20..]), Err((0, PutError::Full)));
    assert_eq!(get_many(&q, 5).unwrap(), all[..5]);
    q.close();
    assert_eq!(put_many(&q, &all), Err((0, PutError::Closed)));
    assert_eq!(get_many(&q, 100).unwrap(), all[5..20]);
    assert_eq!(get_many(&q, 100), Err((0, GetError::Closed)));
}

#[test]
fn message_that_never_fits_ends_its_batch() {
    let w = world(small(8));
    let q = w.member(1);
    let most = q.storage.geometry().options().most_message as usize;
    let all = [vec![1], vec![2], vec![0; most + 1], vec![3]];
    assert_eq!(put_many(&q, &all), Err((2, PutError::TooLarge { len: most + 1, most })));
    assert_eq!(q.len(), 2);
}

/// Writes `bytes` into the loan.
fn fill(q: &Q<'_>, loan: &LoanToken, bytes: &[u8]) {
    assert!(bytes.len() <= loan.len());
    let to = q.loan_address(loan).unwrap();
    assert!(to.addr().get().is_multiple_of(256));
    // SAFETY: the loan is ours and at least as long.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
}

/// A buffer for leases that are read in place; what lay in a slot is copied all the same.
#[derive(Default)]
struct Inline(Bytes);

// SAFETY: as `Bytes`.
unsafe impl Buffer for Inline {
    const IN_PLACE: bool = true;

    fn room(&mut self, len: usize) -> *mut u8 {
        self.0.room(len)
    }

    fn filled(&mut self, len: usize, carries: bool) {
        self.0.filled(len, carries);
    }
}

/// Leases the next item, and what lies at its address.
fn lease_in_place(q: &Q<'_>) -> Result<(LeaseToken, Vec<u8>), GetError> {
    match q.try_take(Mode::Lease, true, &mut Inline::default())? {
        Taken::Lease(token) => {
            let (at, len) = q.lease_address(&token).unwrap();
            // SAFETY: the lease is ours, the address is its block's, and nobody writes there.
            let bytes = unsafe { std::slice::from_raw_parts(at.as_ptr(), len) }.to_vec();
            Ok((token, bytes))
        }
        Taken::Item => unreachable!("a lease was asked for"),
    }
}

#[test]
fn what_is_written_into_a_loan_is_the_item() {
    let w = world(small(2));
    let (a, b) = (w.member(1), w.member(2));
    for len in [0, 1, 48, 256, 257, 4096] {
        let bytes = vec![len as u8 ^ 0x5a; len];
        let loan = a.try_loan(len).unwrap();
        fill(&a, &loan, &bytes);
        assert_eq!(get(&b), Err(GetError::Empty), "nothing is put before it is published");
        a.try_publish(loan).unwrap();
        assert_eq!(get(&b), Ok(bytes.clone()));
        // And read where it lies; a small one that came through a slot as well.
        a.try_put(message(&bytes)).unwrap();
        let (token, got) = lease_in_place(&b).unwrap();
        assert_eq!(got, bytes);
        b.give_back(token);
        let (token, got) = lease_in_place(&b).unwrap();
        assert_eq!((token.deliveries(), got), (1, bytes));
        b.commit(token);
    }
    assert_eq!(in_use(&w), 0);
}

#[test]
fn loan_can_be_published_shorter_but_not_longer() {
    let w = world(small(2));
    let q = w.member(1);
    let mut loan = q.try_loan(5).unwrap();
    fill(&q, &loan, b"abcde");
    loan.truncate(9);
    assert_eq!(loan.len(), 5);
    loan.truncate(3);
    q.try_publish(loan).unwrap();
    assert_eq!(get(&q), Ok(b"abc".to_vec()));
}

#[test]
fn loan_that_is_refused_is_kept() {
    let w = world(small(1));
    let q = w.member(1);
    q.try_put(message(b"first")).unwrap();
    let loan = q.try_loan(300).unwrap();
    fill(&q, &loan, b"second");
    let (mut loan, why) = q.try_publish(loan).unwrap_err();
    assert_eq!(why, PutError::Full);
    assert_eq!(get(&q), Ok(b"first".to_vec()));
    loan.truncate(6);
    q.try_publish(loan).unwrap();
    let late = q.try_loan(1).unwrap();
    q.close();
    let (late, why) = q.try_publish(late).unwrap_err();
    assert_eq!(why, PutError::Closed);
    assert_eq!(q.try_loan(1), Err(PutError::Closed));
    assert_eq!(get(&q), Ok(b"second".to_vec()));
    assert_eq!(get(&q), Err(GetError::Closed), "a loan is no item to wait for");
    q.return_loan(late);
    assert_eq!(in_use(&w), 0);
}

#[test]
fn loan_too_large_or_beyond_all_blocks_is_refused() {
    let w = world(Options { class_bytes: 1, ..small(4) });
    let q = w.member(1);
    assert_eq!(q.try_loan(4097), Err(PutError::TooLarge { len: 4097, most: 4096 }));
    let mut loans: Vec<_> = (0..3).map(|_| q.try_loan(4096).unwrap()).collect();
    assert_eq!(q.try_loan(4096), Err(PutError::NoRoom));
    q.return_loan(loans.pop().unwrap());
    loans.push(q.try_loan(4096).unwrap());
    loans.into_iter().for_each(|loan| q.return_loan(loan));
    assert_eq!(in_use(&w), 0);
}

#[test]
fn death_with_a_loan_frees_its_block_and_nothing_else() {
    let w = world(small(2));
    let (a, b) = (w.member(1), w.member(2));
    let (dead, mine) = (a.try_loan(1000).unwrap(), b.try_loan(1000).unwrap());
    fill(&a, &dead, b"lost");
    fill(&b, &mine, b"kept");
    w.family.kill(1);
    b.sweep();
    assert_eq!(in_use(&w), 1);
    let mut mine = mine;
    mine.truncate(4);
    b.try_publish(mine).unwrap();
    assert_eq!(get(&b), Ok(b"kept".to_vec()));
    assert_eq!(get(&b), Err(GetError::Empty));
    assert_eq!(in_use(&w), 0);
}
