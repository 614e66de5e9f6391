//! Which public types may be shared between threads, and looked at after a panic: a table, checked by the compiler.

use offspring::process::{Builder, ExitStatus, JoinError, Panic};
use offspring::queue::{
    self, DeadLetters, InPlace, Iter, Lease, Loan, PlainConsumer, PlainProducer,
};
use offspring::queue::{PlainQueue, PublishRefused, Replied, ReplyRefused, Stopped, Ticket};
use offspring::{Error, Main, Process, Queue, Refused};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unwind<T: UnwindSafe + RefUnwindSafe>() {}
fn unpin<T: Unpin>() {}

/// Each type has each trait.
macro_rules! table {
    ($($type:ty: $($has:ident)*,)*) => { $($($has::<$type>();)*)* };
}

#[test]
fn types_have_their_auto_traits() {
    table! {
        Process<u32>: send sync unwind unpin,
        // A value that was not made yet, and may not leave its thread then.
        Process<Rc<u32>>: send sync unwind unpin,
        Builder: send sync unwind unpin,
        ExitStatus: send sync unwind unpin,
        Panic: send sync unwind unpin,
        JoinError: send sync unpin,
        Error: send sync unpin,
        Main: unwind unpin,
    }
}

/// Compiles for a type without the trait only: with it, both would fit.
macro_rules! lacks {
    ($type:ty: $trait:ident) => {{
        trait Ambiguous<A> {
            fn some() {}
        }
        impl<T: ?Sized> Ambiguous<()> for T {}
        #[allow(dead_code)]
        struct Has;
        impl<T: ?Sized + $trait> Ambiguous<Has> for T {}
        <$type as Ambiguous<_>>::some();
    }};
}

#[test]
fn types_of_a_queue_have_their_auto_traits() {
    table! {
        Queue<u32, u32>: send sync unwind unpin,
        // Values are made where they are taken.
        Queue<Rc<u32>, Rc<u32>>: send sync unwind unpin,
        Ticket<u32>: send sync unwind unpin,
        Ticket<Rc<u32>>: send sync unwind unpin,
        queue::Builder<u32, u32>: send sync unwind unpin,
        queue::Builder<Rc<u32>>: send sync unwind unpin,
        Lease<u32, u32>: send sync unwind unpin,
        // A reply is none of its fields.
        Lease<u32, Rc<u32>>: send sync unwind unpin,
        Replied: send sync unwind unpin,
        ReplyRefused<u32, u32>: send sync unpin,
        Refused<u32>: send sync unpin,
        DeadLetters<'static, u32>: send sync unwind unpin,
        Iter<'static, u32>: send sync unpin,
        PlainQueue<u32>: send sync unwind unpin,
        queue::PlainBuilder<u32>: send sync unwind unpin,
        Loan<u32>: send sync unpin,
        InPlace<u32>: send sync unpin,
        PublishRefused<u32>: send sync unpin,
        PlainProducer<u32>: send unpin,
        PlainConsumer<u32>: send unpin,
        Stopped: send sync unpin,
    }
}

#[test]
fn value_that_was_taken_gives_its_traits_to_its_lease() {
    lacks!(Lease<Rc<u32>>: Send);
    lacks!(Lease<Rc<u32>>: Sync);
    lacks!(Lease<std::cell::Cell<u32>>: Sync);
    lacks!(Refused<Rc<u32>>: Send);
    lacks!(ReplyRefused<u32, Rc<u32>>: Send);
    lacks!(Lease<&'static mut u32>: UnwindSafe);
}

#[test]
fn guard_of_main_stays_in_its_thread() {
    lacks!(Main: Send);
    lacks!(Main: Sync);
}
