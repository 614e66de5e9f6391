//! What is tried: a queue's options and age, and a list of operations with deaths in them.

use offspring_core::queue::{Options, Start};
use proptest::prelude::*;
use proptest::sample::Index;

/// The largest message of these queues: three size classes.
pub(super) const MOST_MESSAGE: usize = 1200;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Put(usize),
    /// So many of one length each.
    PutMany(Vec<usize>),
    GetMany(usize),
    Get,
    Lease,
    Loan(usize),
    /// One of its loans, cut to so many bytes.
    Publish(Index, usize),
    ReturnLoan(Index),
    Commit(Index),
    GiveBack(Index),
    /// Gives a lease back and takes it again so often.
    Wear(Index, u16),
    Request(usize),
    Reply(Index, usize),
    Answer(Index),
    DropTicket(Index),
    TakeDead,
    Sweep,
    Close,
    Die,
}

/// One operation of one of the living, who dies at its point number `dies`, if it has so many.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) who: Index,
    pub(super) op: Op,
    pub(super) dies: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) options: Options,
    pub(super) start: Start,
    pub(super) acts: Vec<Act>,
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 4..=16usize,
        2 => 17..=256usize,
        2 => 257..=1024usize,
        1 => 1025..=MOST_MESSAGE,
        1 => MOST_MESSAGE + 1..=MOST_MESSAGE + 2,
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<Index>;
    let op = prop_oneof![
        8 => len().prop_map(Op::Put),
        3 => prop::collection::vec(len(), 1..=11).prop_map(Op::PutMany),
        6 => Just(Op::Get),
        3 => (1..=11usize).prop_map(Op::GetMany),
        5 => Just(Op::Lease),
        3 => len().prop_map(Op::Loan),
        3 => (index(), len()).prop_map(|(loan, len)| Op::Publish(loan, len)),
        1 => index().prop_map(Op::ReturnLoan),
        3 => index().prop_map(Op::Commit),
        3 => index().prop_map(Op::GiveBack),
        1 => (index(), 1..300u16).prop_map(|(lease, times)| Op::Wear(lease, times)),
        3 => len().prop_map(Op::Request),
        3 => (index(), len()).prop_map(|(lease, len)| Op::Reply(lease, len)),
        3 => index().prop_map(Op::Answer),
        1 => index().prop_map(Op::DropTicket),
        1 => Just(Op::TakeDead),
        2 => Just(Op::Sweep),
        1 => prop_oneof![9 => Just(Op::Sweep), 1 => Just(Op::Close)],
        1 => Just(Op::Die),
    ];
    let dies = prop::option::weighted(0.2, 0..14usize);
    (index(), op, dies).prop_map(|(who, op, dies)| Act { who, op, dies })
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let inline = prop_oneof![Just(0u32), Just(8), Just(48)];
    let limit = prop_oneof![4 => Just(0u8), 1 => Just(2)];
    let capacity = prop_oneof![3 => 1..=4u32, 1 => 5..=12u32];
    let options = (capacity, inline, any::<bool>(), limit).prop_map(
        |(capacity, inline, replies, most_deliveries)| Options {
            capacity,
            inline,
            most_message: MOST_MESSAGE as u64,
            class_bytes: 1,
            replies,
            most_deliveries,
        },
    );
    // Every wrap lies within a few operations.
    let start = (
        prop_oneof![Just(0), (1u64 << 39) - 6..1 << 39],
        prop_oneof![Just(0), (1u32 << 24) - 4..1 << 24],
        prop_oneof![Just(0), u64::MAX - 4..=u64::MAX],
        prop_oneof![Just(0), u32::MAX - 3..=u32::MAX],
    )
        .prop_map(|(lap, generation, given_back, epoch)| Start {
            lap,
            generation,
            given_back,
            epoch,
        });
    let acts = prop::collection::vec(act(), 1..80);
    (options, start, acts).prop_map(|(options, start, acts)| Case { options, start, acts })
}
