//! The thread that runs callbacks, so that nobody else waits for them. It starts with the first one.

use super::board::Board;
use super::gather::{Callback, Gather};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

type Order = (Board, Arc<Gather>, Callback);

#[derive(Default)]
pub(super) struct Callbacks(Mutex<Option<Sender<Order>>>);

impl Callbacks {
    /// Runs `callback`, which belongs to `gather`, some time soon; then rings.
    pub(super) fn run(&self, board: &Board, gather: Arc<Gather>, callback: Callback) {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = match sender.as_ref() {
            Some(sender) => sender.send((board.clone(), gather, callback)).err().map(|e| e.0),
            None => Some((board.clone(), gather, callback)),
        };
        let Some(order) = order else { return };
        let (new, orders) = channel::<Order>();
        let started = std::thread::Builder::new().name("pool-callbacks".into()).spawn(move || {
            // Ends with the pool, which has the other end.
            orders.into_iter().for_each(call);
        });
        match started {
            Ok(_) => {
                let _ = new.send(order);
                *sender = Some(new);
            }
            // No thread to be had: late is better than never.
            Err(_) => {
                drop(sender);
                call(order);
            }
        }
    }
}

fn call((board, gather, callback): Order) {
    // A panic was printed by the hook; it is the callback's own affair.
    let _ = catch_unwind(AssertUnwindSafe(callback));
    gather.called_back();
    drop(gather);
    board.done().notify_all(board.family());
}
