//! What queues of plain data promise across processes: messages written and read where they lie, whoever is killed with a loan
//! or a lease in hand, at whatever point.

mod common;

use common::{SIGKILL, audit, kill, kill_self, thread, until_blocked};
use offspring::queue::{InPlace, Loan, PlainQueue, wait};
use offspring::{Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

#[derive(Clone, Copy, PartialEq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Sample {
    at: u64,
    values: [f32; 6],
}

fn sample(n: u64) -> Sample {
    Sample { at: n, values: [n as f32; 6] }
}

/// The values of message number `n`: their count and their content tell it.
fn message(n: u64) -> Vec<u64> {
    const LENGTHS: [u64; 6] = [1, 6, 7, 32, 200, 5_000];
    (0..LENGTHS[n as usize % LENGTHS.len()]).map(|i| n << 32 | i).collect()
}

fn number_of(message: &[u64]) -> u64 {
    let n = message[0] >> 32;
    assert!(message == self::message(n), "message {n} is torn");
    n
}

#[test]
fn messages_of_any_length_come_out_in_order_however_they_are_written_and_read() {
    let _audit = begin();
    let queue = PlainQueue::<u64>::bounded(8).unwrap();
    type Write = fn(&PlainQueue<u64>, &[u64]);
    type Read = fn(&PlainQueue<u64>) -> Vec<u64>;
    let write: [Write; 3] = [
        |queue, message| queue.put(message).unwrap(),
        |queue, message| {
            let mut loan = queue.loan(message.len()).unwrap();
            loan.write(0, message);
            loan.publish().unwrap();
        },
        |queue, message| {
            let mut loan = queue.loan(message.len() + 3).unwrap();
            loan.fill(7);
            loan.truncate(message.len());
            // SAFETY: no process of this family writes wild.
            unsafe { loan.as_mut_slice() }.copy_from_slice(message);
            loan.publish().unwrap();
        },
    ];
    let read: [Read; 5] = [
        |queue| queue.get().unwrap(),
        |queue| {
            let mut into = vec![1, 2];
            let count = queue.get_into(&mut into).unwrap();
            assert_eq!((into.len(), &into[..2]), (count + 2, &[1, 2][..]));
            into.split_off(2)
        },
        |queue| {
            let lease = queue.lease().unwrap();
            let all = lease.to_vec();
            lease.commit();
            all
        },
        |queue| {
            let lease = queue.lease().unwrap();
            let mut all = Vec::new();
            lease.parts(|from, part| {
                assert_eq!(from, all.len());
                all.extend_from_slice(part);
            });
            assert_eq!(lease.get(lease.len() - 1), *all.last().unwrap());
            lease.commit();
            all
        },
        |queue| {
            let lease = queue.lease().unwrap();
            // SAFETY: no process of this family writes wild.
            let all = unsafe { lease.as_slice() }.to_vec();
            lease.commit();
            all
        },
    ];
    let mut n = 0;
    for write in write {
        for read in read {
            for _ in 0..4 {
                (0..6).for_each(|i| write(&queue, &message(n + i)));
                (0..6).for_each(|i| assert_eq!(number_of(&read(&queue)), n + i));
                n += 6;
            }
        }
    }
    queue.put(&[]).unwrap();
    assert_eq!(queue.get().unwrap(), []);
    queue.loan(0).unwrap().publish().unwrap();
    assert!(queue.lease().unwrap().is_empty());
}

#[test]
fn types_of_ones_own_and_bytes_travel_as_they_are() {
    let _audit = begin();
    let samples = PlainQueue::<Sample>::bounded(2).unwrap();
    samples.put(&[sample(1), sample(2)]).unwrap();
    let lease = samples.lease().unwrap();
    assert_eq!((lease.len(), lease.get(1)), (2, sample(2)));
    let mut out = [sample(0)];
    lease.read(1, &mut out);
    assert_eq!(out, [sample(2)]);
    lease.commit();
    let bytes = PlainQueue::<u8>::bounded(2).unwrap();
    for len in [0, 1, 48, 49, 255, 256, 1 << 20] {
        let message: Vec<_> = (0..len).map(|i| i as u8).collect();
        bytes.put(&message).unwrap();
        assert_eq!(bytes.get().unwrap(), message);
    }
}

#[test]
fn what_cannot_be_is_told_in_each_form() {
    let _audit = begin();
    let queue = PlainQueue::<u32>::builder().capacity(1).max_message(4096).build().unwrap();
    let short = Duration::from_millis(10);
    assert!(queue.try_get().unwrap_err().is_empty());
    assert!(queue.try_lease().unwrap_err().is_empty());
    assert!(queue.get_timeout(short).unwrap_err().is_timeout());
    assert!(queue.lease_deadline(Instant::now()).unwrap_err().is_timeout());
    assert!(queue.put(&[0; 1025]).unwrap_err().is_too_large());
    assert!(queue.loan(1025).unwrap_err().is_too_large());
    assert!(queue.loan(usize::MAX).unwrap_err().is_too_large());
    queue.put(&[1]).unwrap();
    assert!(queue.try_put(&[2]).unwrap_err().is_full());
    assert!(queue.put_timeout(&[2], short).unwrap_err().is_timeout());
    let mut loan = queue.loan(2).unwrap();
    loan.write(0, &[2, 3]);
    let refused = loan.try_publish().unwrap_err();
    assert!(refused.error.is_full());
    let refused = refused.loan.publish_timeout(short).unwrap_err();
    assert!(refused.error.is_timeout());
    let refused = refused.loan.publish_deadline(Instant::now()).unwrap_err();
    assert_eq!(queue.get().unwrap(), [1]);
    refused.loan.publish().unwrap();
    assert_eq!(queue.get().unwrap(), [2, 3]);
    let loan = queue.loan(1).unwrap();
    queue.close();
    assert!(queue.loan(1).unwrap_err().is_closed());
    assert!(loan.publish().unwrap_err().error.is_closed());
    assert!(queue.get().unwrap_err().is_closed(), "a loan is no message to wait for");
    assert!(PlainQueue::<u8>::bounded(0).is_err() && PlainQueue::<u8>::bounded(1 << 24).is_err());
}

#[test]
fn values_outside_a_loan_or_lease_are_refused() {
    let _audit = begin();
    let queue = PlainQueue::<u32>::bounded(1).unwrap();
    let outside =
        |f: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    let mut loan = queue.loan(4).unwrap();
    assert!(outside(&mut || loan.write(3, &[1, 2])));
    assert!(outside(&mut || loan.read(5, &mut [])));
    loan.write(0, &[1, 2, 3, 4]);
    loan.publish().unwrap();
    let lease = queue.lease().unwrap();
    assert!(outside(&mut || assert_eq!(lease.get(4), 0)));
    assert!(outside(&mut || lease.read(usize::MAX, &mut [0])));
    assert_eq!(lease.get(3), 4);
}

#[test]
fn dropped_loans_and_leases_go_back() {
    let _audit = begin();
    let queue =
        PlainQueue::<u8>::builder().capacity(4).class_bytes(1).max_message(256).build().unwrap();
    // Three blocks, one of which is kept for leases.
    let loans: Vec<_> = (0..2).map(|_| queue.loan(200).unwrap()).collect();
    assert!(queue.try_loan(200).unwrap_err().is_full());
    assert!(queue.loan_timeout(200, Duration::from_millis(10)).unwrap_err().is_timeout());
    assert!(queue.loan_deadline(200, Instant::now()).unwrap_err().is_timeout());
    drop(loans);
    for n in 0..10 {
        let mut loan = queue.try_loan(200).unwrap();
        loan.fill(n);
        loan.try_publish().unwrap();
        drop(queue.lease().unwrap());
        let lease = queue.lease().unwrap();
        assert_eq!((lease.deliveries(), lease.len(), lease.get(199)), (1, 200, n));
        lease.commit();
    }
    let unwound = std::panic::catch_unwind(|| {
        let (_loan, _other) = (queue.loan(200).unwrap(), queue.loan(200).unwrap());
        panic!("with loans in hand");
    });
    assert!(unwound.is_err());
    assert_eq!(queue.try_loan(200).unwrap().len(), 200);
}

#[test]
fn own_lease_is_no_reason_to_wait_for_ever() {
    let _audit = begin();
    let queue = PlainQueue::<u8>::bounded(2).unwrap();
    queue.put(&[1]).unwrap();
    let lease = queue.lease().unwrap();
    queue.close();
    assert!(queue.get().unwrap_err().is_own_lease());
    drop(lease);
    assert_eq!(queue.get().unwrap(), [1]);
    assert!(queue.get().unwrap_err().is_closed());
}

#[test]
fn loans_and_leases_may_go_to_other_threads() {
    let _audit = begin();
    let queue = PlainQueue::<u64>::bounded(2).unwrap();
    let loan = queue.loan(100).unwrap();
    std::thread::spawn(|| write_and_publish(loan, 1)).join().unwrap();
    let lease = queue.lease().unwrap();
    std::thread::spawn(|| lease.commit()).join().unwrap();
    assert!(queue.is_empty());
}

fn write_and_publish(mut loan: Loan<u64>, n: u64) {
    let message = message(n);
    loan.truncate(message.len());
    loan.write(0, &message);
    loan.publish().unwrap();
}

type Numbers = PlainQueue<u64>;

#[test]
fn what_one_process_writes_in_place_another_reads_in_place() {
    let _audit = begin();
    let queue = Numbers::bounded(4).unwrap();
    let sums = Queue::<u64>::bounded(4).unwrap();
    let reader = Process::spawn(sum_in_place, (queue.clone(), sums.clone())).unwrap();
    let mut all = 0;
    for n in 0..40 {
        let len = if n % 8 == 0 { 131_072 } else { 1 + n as usize };
        let mut loan = queue.loan(len).unwrap();
        loan.fill_parts(|from, part| {
            part.iter_mut().zip(from as u64..).for_each(|(value, i)| *value = n * i);
        });
        loan.publish().unwrap();
        all += (0..len as u64).map(|i| n * i).sum::<u64>();
    }
    queue.close();
    assert_eq!(sums.get().unwrap(), all);
    reader.join().unwrap();
}

fn sum_in_place((queue, sums): (Numbers, Queue<u64>)) {
    let mut sum = 0;
    while let Ok(lease) = queue.lease() {
        lease.parts(|_, part| sum += part.iter().sum::<u64>());
        lease.commit();
    }
    sums.put(sum).unwrap();
}

#[test]
fn many_processes_write_and_read_in_place_and_lose_nothing() {
    let _audit = begin();
    let queue = Numbers::builder().capacity(3).class_bytes(1).build().unwrap();
    let told = Queue::<Vec<u64>>::unbounded().unwrap();
    let writers: Vec<_> = (0..2)
        .map(|me| Process::spawn(publish_some, (queue.clone(), me * 3_000, 3_000)).unwrap())
        .collect();
    let readers: Vec<_> =
        (0..2).map(|_| Process::spawn(read_all, (queue.clone(), told.clone())).unwrap()).collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    queue.close();
    let mut all: Vec<u64> = readers.iter().flat_map(|_| told.get().unwrap()).collect();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    all.sort_unstable();
    assert_eq!(all, (0..6_000).collect::<Vec<_>>());
}

fn publish_some((queue, from, count): (Numbers, u64, u64)) {
    for n in from..from + count {
        let message = message(n);
        if n % 3 == 0 {
            queue.put(&message).unwrap();
        } else {
            let mut loan = queue.loan(message.len()).unwrap();
            loan.write(0, &message);
            loan.publish().unwrap();
        }
    }
}

fn read_all((queue, told): (Numbers, Queue<Vec<u64>>)) {
    let mut seen = Vec::new();
    while let Ok(lease) = queue.lease() {
        seen.push(number_of(&lease.to_vec()));
        lease.commit();
    }
    told.put(seen).unwrap();
}

#[test]
fn handle_travels_and_can_be_waited_for() {
    let _audit = begin();
    let post = Queue::<PlainQueue<u64>>::bounded(1).unwrap();
    post.put(PlainQueue::bounded(1).unwrap()).unwrap();
    let queue = post.get().unwrap();
    queue.put(&[5]).unwrap();
    assert_eq!(wait(&[&queue], None).unwrap(), [0]);
    let text = format!("{queue:?}");
    assert!(text.contains("len: 1"), "{text}");
}

#[test]
fn a_waiter_for_room_gets_the_blocks_of_the_dead() {
    let _audit = begin();
    let queue = Numbers::builder().capacity(4).class_bytes(1).max_message(1024).build().unwrap();
    let told = Queue::<u32>::bounded(2).unwrap();
    let holder = Process::spawn(hold_all, (queue.clone(), told.clone())).unwrap();
    let held = told.get().unwrap();
    let waiter = Process::spawn(loan_one, (queue.clone(), told.clone())).unwrap();
    until_blocked(told.get().unwrap());
    kill(&holder);
    waiter.join().unwrap();
    assert_eq!(number_of(&queue.get().unwrap()), 3);
    // And all the others are free again.
    let again: Vec<_> = (0..held).map(|_| queue.try_loan(128).unwrap()).collect();
    assert_eq!(again.len(), 3);
}

fn hold_all((queue, told): (Numbers, Queue<u32>)) {
    let mut held = Vec::new();
    while let Ok(mut loan) = queue.try_loan(128) {
        loan.fill(u64::MAX);
        held.push(loan);
    }
    told.put(held.len() as u32).unwrap();
    loop {
        std::thread::park();
    }
}

fn loan_one((queue, told): (Numbers, Queue<u32>)) {
    told.put(thread()).unwrap();
    write_and_publish(queue.loan(128).unwrap(), 3);
}

static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
static VISITS: AtomicU32 = AtomicU32::new(0);

/// From here on this process is killed at its `visit`th time at `point`.
fn die_at((point, visit): (u32, u32)) {
    POINT.store(point, Ordering::Relaxed);
    VISITS.store(visit, Ordering::Relaxed);
    points::set_hook(Some(|point| {
        if point as u32 == POINT.load(Ordering::Relaxed)
            && VISITS.fetch_sub(1, Ordering::Relaxed) == 1
        {
            kill_self();
        }
    }));
}

/// Points that a loan, its publication or return, and a lease in place pass.
fn points_of_loans() -> Vec<Point> {
    let groups = ["loan.", "block.", "put.", "notify."];
    let of = |point: &Point| groups.iter().any(|group| point.name().starts_with(group));
    Point::ALL.iter().copied().filter(of).collect()
}

type Args = (Numbers, u32, u32);

/// Takes three loans, gives the second back, publishes the others; and again.
fn publish_until_killed((queue, point, visit): Args) {
    die_at((point, visit));
    for n in 0..12 {
        let mut loans: Vec<_> = (0..3).map(|_| queue.loan(5_000).unwrap()).collect();
        drop(loans.remove(1));
        for (mut loan, n) in loans.into_iter().zip(2 * n..) {
            let message = message(n);
            loan.truncate(message.len());
            loan.write(0, &message);
            loan.publish().unwrap();
        }
    }
}

#[test]
fn killed_at_every_point_a_writer_leaves_whole_messages_and_all_blocks() {
    let _audit = begin();
    let mut died = Vec::new();
    for point in points_of_loans() {
        for visit in [1, 2, 5] {
            let queue = Numbers::builder()
                .capacity(64)
                .class_bytes(512 << 10)
                .max_message(65_536)
                .build()
                .unwrap();
            // One of ours is in somebody's hand all the time.
            let mut ours = queue.loan(5_000).unwrap();
            ours.write(0, &message(5));
            let mut free = Vec::new();
            while let Ok(loan) = queue.try_loan(5_000) {
                free.push(loan);
            }
            let blocks = free.len();
            // Only three blocks are left to the child, and what it publishes is taken here.
            free.truncate(blocks - 3);
            let args = (queue.clone(), point as u32, visit);
            let child = Process::spawn(publish_until_killed, args).unwrap();
            let mut next = 0;
            let killed = loop {
                match queue.get_timeout(Duration::from_millis(1)) {
                    Ok(message) => {
                        assert_eq!(number_of(&message), next, "{point:?} {visit}");
                        next += 1;
                    }
                    Err(error) if error.is_timeout() => {
                        if let Some(status) = child.try_wait() {
                            break status.signal() == Some(SIGKILL);
                        }
                    }
                    Err(error) => panic!("{point:?} {visit}: {error}"),
                }
            };
            // What was committed before the end is all there.
            while let Ok(message) = queue.try_get() {
                assert_eq!(number_of(&message), next, "{point:?} {visit}");
                next += 1;
            }
            assert!(killed || next == 24, "{point:?} {visit}: {next}");
            if killed {
                died.push(point);
            }
            ours.publish().unwrap();
            assert_eq!(number_of(&queue.get().unwrap()), 5, "{point:?} {visit}");
            while free.len() < blocks + 1 {
                free.push(queue.try_loan(5_000).expect("every block is free again"));
            }
        }
    }
    died.dedup();
    let needed = [
        Point::BlockClaimed,
        Point::LoanTaken,
        Point::LoanReturned,
        Point::LoanSized,
        Point::PutBeforeClaim,
        Point::PutClaimed,
        Point::PutBlockNamed,
        Point::PutBlockQueued,
        Point::PutCommitted,
        Point::PutHinted,
    ];
    let missed: Vec<_> = needed.iter().filter(|point| !died.contains(point)).collect();
    assert!(missed.is_empty(), "nobody died at {missed:?}");
}

/// Leases and commits, in place, and is killed.
fn read_until_killed((queue, point, visit): Args) {
    die_at((point, visit));
    let check = |lease: &InPlace<u64>| number_of(&lease.to_vec());
    for _ in 0..10 {
        let (first, second) = (queue.lease().unwrap(), queue.lease().unwrap());
        let n = check(&first);
        check(&second);
        second.commit();
        drop(first);
        let again = queue.lease().unwrap();
        assert!(check(&again) == n && again.deliveries() > 0);
        again.commit();
    }
}

#[test]
fn killed_at_every_point_a_reader_in_place_gives_back_what_it_had() {
    let _audit = begin();
    let groups = ["get.", "lease.", "returned.", "commit.", "return."];
    let of = |point: &Point| groups.iter().any(|group| point.name().starts_with(group));
    let mut died = Vec::new();
    for point in Point::ALL.iter().copied().filter(of) {
        for visit in [1, 2, 7] {
            let queue = Numbers::bounded(64).unwrap();
            (0..20).for_each(|n| queue.put(&message(n)).unwrap());
            let child =
                Process::spawn(read_until_killed, (queue.clone(), point as u32, visit)).unwrap();
            let killed = child.wait().signal() == Some(SIGKILL);
            let mut left: Vec<u64> = Vec::new();
            while let Ok(lease) = queue.try_lease() {
                left.push(number_of(&lease.to_vec()));
                lease.commit();
            }
            if killed {
                died.push(point);
                // The child took them in order, two at a time, and whatever it did not commit came back once.
                left.sort_unstable();
                let mut once = left.clone();
                once.dedup();
                assert_eq!(left, once, "{point:?} {visit}");
                let gone = 20 - left.len();
                let first = left.first().map_or(20, |n| *n as usize);
                assert!(gone == first || gone == first + 1, "{point:?} {visit}: {left:?}");
            } else {
                assert_eq!(left, [], "{point:?} {visit}");
            }
            assert!(queue.is_empty());
        }
    }
    died.dedup();
    let needed = [
        Point::GetClaimed,
        Point::GetBlockTaken,
        Point::LeaseCopied,
        Point::LeaseMoved,
        Point::LeaseSlotEmptied,
        Point::CommitBefore,
        Point::CommitDone,
        Point::ReturnDone,
        Point::ReturnCounted,
        Point::ReturnedTaken,
    ];
    let missed: Vec<_> = needed.iter().filter(|point| !died.contains(point)).collect();
    assert!(missed.is_empty(), "nobody died at {missed:?}");
}
