//! Queues whose memory is overwritten while processes use them.

use crate::common::arena::{self, Start};
use crate::common::{Memory, kill, pages_may_be_left, thread, until_blocked};
use offspring::{Process, Queue};
use std::time::Duration;

/// Where the protocol's own words begin in a queue's region; its head, settings and members lie before.
const QUEUE_AT: u64 = 16 << 10;

type Bytes = Queue<Vec<u8>, u32>;
type Handles = Queue<(Queue<u32>, Vec<u8>)>;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Writes random bytes, or words with only a few random bits, over the parts of a region that have memory.
fn overwrite((from, len): (u64, u64), mode: u32, random: &mut Random) {
    let memory = Memory::open();
    let (from, len) = match mode % 4 {
        // Head, settings and members alone; all but them; everything.
        0 => (from, QUEUE_AT.min(len)),
        1 | 2 => (from + QUEUE_AT, len - QUEUE_AT),
        _ => (from, len),
    };
    for (at, len) in memory.used((from, len)) {
        let mut bytes = vec![0; len as usize];
        memory.read(at, &mut bytes);
        for word in bytes.chunks_exact_mut(8) {
            let old = u64::from_ne_bytes(word.try_into().unwrap());
            let new = match mode % 3 {
                0 => random.next(),
                1 if random.next().is_multiple_of(8) => random.next(),
                // What looks almost right.
                2 if random.next().is_multiple_of(4) => old ^ (1 << (random.next() % 64)),
                _ => old,
            };
            word.copy_from_slice(&new.to_ne_bytes());
        }
        memory.write(at, &bytes);
    }
}

const SOON: Duration = Duration::from_millis(1);

/// Every operation; each comes back.
fn use_bytes(queue: &Bytes) -> usize {
    let mut done = 0;
    for n in 0..4_u8 {
        done += usize::from(queue.try_put(vec![n; 3]).is_ok());
        done += usize::from(queue.put_timeout(vec![n; 3000], SOON).is_ok());
        done += usize::from(queue.try_get().is_ok());
        done += usize::from(queue.get_timeout(SOON).is_ok());
        if let Ok(lease) = queue.lease_timeout(SOON) {
            done += usize::from(lease.deliveries() < 256);
            match n % 3 {
                0 => drop(lease.commit()),
                1 => drop(lease),
                _ => drop(lease.reply(7)),
            }
        }
        if let Ok(mut ticket) = queue.request_timeout(vec![n; 30], SOON) {
            let _ = queue.try_lease().map(|lease| lease.reply(8));
            done += usize::from(ticket.wait_timeout(SOON).is_ok());
            done += usize::from(ticket.try_wait().is_ok());
        }
        done += queue.dead_letters().take(4).filter(Result::is_ok).count();
        done += queue.len().min(1) + usize::from(queue.is_full()) + usize::from(queue.is_empty());
        done += format!("{queue:?}").len();
    }
    done += usize::from(queue.close()) + usize::from(queue.is_closed());
    done + usize::from(queue.get_timeout(SOON).is_ok())
}

fn use_handles(queue: &Handles) -> usize {
    let other = Queue::bounded(1).unwrap();
    let mut done = usize::from(queue.try_put((other, vec![1; 500])).is_ok());
    for _ in 0..4 {
        done += usize::from(queue.get_timeout(SOON).is_ok());
        if let Ok(lease) = queue.lease_timeout(SOON) {
            drop(lease);
        }
    }
    done
}

fn use_both((bytes, handles, [here, go]): (Bytes, Handles, [Queue<u32>; 2])) -> usize {
    here.put(0).unwrap();
    go.get().unwrap();
    use_bytes(&bytes) + use_handles(&handles)
}

fn make(round: u32) -> (Bytes, Handles) {
    let builder = Queue::builder().capacity(4).replies(true);
    let bytes: Bytes =
        if round.is_multiple_of(2) { builder } else { builder.max_deliveries(2) }.build().unwrap();
    let handles = Handles::bounded(4).unwrap();
    for n in 0..3_u8 {
        bytes.put(vec![n; usize::from(n) * 300]).unwrap();
        handles.put((Queue::bounded(1).unwrap(), vec![n; usize::from(n) * 100])).unwrap();
    }
    (bytes, handles)
}

pub fn overwritten_queue() {
    pages_may_be_left();
    for round in 0..60 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (u64::from(round) << 32));
        let (bytes, handles) = make(round);
        let places = (arena::region(&bytes), arena::region(&handles));
        let [here, go] = [0, 1].map(|_| Queue::<u32>::bounded(2).unwrap());
        let load = (bytes.clone(), handles.clone(), [here.clone(), go.clone()]);
        let attached = Process::spawn(use_both, load).unwrap();
        here.get().unwrap();
        let lease = bytes.lease().unwrap();
        let mut ticket = bytes.request(vec![9; 9]).unwrap();
        let handle = handles.lease().unwrap();
        // Put back at the end, so that the regions can be freed: one whose head is damaged is kept, as nobody can say who uses
        // it.
        let starts = [Start::of(&bytes, QUEUE_AT), Start::of(&handles, QUEUE_AT)];
        overwrite(places.0, round, &mut random);
        overwrite(places.1, round + 1, &mut random);

        go.put(0).unwrap();
        use_bytes(&bytes);
        use_handles(&handles);
        let _ = lease.reply(1);
        let _ = ticket.wait_timeout(SOON);
        handle.commit();
        drop(ticket);
        let value = attached.join();
        assert!(value.is_ok(), "round {round}: {value:?}");

        // A newcomer may be refused, but is not harmed; nor may the sender.
        go.put(0).unwrap();
        let load = (bytes.clone(), handles.clone(), [here, go]);
        if let Ok(newcomer) = Process::spawn(use_both, load) {
            let value = newcomer.join();
            let fine = value.as_ref().map_or_else(|error| error.is_refused(), |_| true);
            assert!(fine, "round {round}: {value:?}");
        }
        starts.into_iter().for_each(Start::put_back);
        drop((bytes, handles));
        // Others are not concerned.
        let (bytes, _) = make(round);
        (0..3_u8).for_each(|n| assert_eq!(bytes.get().unwrap(), vec![n; usize::from(n) * 300]));
    }
}

pub fn overwritten_under_sleepers() {
    pages_may_be_left();
    for round in 0..8 {
        let mut random = Random(0x2545_f491_4f6c_dd1d ^ (u64::from(round) << 32));
        let queue = Queue::<u32>::bounded(2).unwrap();
        let threads = Queue::<u32>::bounded(2).unwrap();
        let place = arena::region(&queue);
        let sleepers = [0, 1].map(|_| {
            let sleep: fn((Queue<u32>, Queue<u32>)) -> bool = |(queue, threads)| {
                threads.put(thread()).unwrap();
                queue.get().is_ok()
            };
            let sleeper = Process::spawn(sleep, (queue.clone(), threads.clone())).unwrap();
            until_blocked(threads.get().unwrap());
            sleeper
        });
        let start = Start::of(&queue, QUEUE_AT);
        overwrite(place, round, &mut random);
        // They sleep on, or find out by and by; in any case they can be ended, and the family goes on.
        sleepers.iter().for_each(|sleeper| {
            if sleeper.is_alive() {
                sleeper.kill().unwrap();
            }
            sleeper.wait();
        });
        let _ = queue.try_get();
        start.put_back();
        let other = Queue::<u32>::bounded(1).unwrap();
        let child = Process::spawn(|queue: Queue<u32>| queue.put(3).unwrap(), other.clone());
        child.unwrap().join().unwrap();
        assert_eq!(other.get().unwrap(), 3);
    }
    // One that is killed amid it all leaves no more than others do.
    let queue = Queue::<u32>::bounded(2).unwrap();
    let child = Process::spawn(|queue: Queue<u32>| queue.get().unwrap(), queue.clone()).unwrap();
    kill(&child);
}
