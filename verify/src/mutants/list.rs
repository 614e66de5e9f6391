//! The mistakes in steps: what is left out, done in another order, or done by a store where a CAS must decide.
//!
//! `MUTANT` in the text that is planted is true in the run of that mutant.

use super::Layer::{self, Kill, KillPool, Lin, Loom, Props, Step};
use super::Mutant;

const PUT: &str = "core/src/queue/put.rs";
const TAKE: &str = "core/src/queue/take.rs";
const LEASE: &str = "core/src/queue/lease.rs";
const LOAN: &str = "core/src/queue/loan.rs";
const TICKET: &str = "core/src/queue/ticket.rs";
const SWEEP: &str = "core/src/queue/sweep.rs";
const CLOSE: &str = "core/src/queue/close.rs";
const BLOCK: &str = "core/src/queue/block.rs";
const BATCH: &str = "core/src/queue/batch.rs";
const QUEUE: &str = "core/src/queue/mod.rs";
const MEMBER: &str = "core/src/member.rs";
const SEMAPHORE: &str = "core/src/semaphore/mod.rs";
const BLOCK_ON: &str = "core/src/block_on.rs";
const WAIT: &str = "core/src/wait.rs";
const PARKING: &str = "core/src/parking.rs";
const POOL_BOARD: &str = "src/pool/board.rs";
const POOL_WORKER: &str = "src/pool/worker.rs";
const POOL_LOSS: &str = "src/pool/loss.rs";

const fn mutant(
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    layers: &'static [Layer],
) -> Mutant {
    Mutant { what, file, from, to, layers }
}

/// All of them.
pub(super) const ALL: &[Mutant] = &[
    // The crash points of a put.
    mutant(
        "put: published before it is written",
        PUT,
        "        self.write_slot(slot, message);\n        self.publish(slot.0, p, false);",
        "        if MUTANT {\n            self.publish(slot.0, p, false);\n        }\n        self.write_slot(slot, message);\n        if !MUTANT {\n            self.publish(slot.0, p, false);\n        }",
        &[Loom("queue: a put is whole"), Step("Put, 0 of 2 Inline")],
    ),
    mutant(
        "put: FULL before its block is QUEUED",
        PUT,
        "        self.storage.block(block).word.store(queued.0, Ordering::Release);\n        hit(Point::PutBlockQueued);",
        "        if MUTANT {\n            self.store_full(slot, p, true);\n        }\n        self.storage.block(block).word.store(queued.0, Ordering::Release);\n        hit(Point::PutBlockQueued);",
        &[Loom("queue: a put of a block"), Step("Put, 0 of 2 Block")],
    ),
    mutant(
        "put: the block is not QUEUED at all",
        PUT,
        "let queued = owned.to(BlockState::Queued, p.low()).with_ticket(ticket);",
        "let queued = if MUTANT { owned } else { owned.to(BlockState::Queued, p.low()).with_ticket(ticket) };",
        &[Props("queue"), Step("Put, 0 of 2 Block")],
    ),
    mutant(
        "put: nobody is woken",
        QUEUE,
        "        self.readers().notify_one(self.family);\n        self.after_commit();",
        "        if !MUTANT {\n            self.readers().notify_one(self.family);\n        }\n        self.after_commit();",
        &[
            Step("Put, 0 of 2 Inline, a Reader asleep"),
            Loom("queue: a sleeping reader gets the item"),
        ],
    ),
    mutant(
        "put: the flag is not looked at",
        PUT,
        "        if self.flagged() {\n            return Claim::Closed;",
        "        if !MUTANT && self.flagged() {\n            return Claim::Closed;",
        &[Step("Put, 0 of 2 Inline, closing"), Props("queue")],
    ),
    // The crash points of a loan that a put does not have.
    mutant(
        "loan: published without its length",
        LOAN,
        "        self.note_len(loan.block, loan.len as u64);",
        "        if !MUTANT {\n            self.note_len(loan.block, loan.len as u64);\n        }",
        &[Props("queue")],
    ),
    mutant(
        "loan: what is given back stays with who had it",
        LOAN,
        "            self.free_block(loan.block);",
        "            if !MUTANT {\n                self.free_block(loan.block);\n            }",
        &[Props("queue")],
    ),
    mutant(
        "loan: what is refused is given back",
        LOAN,
        "            Err(why) => Err((loan, why)),",
        "            Err(why) => {\n                if MUTANT {\n                    self.free_block(loan.block);\n                }\n                Err((loan, why))\n            }",
        &[Props("queue")],
    ),
    // The crash points of a get.
    mutant(
        "get: the items passed are not looked at again",
        TAKE,
        "                        if !self.is_still(trail) {",
        "                        if !MUTANT && !self.is_still(trail) {",
        &[Loom("queue: readers pass"), Lin],
    ),
    mutant(
        "get: the hint goes beyond a writer that was passed",
        TAKE,
        "let first = trail.first().unwrap_or(p.next(capacity));",
        "let first = if MUTANT { p.next(capacity) } else { trail.first().unwrap_or(p.next(capacity)) };",
        &[Loom("queue: readers pass"), Lin],
    ),
    mutant(
        "get: what was given back moves the hint",
        TAKE,
        "return Ok(Some(Found::Slot(Position::at(w.lap(), index), mine, None)));",
        "let p = Position::at(w.lap() + u64::from(MUTANT), index);\n                    return Ok(Some(Found::Slot(\n                        Position::at(w.lap(), index),\n                        mine,\n                        if MUTANT { Some(p) } else { None },\n                    )));",
        &[Props("queue"), Step("Get, 2 of 2 Inline, one dead"), Kill],
    ),
    mutant(
        "get: a block's slot is emptied before the block is taken",
        TAKE,
        "        let leased = self.known(block) && self.lease_queued(block, p);",
        "        if MUTANT {\n            self.store_empty(slot, p);\n        }\n        let leased = self.known(block) && self.lease_queued(block, p);",
        &[Step("Get, 1 of 2 Block"), Loom("queue: a get of a block")],
    ),
    mutant(
        "get: what was given back in blocks is not found",
        TAKE,
        "            if w.state() == BlockState::Returned {\n                let mine",
        "            if !MUTANT && w.state() == BlockState::Returned {\n                let mine",
        &[Props("queue"), Step("GiveBack, 1 of 2 Block")],
    ),
    mutant(
        "get: a scan clears what came after it",
        TAKE,
        "            calm.scanned.fetch_max(seen, Ordering::AcqRel);",
        "            let seen = if MUTANT { calm.pend.load(Ordering::Acquire) } else { seen };\n            calm.scanned.fetch_max(seen, Ordering::AcqRel);",
        &[Loom("queue: a sleeping reader gets what"), Loom("queue: what is given back"), Kill],
    ),
    mutant(
        "get: no look for the dead before \"empty\"",
        TAKE,
        "if core::mem::take(thorough) { self.recover() } else { self.sweep_if_due() }",
        "if MUTANT { false } else if core::mem::take(thorough) { self.recover() } else { self.sweep_if_due() }",
        &[Loom("queue: a get takes whole"), Step("Get, 1 of 2 Inline")],
    ),
    mutant(
        "get: says Closed at the flag, without the mark",
        TAKE,
        "                        if self.flagged() {\n                            self.mark_closed(p, w);",
        "                        if MUTANT && self.flagged() {\n                            return Err(GetError::Closed);\n                        }\n                        if self.flagged() {\n                            self.mark_closed(p, w);",
        &[Loom("queue: closed is said"), Step("Lease, 1 of 2 Inline, closing")],
    ),
    mutant(
        "get: nobody sets the mark",
        TAKE,
        "                        if self.flagged() {\n                            self.mark_closed(p, w);\n                            continue;",
        "                        if !MUTANT && self.flagged() {\n                            self.mark_closed(p, w);\n                            continue;",
        &[Step("Close, 0 of 2 Inline"), Props("queue")],
    ),
    mutant(
        "get: a writer is not woken",
        TAKE,
        "        hit(Point::GetHinted);\n        self.writers().notify_one(self.family);",
        "        hit(Point::GetHinted);\n        if !MUTANT {\n            self.writers().notify_one(self.family);\n        }",
        &[Step("Get, 2 of 2 Inline, a Writer asleep"), Loom("queue: a sleeping writer")],
    ),
    // Leases and replies.
    mutant(
        "lease: the slot says block before the block is QUEUED",
        LEASE,
        "        self.storage.block(block).word.store(queued.0, Ordering::Release);\n        hit(Point::LeaseQueued);",
        "        if MUTANT {\n            let moved = SlotWord::new(w.lap(), w.generation(), true, self.me, SlotState::Reading);\n            slot.word.store(moved.0, Ordering::Release);\n        }\n        self.storage.block(block).word.store(queued.0, Ordering::Release);\n        hit(Point::LeaseQueued);",
        &[Step("Lease, 1 of 2 Inline"), Loom("queue: a lease of a slot")],
    ),
    mutant(
        "lease: taken by a plain store",
        LEASE,
        "            if self.swap_block(block, w, w.to(BlockState::Leased, u32::from(self.me))) {\n                return true;",
        "            if MUTANT {\n                let to = w.to(BlockState::Leased, u32::from(self.me));\n                self.storage.block(block).word.store(to.0, Ordering::Release);\n                return true;\n            }\n            if self.swap_block(block, w, w.to(BlockState::Leased, u32::from(self.me))) {\n                return true;",
        &[Loom("queue: a requester may give up"), Kill],
    ),
    mutant(
        "commit: forgets that somebody waits",
        LEASE,
        "            if !w.ticket() {\n                // ORDER: Release, Q2.",
        "            if MUTANT || !w.ticket() {\n                // ORDER: Release, Q2.",
        &[Step("Commit, 0 of 2 Request, a Requester asleep"), Props("queue")],
    ),
    mutant(
        "give back: by a plain store",
        LEASE,
        "            if self.swap_block(lease.block, w, back) {\n                break back;",
        "            if MUTANT {\n                self.storage.block(lease.block).word.store(back.0, Ordering::Release);\n                break back;\n            }\n            if self.swap_block(lease.block, w, back) {\n                break back;",
        &[Loom("queue: a requester may give up"), Kill],
    ),
    mutant(
        "give back: counted before it is there",
        LEASE,
        "            let back = w.given_back(limit);",
        "            let back = w.given_back(limit);\n            if MUTANT {\n                self.count_given_back();\n            }",
        &[Loom("queue: what is given back"), Loom("queue: a sleeping reader gets what"), Kill],
    ),
    mutant(
        "give back: not counted",
        LEASE,
        "        self.storage.head().calm.pend.fetch_add(1, Ordering::AcqRel);",
        "        if !MUTANT {\n            self.storage.head().calm.pend.fetch_add(1, Ordering::AcqRel);\n        }",
        &[Step("GiveBack, 1 of 2 Block"), Props("queue")],
    ),
    mutant(
        "give back: nobody is woken",
        LEASE,
        "        hit(Point::ReturnCounted);\n        self.storage.given_back();\n        self.readers().notify_all(self.family);",
        "        hit(Point::ReturnCounted);\n        self.storage.given_back();\n        if !MUTANT {\n            self.readers().notify_all(self.family);\n        }",
        &[
            Step("GiveBack, 1 of 2 Block, a Reader asleep"),
            Loom("queue: a sleeping reader gets what"),
        ],
    ),
    mutant(
        "reply: by a plain store",
        LEASE,
        "            if self.swap_block(lease.block, w, w.to(BlockState::Replied, result)) {\n                break;",
        "            if MUTANT {\n                let to = w.to(BlockState::Replied, result);\n                self.storage.block(lease.block).word.store(to.0, Ordering::Release);\n                break;\n            }\n            if self.swap_block(lease.block, w, w.to(BlockState::Replied, result)) {\n                break;",
        &[Loom("queue: a requester may give up"), Kill],
    ),
    mutant(
        "reply: the result stays its writer's",
        LEASE,
        "let reply = self.block_word(result).to(BlockState::Reply, lease.block);",
        "let reply = if MUTANT { self.block_word(result) } else { self.block_word(result).to(BlockState::Reply, lease.block) };",
        &[Step("Reply, 1 of 2 Request"), Props("queue")],
    ),
    mutant(
        "reply: the requester is not woken",
        LEASE,
        "        hit(Point::ReplyDone);\n        self.storage.block(lease.block).bell.notify_all(self.family);",
        "        hit(Point::ReplyDone);\n        if !MUTANT {\n            self.storage.block(lease.block).bell.notify_all(self.family);\n        }",
        &[Step("Reply, 0 of 2 Request, a Requester asleep")],
    ),
    mutant(
        "reply: a requester that is gone is not looked for",
        LEASE,
        "        let gone = w.ticket()\n",
        "        let gone = !MUTANT\n            && w.ticket()\n",
        &[Props("queue"), Loom("queue: a requester may give up"), Kill],
    ),
    mutant(
        "ticket: the request is freed before the result",
        TICKET,
        "        let w = self.block_word(request);\n        let result = w.aux();\n        if result != NO_BLOCK && self.known(result) {",
        "        let w = self.block_word(request);\n        let result = w.aux();\n        if MUTANT {\n            self.storage.block(request).word.store(w.freed().0, Ordering::Release);\n        }\n        if result != NO_BLOCK && self.known(result) {",
        &[Loom("queue: requester and replier"), Loom("queue: a requester may give up"), Kill],
    ),
    mutant(
        "ticket: giving up leaves the answer",
        TICKET,
        "BlockState::Replied if w.ticket() => return self.free_answered(ticket.block),",
        "BlockState::Replied if !MUTANT && w.ticket() => return self.free_answered(ticket.block),",
        &[Step("DropAnswered, 0 of 2"), Props("queue")],
    ),
    // The sweep.
    mutant(
        "sweep: a half-written slot is made full",
        SWEEP,
        "        } else if self.swap_slot(index, w, SlotWord::empty(w.lap() + 1)) {",
        "        } else if self.swap_slot(index, w, if MUTANT { SlotWord::new(w.lap(), 0, false, 0, SlotState::Full) } else { SlotWord::empty(w.lap() + 1) }) {",
        &[Step("Put, 0 of 2 Inline"), Loom("queue: a put is whole")],
    ),
    mutant(
        "sweep: a half-read item is dropped",
        SWEEP,
        "        if reading && !moved {",
        "        if !MUTANT && reading && !moved {",
        &[Step("Get, 1 of 2 Inline"), Loom("queue: a get takes whole")],
    ),
    mutant(
        "sweep: what it puts back is not counted",
        SWEEP,
        "                hit(Point::SweepReverted);\n                self.count_given_back();",
        "                hit(Point::SweepReverted);\n                if !MUTANT {\n                    self.count_given_back();\n                }",
        &[Step("Get, 2 of 2 Inline"), Props("queue"), Kill],
    ),
    mutant(
        "sweep: the slot is repaired, its block is not",
        SWEEP,
        "            if !self.known(block) {\n                break;",
        "            if MUTANT || !self.known(block) {\n                break;",
        &[Step("Put, 0 of 2 Block"), Props("queue")],
    ),
    mutant(
        "sweep: the block's position is not tested",
        SWEEP,
        "            if !b.is(BlockState::Queued, p.low()) {\n                break;",
        "            if MUTANT && b.state() != BlockState::Queued || !MUTANT && !b.is(BlockState::Queued, p.low()) {\n                break;",
        &[Props("queue"), Step("Put, 1 of 2 Block, wrapped"), Kill],
    ),
    mutant(
        "sweep: a block that changed meanwhile is left",
        SWEEP,
        "                } else {\n                    self.freed(block);\n                }\n            }\n        }",
        "                } else {\n                    self.freed(block);\n                }\n            }\n            if MUTANT {\n                break;\n            }\n        }",
        &[Loom("queue: a requester may give up"), Loom("queue: a get of a block"), Kill],
    ),
    mutant(
        "sweep: the slot is not looked at again before its block is freed",
        SWEEP,
        "            if self.slot_word(index) != w {\n                return;",
        "            if !MUTANT && self.slot_word(index) != w {\n                return;",
        &[Loom("queue: sweepers race"), Loom("queue: one gets what another"), Kill],
    ),
    mutant(
        "sweep: what the dead was filling stays",
        SWEEP,
        "BlockState::Owned => self.dead(w.member()) && self.sweep_free(block, w),",
        "BlockState::Owned => !MUTANT && self.dead(w.member()) && self.sweep_free(block, w),",
        &[Step("Put, 0 of 2 Block"), Props("queue")],
    ),
    mutant(
        "sweep: the leases of the dead stay",
        SWEEP,
        "            BlockState::Leased if self.dead(w.member()) => {",
        "            BlockState::Leased if !MUTANT && self.dead(w.member()) => {",
        &[Step("Lease, 1 of 2 Block"), Props("queue")],
    ),
    mutant(
        "sweep: the tickets of the dead stay",
        SWEEP,
        "                if w.ticket() && self.dead_link(block) {",
        "                if !MUTANT && w.ticket() && self.dead_link(block) {",
        &[Step("Put, 0 of 2 Request"), Props("queue"), Kill],
    ),
    mutant(
        "sweep: answers to the dead stay",
        SWEEP,
        "                if !w.ticket() || !self.dead_link(block) {",
        "                if MUTANT || !w.ticket() || !self.dead_link(block) {",
        &[Step("TakeAnswer, 0 of 2"), Props("queue")],
    ),
    mutant(
        "sweep: a result is freed though its request has it",
        SWEEP,
        "                !answered && self.sweep_free(block, w)",
        "                (MUTANT || !answered) && self.sweep_free(block, w)",
        &[Step("Reply, 1 of 2 Request"), Loom("queue: requester and replier"), Props("queue")],
    ),
    mutant(
        "sweep: the request is not looked at again before its result is freed",
        SWEEP,
        "                        if self.block_word(block) != w {\n                            return true;",
        "                        if !MUTANT && self.block_word(block) != w {\n                            return true;",
        &[Loom("queue: replier and sweeper"), Loom("queue: sweepers race"), Kill],
    ),
    mutant(
        "sweep: what another gave back and died is not counted",
        SWEEP,
        "            if returned {",
        "            if !MUTANT && returned {",
        &[Step("GiveBack, 1 of 2 Block"), Step("Lease, 1 of 2 Block"), Props("queue")],
    ),
    mutant(
        "sweep: says it is done for deaths that came meanwhile",
        SWEEP,
        "            let calm = &self.storage.head().calm;\n            if !more {",
        "            let calm = &self.storage.head().calm;\n            let epoch = if MUTANT { self.family.death_epoch() } else { epoch };\n            if !more {",
        &[Loom("queue: sweepers race"), Loom("queue: requester and replier"), Kill],
    ),
    mutant(
        "sweep: frees nobody's index",
        SWEEP,
        "                self.storage.members().free_if(*index, *process);",
        "                if !MUTANT {\n                    self.storage.members().free_if(*index, *process);\n                }",
        &[Step("Put, 0 of 2 Inline"), Props("queue")],
    ),
    mutant(
        "sweep: frees the indices before the words",
        SWEEP,
        "            hit(Point::SweepBegun);",
        "            if MUTANT {\n                for (index, process) in &dead[..count] {\n                    self.storage.members().free_if(*index, *process);\n                }\n            }\n            hit(Point::SweepBegun);",
        &[Step("Put, 0 of 2 Inline"), Props("queue")],
    ),
    mutant(
        "sweep: readers are not woken",
        SWEEP,
        "            self.readers().notify_all(self.family);\n            self.writers().notify_all(self.family);",
        "            if !MUTANT {\n                self.readers().notify_all(self.family);\n                self.writers().notify_all(self.family);\n            }",
        &[Loom("queue: a sleeping"), Kill],
    ),
    mutant(
        "recover: trusts that the epoch tells every death",
        QUEUE,
        "        if dead {\n            self.sweep();",
        "        if !MUTANT && dead {\n            self.sweep();",
        &[Loom("queue: sweepers race"), Kill],
    ),
    // Close.
    mutant(
        "close: the mark by a plain store",
        CLOSE,
        "        if self.swap_slot(p.index(), empty, mark) {",
        "        if MUTANT {\n            self.storage.slot(p.index()).word.store(mark.0, Ordering::Release);\n        } else if self.swap_slot(p.index(), empty, mark) {",
        &[Loom("queue: closed is said"), Kill],
    ),
    mutant(
        "close: the slots are not looked at",
        CLOSE,
        "                SlotState::Writing | SlotState::Reading => held = true,",
        "                SlotState::Writing | SlotState::Reading => held = !MUTANT,",
        &[Loom("queue: closed is said"), Loom("queue: two readers share"), Kill],
    ),
    mutant(
        "close: the leases are not looked at",
        CLOSE,
        "                BlockState::Leased => *others = true,",
        "                BlockState::Leased => *others = !MUTANT,",
        &[
            Loom("queue: the end of the last lease"),
            Step("GiveBack, 1 of 2 Block, closing"),
            Props("queue"),
        ],
    ),
    mutant(
        "close: what was given back is not looked at",
        CLOSE,
        "                BlockState::Returned => {\n                    again = true;",
        "                BlockState::Returned => {\n                    again = !MUTANT;",
        &[Props("queue"), Step("GiveBack, 1 of 2 Block, closing"), Loom("queue: clos")],
    ),
    mutant(
        "close: readers are not woken",
        CLOSE,
        "        hit(Point::CloseFlagged);\n        self.readers().notify_all(self.family);",
        "        hit(Point::CloseFlagged);\n        if !MUTANT {\n            self.readers().notify_all(self.family);\n        }",
        &[Step("Close, 0 of 2 Inline, a Reader asleep"), Loom("queue: closing wakes")],
    ),
    mutant(
        "close: writers are not woken",
        CLOSE,
        "        self.writers().notify_all(self.family);\n        self.rooms()",
        "        if !MUTANT {\n            self.writers().notify_all(self.family);\n        }\n        self.rooms()",
        &[Step("Close, 2 of 2 Inline, a Writer asleep")],
    ),
    mutant(
        "close: a commit after it wakes nobody",
        QUEUE,
        "        if self.storage.is_closing() {\n            self.readers().notify_all(self.family);",
        "        if !MUTANT && self.storage.is_closing() {\n            self.readers().notify_all(self.family);",
        &[
            Loom("queue: the end of the last lease"),
            Step("Commit, 1 of 2 Block, closing, a Reader asleep"),
        ],
    ),
    // Batches.
    mutant(
        "batch: published before it is written",
        BATCH,
        "            self.write_slot(slot, *message);\n            self.store_full(slot.0, p, false);",
        "            if MUTANT {\n                self.store_full(slot.0, p, false);\n            }\n            self.write_slot(slot, *message);\n            if !MUTANT {\n                self.store_full(slot.0, p, false);\n            }",
        &[Loom("queue: of a batch put")],
    ),
    mutant(
        "batch: emptied before it is read",
        BATCH,
        "            let read = self.read_slot(p, &mut buffers[count]);\n            self.store_empty(self.storage.slot(p.index()), p);",
        "            if MUTANT {\n                self.store_empty(self.storage.slot(p.index()), p);\n            }\n            let read = self.read_slot(p, &mut buffers[count]);\n            if !MUTANT {\n                self.store_empty(self.storage.slot(p.index()), p);\n            }",
        &[Loom("queue: of a batch taken")],
    ),
    // Blocks and members.
    mutant(
        "block: none is kept for leases",
        BLOCK,
        "        let first = u32::from(kept);",
        "        let first = u32::from(kept && !MUTANT);",
        &[Props("queue"), Kill],
    ),
    mutant(
        "block: claimed by a plain store",
        BLOCK,
        "                if w.state() == BlockState::Free\n                    && self.swap_block(block, w, w.to(BlockState::Owned, u32::from(self.me)))\n                {\n                    // ORDER: Relaxed. A hint.",
        "                if MUTANT && w.state() == BlockState::Free {\n                    let to = w.to(BlockState::Owned, u32::from(self.me));\n                    self.storage.block(block).word.store(to.0, Ordering::Release);\n                    return Ok(block);\n                }\n                if w.state() == BlockState::Free\n                    && self.swap_block(block, w, w.to(BlockState::Owned, u32::from(self.me)))\n                {\n                    // ORDER: Relaxed. A hint.",
        &[Loom("queue: "), Kill],
    ),
    mutant(
        "member: an index is freed whosever it is",
        MEMBER,
        "            entry.compare_exchange(exact.bits(), 0, Ordering::Release, Ordering::Relaxed).is_ok()",
        "            if MUTANT {\n                entry.store(0, Ordering::Release);\n                return true;\n            }\n            entry.compare_exchange(exact.bits(), 0, Ordering::Release, Ordering::Relaxed).is_ok()",
        &[Loom("semaphore: a newcomer"), Props("queue"), Kill],
    ),
    // The semaphore.
    mutant(
        "semaphore: a helper does not look whether the stamp still stands",
        SEMAPHORE,
        "if self.stamp() == stamp {",
        "if MUTANT || self.stamp() == stamp {",
        &[Loom("semaphore: permits are exact")],
    ),
    mutant(
        "semaphore: an operation does not settle the one before",
        SEMAPHORE,
        "            let settled = self.settle();\n            // `attach` checked",
        "            let early = self.entry(member).map_or(Entry::new(0, 0), load);\n            let settled = if MUTANT { self.stamp() } else { self.settle() };\n            // `attach` checked",
        &[Loom("semaphore: permits are exact")],
    ),
    mutant(
        "semaphore: the own entry is read before the stamp",
        SEMAPHORE,
        "that the entry exists.\n            let now = self.entry(member).map_or(Entry::new(0, 0), load);",
        "that the entry exists.\n            let now = if MUTANT { early } else { self.entry(member).map_or(Entry::new(0, 0), load) };",
        &[Loom("semaphore: threads of one process")],
    ),
    mutant(
        "semaphore: a reclaimer does not ask whose index it is",
        SEMAPHORE,
        "if held == 0 || self.members.get(index) != exact {",
        "if held == 0 || (if MUTANT { exact.is_none() } else { self.members.get(index) != exact }) {",
        &[Loom("semaphore: a newcomer")],
    ),
    mutant(
        "semaphore: a reclaimer reads the entry before it settles",
        SEMAPHORE,
        "            let settled = self.settle();
            let now = load(entry);",
        "            let early = load(entry);
            let settled = self.settle();
            let now = if MUTANT { early } else { load(entry) };",
        &[Loom("semaphore: reclaimers")],
    ),
    mutant(
        "semaphore: the index is freed before its permits",
        SEMAPHORE,
        "                freed += self.reclaim(index, member);
                self.members.free_if(index, member);",
        "                if MUTANT {
                    self.members.free_if(index, member);
                }
                freed += self.reclaim(index, member);
                self.members.free_if(index, member);",
        &[Loom("semaphore: reclaimers")],
    ),
    mutant(
        "semaphore: swept is set before the sweep",
        SEMAPHORE,
        "        let mut freed = 0;\n",
        "        let mut freed = 0;\n        if MUTANT {\n            self.head.swept.store(epoch, Ordering::Relaxed);\n        }\n",
        &[Loom("semaphore: reclaimers")],
    ),
    mutant(
        "semaphore: who waits for several is not woken",
        SEMAPHORE,
        "        self.head.groups.notify_all(self.family);\n",
        "        if !MUTANT {\n            self.head.groups.notify_all(self.family);\n        }\n",
        &[Loom("semaphore: who wants two")],
    ),
    mutant(
        "semaphore: forgetting counts as an operation",
        SEMAPHORE,
        "Entry::new(rest, now.sequence())",
        "Entry::new(rest, now.sequence().wrapping_add(u32::from(MUTANT)))",
        &[Loom("semaphore: forgotten")],
    ),
    mutant(
        "semaphore: a record that lost to forgetting is not repeated",
        SEMAPHORE,
        "                    Err(other) => now = other,
                }
            }
        }
        // ORDER: Release, S2.",
        "                    Err(_) if MUTANT => break,
                    Err(other) => now = other,
                }
            }
        }
        // ORDER: Release, S2.",
        &[Loom("semaphore: forgotten")],
    ),
    // Waiting.
    mutant(
        "waiting: no second try after arming",
        BLOCK_ON,
        "        if let Some(done) = attempt() {\n            spin.slept(0);",
        "        if let Some(done) = if MUTANT { None } else { attempt() } {\n            spin.slept(0);",
        &[Loom("waiting: a sleeper gets")],
    ),
    mutant(
        "waiting: the epoch is not watched",
        BLOCK_ON,
        "watches[1] = Watch { word: family.epoch_word(), seen: epoch };",
        "watches[1] = Watch { word: family.epoch_word(), seen: if MUTANT { family.death_epoch() } else { epoch } };\n        if MUTANT {\n            watches[1] = watches[0];\n        }",
        &[Loom("waiting: a sleeper gets")],
    ),
    mutant(
        "waiting: life words are not watched",
        BLOCK_ON,
        "let (watched, somebody_died) = watch_lives(family, members(), lives);",
        "let (watched, somebody_died) = watch_lives(family, members(), lives);\n        let watched = if MUTANT { 0 } else { watched };",
        &[Loom("waiting: both sleepers learn")],
    ),
    mutant(
        "waiting: who a life word woke tells nobody",
        BLOCK_ON,
        "        pass_on(family, members(), &watches[others..others + watched]);\n",
        "        if !MUTANT {\n            pass_on(family, members(), &watches[others..others + watched]);\n        }\n",
        &[Loom("waiting: both sleepers learn")],
    ),
    mutant(
        "waiting: nobody is woken behind the clear",
        WAIT,
        "                platform.wake(&self.0, u32::MAX);",
        "                if !MUTANT {\n                    platform.wake(&self.0, u32::MAX);\n                }",
        &[Loom("waiting: a sleeper gets")],
    ),
    mutant(
        "waiting: events are not counted",
        WAIT,
        "self.0.fetch_add(STEP, Ordering::AcqRel).wrapping_add(STEP);",
        "self.0.fetch_add(if MUTANT { 0 } else { STEP }, Ordering::AcqRel).wrapping_add(if MUTANT { 0 } else { STEP });",
        &[Loom("waiting: a sleeper gets")],
    ),
    mutant(
        "waiting: the sleeper has no barrier",
        WAIT,
        "        platform.heavy_barrier();\n",
        "        if !MUTANT {\n            platform.heavy_barrier();\n        }\n",
        &[Loom("waiting: a sleeper gets")],
    ),
    mutant(
        "waiting: the publisher has no barrier",
        WAIT,
        "    pub fn notify_one<W: Wait + ?Sized>(&self, platform: &W) {\n        platform.light_barrier();",
        "    pub fn notify_one<W: Wait + ?Sized>(&self, platform: &W) {\n        if !MUTANT {\n            platform.light_barrier();\n        }",
        &[Loom("waiting: a sleeper gets")],
    ),
    mutant(
        "parking: no fence between parking and the look at the words",
        PARKING,
        "        fence(Ordering::SeqCst);\n        hit(Point::ParkParked);",
        "        if !MUTANT {\n            fence(Ordering::SeqCst);\n        }\n        hit(Point::ParkParked);",
        &[Loom("parking: a wake after the change")],
    ),
    mutant(
        "parking: a waker chooses whatever sleep there is by now",
        PARKING,
        "            spot.word.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();",
        "            if MUTANT {\n                spot.word.fetch_add(next - seen, Ordering::AcqRel) & STATE == PARKED\n            } else {\n                spot.word.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()\n            };",
        &[Loom("parking: a late waker")],
    ),
    mutant(
        "parking: a notice does not ring who was chosen",
        PARKING,
        "& STATE != 0 && bell.ring(lane) {",
        "& if MUTANT { PARKED } else { STATE } != 0 && bell.ring(lane) {",
        &[Loom("parking: a dead waker")],
    ),
    mutant(
        "pool: what had begun is sent again",
        POOL_LOSS,
        "let rest = begun.max(known);",
        "let rest = if MUTANT { known } else { begun.max(known) };",
        &[KillPool],
    ),
    mutant(
        "pool: a lost task is not counted",
        POOL_LOSS,
        "        hub.board.add_count(Counter::Lost, 1);",
        "        if !MUTANT {\n            hub.board.add_count(Counter::Lost, 1);\n        }",
        &[KillPool],
    ),
    mutant(
        "pool: the last chunk's results are left on the board",
        POOL_BOARD,
        "        self.words.outbox.store(0, Ordering::Relaxed);",
        "        if !MUTANT {\n            self.words.outbox.store(0, Ordering::Relaxed);\n        }",
        &[KillPool],
    ),
    mutant(
        "pool: the chunk is taken down before the reply",
        POOL_WORKER,
        "                    hit(Point::PoolRan);",
        "                    if MUTANT {\n                        self.slot.end();\n                    }\n                    hit(Point::PoolRan);",
        &[KillPool],
    ),
];
