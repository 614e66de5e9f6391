//! The questions, who answers them, and what is to be reached.

use crate::Result;
use crate::cores::Cores;
use crate::message::{Line, Word};
use crate::ours;
use crate::peers::{array_queue, crossbeam, iceoryx, ipc, pools, python};
use crate::raw::{blocks, futex, process, ring, words};

/// Does something this many times and says how many nanoseconds that took.
pub type Run = fn(u64, Cores) -> Result<u64>;

/// In what a row is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds for one operation: less is better.
    Nanos,
    /// Millions of messages a second: more is better.
    Rate,
    /// Messages of 1 MiB, in 10^9 bytes a second: more is better.
    Bytes,
}

impl Unit {
    /// Its name behind a figure.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Rate => "M/s",
            Self::Bytes => "GB/s",
        }
    }

    /// The figure for `count` operations in `nanos`.
    pub fn figure(self, count: u64, nanos: u64) -> f64 {
        let (count, nanos) = (count as f64, nanos.max(1) as f64);
        match self {
            Self::Nanos => nanos / count,
            Self::Rate => count * 1e3 / nanos,
            Self::Bytes => count * f64::from(1 << 20) / nanos,
        }
    }

    /// Whether this ratio of ours to theirs reaches the target.
    pub fn meets(self, ratio: f64, target: f64) -> bool {
        match self {
            Self::Nanos => ratio <= target,
            Self::Rate | Self::Bytes => ratio >= target,
        }
    }

    /// The target in words.
    pub fn target(self, target: f64) -> String {
        match self {
            Self::Nanos => format!("<= {target}x"),
            Self::Rate | Self::Bytes => format!(">= {target}x"),
        }
    }
}

/// Whom we are compared with, and the ratio of ours to theirs to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// Its measurement.
    pub run: Run,
    /// The ratio to reach: at most this for times, at least this for rates.
    pub target: f64,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, beginning with the question's: `r3-8B` belongs to `r3`.
    pub name: &'static str,
    /// The question in words.
    pub question: &'static str,
    /// In what it is answered.
    pub unit: Unit,
    /// Our measurement.
    pub ours: Run,
    /// The peers.
    pub peers: &'static [Peer],
}

const fn peer(name: &'static str, run: Run, target: f64) -> Peer {
    Peer { name, run, target }
}

/// Every question, in order.
pub const ROWS: &[Row] = &[
    Row {
        name: "r1-8B",
        question: "many-to-many ring: put and get by one thread, 8 bytes",
        unit: Unit::Nanos,
        ours: ours::ring::alone::<Word>,
        peers: &[peer("ArrayQueue", array_queue::alone::<Word>, 1.2)],
    },
    Row {
        name: "r1-64B",
        question: "the same, 64 bytes",
        unit: Unit::Nanos,
        ours: ours::ring::alone::<Line>,
        peers: &[peer("ArrayQueue", array_queue::alone::<Line>, 1.2)],
    },
    Row {
        name: "r2-1p1c-8B",
        question: "the ring from one process to another, 8 bytes; the peer between threads",
        unit: Unit::Rate,
        ours: ours::ring::one_to_one::<Word>,
        peers: &[peer("ArrayQueue", array_queue::one_to_one::<Word>, 1.0)],
    },
    Row {
        name: "r2-1p1c-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::ring::one_to_one::<Line>,
        peers: &[peer("ArrayQueue", array_queue::one_to_one::<Line>, 1.0)],
    },
    Row {
        name: "r2-2p2c-8B",
        question: "the ring from two processes to two, 8 bytes; the peer between threads",
        unit: Unit::Rate,
        ours: ours::ring::two_to_two::<Word>,
        peers: &[peer("ArrayQueue", array_queue::two_to_two::<Word>, 1.0)],
    },
    Row {
        name: "r2-2p2c-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::ring::two_to_two::<Line>,
        peers: &[peer("ArrayQueue", array_queue::two_to_two::<Line>, 1.0)],
    },
    Row {
        name: "r3-8B",
        question: "blocking typed queue from one process to another, 8 bytes",
        unit: Unit::Rate,
        ours: ours::facade::one_to_one::<Word>,
        peers: &[
            peer("crossbeam-channel", crossbeam::one_to_one::<Word>, 1.0),
            peer("ipc-channel", ipc::one_to_one::<Word>, 20.0),
            peer("iceoryx2", iceoryx::one_to_one::<Word>, 15.0),
            peer("Python", python::one_to_one::<Word>, 100.0),
        ],
    },
    Row {
        name: "r3-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::facade::one_to_one::<Line>,
        peers: &[
            peer("crossbeam-channel", crossbeam::one_to_one::<Line>, 1.0),
            peer("ipc-channel", ipc::one_to_one::<Line>, 15.0),
            peer("iceoryx2", iceoryx::one_to_one::<Line>, 10.0),
            peer("Python", python::one_to_one::<Line>, 50.0),
        ],
    },
    Row {
        name: "r3-batch-8B",
        question: "the same in batches of 32, `put_many` and `get_many`, 8 bytes",
        unit: Unit::Rate,
        ours: ours::spsc::queue_in_batches::<Word>,
        peers: &[peer("crossbeam-channel", crossbeam::one_to_one::<Word>, 1.0)],
    },
    Row {
        name: "r3-batch-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::spsc::queue_in_batches::<Line>,
        peers: &[peer("crossbeam-channel", crossbeam::one_to_one::<Line>, 1.0)],
    },
    Row {
        name: "r4-8B",
        question: "blocking ring of plain data from one producer to one consumer, processes, 8 bytes",
        unit: Unit::Rate,
        ours: ours::plain::one_by_one::<Word>,
        peers: &[peer("bare ring", ring::one_by_one::<Word>, 0.9)],
    },
    Row {
        name: "r4-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::plain::one_by_one::<Line>,
        peers: &[peer("bare ring", ring::one_by_one::<Line>, 0.9)],
    },
    Row {
        name: "r4-batch-8B",
        question: "the same in batches of 32, 8 bytes; the peer publishes 32 at a time",
        unit: Unit::Rate,
        ours: ours::plain::in_slices::<Word>,
        peers: &[peer("bare ring", ring::in_batches::<Word>, 0.8)],
    },
    Row {
        name: "r4-batch-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::plain::in_slices::<Line>,
        peers: &[peer("bare ring", ring::in_batches::<Line>, 0.8)],
    },
    Row {
        name: "r4-values-8B",
        question: "blocking ring of serialised values, one by one, 8 bytes",
        unit: Unit::Rate,
        ours: ours::spsc::one_by_one::<Word>,
        peers: &[peer("bare ring", ring::one_by_one::<Word>, 0.9)],
    },
    Row {
        name: "r4-values-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::spsc::one_by_one::<Line>,
        peers: &[peer("bare ring", ring::one_by_one::<Line>, 0.9)],
    },
    Row {
        name: "r4-values-batch-8B",
        question: "the same in batches of 32, 8 bytes",
        unit: Unit::Rate,
        ours: ours::spsc::in_batches::<Word>,
        peers: &[peer("bare ring", ring::in_batches::<Word>, 0.8)],
    },
    Row {
        name: "r4-values-batch-64B",
        question: "the same, 64 bytes",
        unit: Unit::Rate,
        ours: ours::spsc::in_batches::<Line>,
        peers: &[peer("bare ring", ring::in_batches::<Line>, 0.8)],
    },
    Row {
        name: "r5-spinning",
        question: "round trip between two processes on two cores, both spinning",
        unit: Unit::Nanos,
        ours: ours::facade::ping_pong_spinning,
        peers: &[peer("raw words", words::ping_pong, 1.3)],
    },
    Row {
        name: "r5-sleeping-1core",
        question: "round trip between two processes on one core, blocking",
        unit: Unit::Nanos,
        ours: ours::facade::ping_pong_on_one_core,
        peers: &[peer("raw futex", futex::on_one_core, 1.1)],
    },
    Row {
        name: "r5-sleeping-2cores",
        question: "round trip between two processes on two cores, blocking",
        unit: Unit::Nanos,
        ours: ours::facade::ping_pong_on_two_cores,
        peers: &[peer("raw futex", futex::on_two_cores, 1.1)],
    },
    Row {
        name: "r6-copied",
        question: "1 MiB from one process to another, every byte written and summed, copied in and out",
        unit: Unit::Bytes,
        ours: ours::blocks::copied,
        peers: &[peer("bare block ring", blocks::copied, 0.95)],
    },
    Row {
        name: "r6-in-place",
        question: "the same, written and read where it lies",
        unit: Unit::Bytes,
        ours: ours::blocks::in_place,
        peers: &[
            peer("iceoryx2", iceoryx::blocks, 5.0),
            peer("bare block ring", blocks::copied, 0.95),
            peer("bare blocks in place", blocks::in_place, 0.95),
        ],
    },
    Row {
        name: "r6-parts",
        question: "the same by the safe methods, which copy a few KiB at a time",
        unit: Unit::Bytes,
        ours: ours::blocks::in_parts,
        peers: &[peer("iceoryx2", iceoryx::blocks, 5.0)],
    },
    Row {
        name: "r8-spawn",
        question: "a process that does nothing, executed, started and joined",
        unit: Unit::Nanos,
        ours: ours::process::spawn,
        peers: &[peer("posix_spawn", process::posix_spawn, 1.15)],
    },
    Row {
        name: "r8-forkserver",
        question: "the same by a fork server",
        unit: Unit::Nanos,
        ours: ours::process::forkserver,
        peers: &[peer("bare fork server", process::forkserver, 1.15)],
    },
    Row {
        name: "r9-roundtrip",
        question: "pool of two processes: a task that does nothing, waited for before the next",
        unit: Unit::Nanos,
        ours: ours::pool::one_after_the_other,
        peers: &[
            peer("procspawn", pools::procspawn_one_after_the_other, 0.25),
            peer("Python", pools::python_one_after_the_other, 0.25),
        ],
    },
    Row {
        name: "r9-tasks",
        question: "pool: such tasks given one by one, then waited for",
        unit: Unit::Rate,
        ours: ours::pool::one_by_one,
        peers: &[peer("Python", pools::python_one_by_one, 20.0)],
    },
    Row {
        name: "r9-map",
        question: "pool: such tasks given in one call; the second peer has threads",
        unit: Unit::Rate,
        ours: ours::pool::map,
        peers: &[peer("Python", pools::python_map, 10.0), peer("threadpool", pools::threads, 0.3)],
    },
];

/// The rows with these names: a row's own, or a question's for all its rows. None named: all.
pub fn select(names: &[String]) -> Result<Vec<&'static Row>> {
    let named = |name: &str, row: &Row| {
        let of_question = row.name.split('-').next() == Some(name);
        row.name.eq_ignore_ascii_case(name) || of_question
    };
    for name in names {
        if !ROWS.iter().any(|row| named(&name.to_lowercase(), row)) {
            return Err(format!("there is no row {name}: `list` names them").into());
        }
    }
    let chosen =
        |row: &&Row| names.is_empty() || names.iter().any(|name| named(&name.to_lowercase(), row));
    Ok(ROWS.iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen: &[&str]) -> Vec<&'static str> {
        let chosen: Vec<_> = chosen.iter().map(ToString::to_string).collect();
        select(&chosen).unwrap().iter().map(|row| row.name).collect()
    }

    #[test]
    fn a_question_selects_all_its_rows() {
        assert_eq!(names(&["R1"]), ["r1-8B", "r1-64B"]);
        assert_eq!(names(&["r3-8b", "r1-64B"]), ["r1-64B", "r3-8B"]);
        assert_eq!(names(&[]).len(), ROWS.len());
    }

    #[test]
    fn an_unknown_row_is_refused() {
        assert!(select(&["r99".into()]).is_err());
    }

    #[test]
    fn less_is_better_for_times_and_more_for_rates() {
        assert!(Unit::Nanos.meets(1.1, 1.2) && !Unit::Nanos.meets(1.3, 1.2));
        assert!(Unit::Rate.meets(1.1, 1.0) && !Unit::Rate.meets(0.9, 1.0));
        assert_eq!(Unit::Rate.figure(3_000, 1_000), 3_000.0);
        assert_eq!(Unit::Nanos.figure(1_000, 3_000), 3.0);
    }
}
