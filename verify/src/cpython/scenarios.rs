//! The scenarios: in Python, and which of ours plays the same.

use super::ours::Play;

/// One of them.
pub struct Scenario {
    pub name: &'static str,
    /// Prints how the survivor fared; an alarm ends it if it is stuck.
    pub python: &'static str,
    pub ours: Play,
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "a reader is killed while it waits for an item",
        python: r"
import multiprocessing as m, os, signal, time, queue
signal.alarm(30)
c = m.get_context('fork'); q = c.Queue()
p = c.Process(target=q.get); p.start(); time.sleep(0.7)
os.kill(p.pid, 9); p.join()
q.put('item')
try: q.get(timeout=3); print('the next reader gets the item')
except queue.Empty: print('the item is there, and nobody can get it')
q.cancel_join_thread()
",
        ours: Play::ReaderKilledWaiting,
    },
    Scenario {
        name: "a writer is killed in the midst of a large item",
        python: r"
import multiprocessing as m, os, signal, time, threading
signal.alarm(30)
c = m.get_context('fork'); q = c.Queue()
p = c.Process(target=lambda: (q.put(b'x' * 50_000_000), time.sleep(60))); p.start(); time.sleep(1.0)
os.kill(p.pid, 9); p.join()
got = []
t = threading.Thread(target=lambda: got.append(q.get(timeout=3)), daemon=True); t.start(); t.join(6)
print('the reader goes on' if got and got[0] == 'next' else 'the reader is stuck in half an item' if t.is_alive() else 'the reader fails: nothing comes')
os._exit(0)
",
        ours: Play::WriterKilledWriting,
    },
    Scenario {
        name: "a writer is killed, another puts",
        python: r"
import multiprocessing as m, os, signal, time, queue
signal.alarm(30)
c = m.get_context('fork'); q = c.SimpleQueue()
p = c.Process(target=lambda: q.put(b'x' * 50_000_000)); p.start(); time.sleep(0.7)
os.kill(p.pid, 9); p.join()
w = c.Process(target=lambda: q.put('next')); w.start(); w.join(3)
print('the other puts' if not w.is_alive() else 'the other writer is stuck')
w.kill()
",
        ours: Play::OtherWriterPuts,
    },
    Scenario {
        name: "a worker is killed with an item in hand",
        python: r"
import multiprocessing as m, os, signal, time, threading
signal.alarm(30)
c = m.get_context('fork'); q = c.JoinableQueue()
def work(q):
    q.get(); time.sleep(60)
p = c.Process(target=work, args=(q,)); q.put('item'); p.start(); time.sleep(0.7)
os.kill(p.pid, 9); p.join()
t = threading.Thread(target=q.join, daemon=True); t.start(); t.join(3)
print('join never returns: the item is gone' if t.is_alive() else 'the item is done')
os._exit(0)
",
        ours: Play::WorkerKilledHolding,
    },
    Scenario {
        name: "a worker of a pool is killed at its task",
        python: r"
import multiprocessing as m, os, signal, time
signal.alarm(30)
c = m.get_context('fork')
def task(i):
    if i == 0: os.kill(os.getpid(), 9)
    return i
with c.Pool(2) as p:
    r = p.map_async(task, range(4), chunksize=1)
    try: print('the results come', r.get(timeout=4))
    except m.TimeoutError: print('the results never come')
    os._exit(0)
",
        ours: Play::RequestServedAgain,
    },
];
