//! The mistakes.

use super::Mutant;

const SEMAPHORE: &str = "core/src/semaphore/mod.rs";
const BLOCK_ON: &str = "core/src/block_on.rs";
const WAIT: &str = "core/src/wait.rs";

const BATCH: &str = "core/src/queue/batch.rs";

/// All of them.
pub(super) const ALL: &[Mutant] = &[
    Mutant {
        what: "queue: a batch is published before it is written",
        file: BATCH,
        from: "            self.write_slot(slot, *message);
            self.store_full(slot.0, p, false);",
        to: "            self.store_full(slot.0, p, false);
            self.write_slot(slot, *message);",
        caught_by: "queue: of a batch put",
    },
    Mutant {
        what: "queue: a batch is emptied before it is read",
        file: BATCH,
        from: "            let read = self.read_slot(p, &mut buffers[count]);
            self.store_empty(self.storage.slot(p.index()), p);",
        to: "            self.store_empty(self.storage.slot(p.index()), p);
            let read = self.read_slot(p, &mut buffers[count]);",
        caught_by: "queue: of a batch taken",
    },
    Mutant {
        what: "semaphore: a helper does not look whether the stamp still stands",
        file: SEMAPHORE,
        from: "if self.stamp() == stamp {",
        to: "if true {",
        caught_by: "semaphore: permits are exact",
    },
    Mutant {
        what: "semaphore: an operation does not settle the one before",
        file: SEMAPHORE,
        from: "let settled = self.settle();\n            // `attach`",
        to: "let settled = self.stamp();\n            // `attach`",
        caught_by: "semaphore: permits are exact",
    },
    Mutant {
        what: "semaphore: the own entry is read before the stamp",
        file: SEMAPHORE,
        from: "            let settled = self.settle();
            // `attach` checked that the entry exists.
            let now = self.entry(member).map_or(Entry::new(0, 0), load);",
        to: "            let now = self.entry(member).map_or(Entry::new(0, 0), load);
            let settled = self.settle();",
        caught_by: "semaphore: threads of one process",
    },
    Mutant {
        what: "semaphore: a reclaimer does not ask whose index it is",
        file: SEMAPHORE,
        from: "if held == 0 || self.members.get(index) != exact {",
        to: "if held == 0 || exact.is_none() {",
        caught_by: "semaphore: a newcomer",
    },
    Mutant {
        what: "semaphore: a reclaimer reads the entry before it settles",
        file: SEMAPHORE,
        from: "            let settled = self.settle();
            let now = load(entry);",
        to: "            let now = load(entry);
            let settled = self.settle();",
        caught_by: "semaphore: reclaimers",
    },
    Mutant {
        what: "semaphore: the index is freed before its permits",
        file: SEMAPHORE,
        from: "                freed += self.reclaim(index, member);
                self.members.free_if(index, member);",
        to: "                self.members.free_if(index, member);
                freed += self.reclaim(index, member);",
        caught_by: "semaphore: reclaimers",
    },
    Mutant {
        what: "semaphore: swept is set before the sweep",
        file: SEMAPHORE,
        from: "        let mut freed = 0;\n",
        to: "        let mut freed = 0;\n        self.head.swept.store(epoch, Ordering::Release);\n",
        caught_by: "semaphore: reclaimers",
    },
    Mutant {
        what: "semaphore: a stamp is written without Release",
        file: SEMAPHORE,
        from: "stamp.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)",
        to: "stamp.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)",
        caught_by: "semaphore: holders exclude",
    },
    Mutant {
        what: "semaphore: the stamp is read without Acquire",
        file: SEMAPHORE,
        from: "Stamp::from_bits(self.head.stamp.load(Ordering::Acquire))",
        to: "Stamp::from_bits(self.head.stamp.load(Ordering::Relaxed))",
        caught_by: "semaphore: permits are exact",
    },
    Mutant {
        what: "semaphore: a stamp is settled without Release",
        file: SEMAPHORE,
        from: "settled.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed)",
        to: "settled.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)",
        caught_by: "semaphore: permits are exact",
    },
    Mutant {
        what: "semaphore: an entry is read without Acquire",
        file: SEMAPHORE,
        from: "Entry::from_bits(entry.load(Ordering::Acquire))",
        to: "Entry::from_bits(entry.load(Ordering::Relaxed))",
        caught_by: "semaphore: reclaimers",
    },
    Mutant {
        what: "semaphore: who waits for several is not woken",
        file: SEMAPHORE,
        from: "        self.head.groups.notify_all(self.family);\n",
        to: "",
        caught_by: "semaphore: who wants two",
    },
    Mutant {
        what: "semaphore: forgetting counts as an operation",
        file: SEMAPHORE,
        from: "Entry::new(rest, now.sequence())",
        to: "Entry::new(rest, now.sequence().wrapping_add(1))",
        caught_by: "semaphore: forgotten",
    },
    Mutant {
        what: "semaphore: a record that lost to forgetting is not repeated",
        file: SEMAPHORE,
        from: "                    Err(other) => now = other,
                }
            }
        }
        // ORDER: Release, S2.",
        to: "                    Err(_) => break,
                }
            }
        }
        // ORDER: Release, S2.",
        caught_by: "semaphore: forgotten",
    },
    Mutant {
        what: "waiting: no second try after arming",
        file: BLOCK_ON,
        from: "        let key = count.arm(family);
        // ORDER: Acquire, with the raise of the epoch: an attempt that comes after it finds that death. Read before
        // the attempt, so that a death noticed during it refuses the sleep.
        let epoch = family.epoch_word().load(Ordering::Acquire);
        if let Some(done) = attempt() {",
        to: "        let tried = attempt();
        let key = count.arm(family);
        let epoch = family.epoch_word().load(Ordering::Acquire);
        if let Some(done) = tried {",
        caught_by: "waiting: a sleeper gets",
    },
    Mutant {
        what: "waiting: the epoch is not watched",
        file: BLOCK_ON,
        from: "watches[1] = Watch { word: family.epoch_word(), seen: epoch };",
        to: "let _ = epoch;",
        caught_by: "waiting: a sleeper gets",
    },
    Mutant {
        what: "waiting: life words are not watched",
        file: BLOCK_ON,
        from: "let (watched, somebody_died) = watch_lives(family, members(), lives);",
        to: "let (watched, somebody_died) = (0, watch_lives(family, members(), lives).1);",
        caught_by: "waiting: both sleepers learn",
    },
    Mutant {
        what: "waiting: who a life word woke tells nobody",
        file: BLOCK_ON,
        from: "        pass_on(family, members(), &watches[2..2 + watched]);\n",
        to: "",
        caught_by: "waiting: both sleepers learn",
    },
    Mutant {
        what: "waiting: nobody is woken behind the clear",
        file: WAIT,
        from: "                platform.wake(&self.0, u32::MAX);",
        to: "",
        caught_by: "waiting: a sleeper gets",
    },
    Mutant {
        what: "waiting: events are not counted",
        file: WAIT,
        from: "self.0.fetch_add(STEP, Ordering::AcqRel).wrapping_add(STEP);",
        to: "self.0.fetch_add(0, Ordering::AcqRel);",
        caught_by: "waiting: a sleeper gets",
    },
    Mutant {
        what: "waiting: the sleeper has no barrier",
        file: WAIT,
        from: "        platform.heavy_barrier();\n",
        to: "        let _ = platform;\n",
        caught_by: "waiting: a sleeper gets",
    },
    Mutant {
        what: "waiting: the publisher has no barrier",
        file: WAIT,
        from: "    pub fn notify_one<W: Wait + ?Sized>(&self, platform: &W) {\n        platform.light_barrier();",
        to: "    pub fn notify_one<W: Wait + ?Sized>(&self, platform: &W) {",
        caught_by: "waiting: a sleeper gets",
    },
];
