//! The arena: S1, S2, S8, S9.

use super::bench::Bench;
use super::scene::{Scene, at};
use super::{Test, ensure, test};
use offspring_core::family::layout::{GRANULE, HEAP_AT};
use offspring_core::prim::{AtomicU64, Ordering};

pub fn tests<S: Bench>() -> Vec<Test> {
    vec![
        test("mapping_is_aligned_long_enough_and_its_tables_are_writable", &["S1"], mapping::<S>),
        test("pages_are_zero_keep_what_is_written_and_are_zero_again", &["S2"], pages::<S>),
        test("released_pages_are_readable_by_who_still_looks", &["S2"], released::<S>),
        test("all_participants_see_the_same_words", &["S8"], same_words::<S>),
        test("commit_beyond_the_arena_or_the_machine_is_an_error", &["S9"], refusals::<S>),
    ]
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn mapping<S: Bench>(_: u64) -> Result<(), String> {
    const LEN: u64 = 32 << 20;
    let system = S::create(LEN, false).map_err(said)?;
    let base = system.base();
    let page = system.page();
    ensure(page.is_power_of_two() && (4096..=GRANULE).contains(&page), || {
        format!("a page has {page} bytes")
    })?;
    ensure((base.addr().get() as u64).is_multiple_of(page), || {
        format!("the mapping begins at {base:?}")
    })?;
    ensure(system.len() >= LEN, || format!("{LEN} bytes were asked for, {} came", system.len()))?;
    for at in (0..HEAP_AT).step_by(64 << 10).chain([HEAP_AT - 8]) {
        // SAFETY: in the mapping; by S1 it can be written, and nobody else uses this arena.
        let word = unsafe { system.base().add(at as usize).cast::<AtomicU64>().as_ref() };
        ensure(word.load(Ordering::SeqCst) == 0, || format!("the tables are not zero at {at}"))?;
        word.store(at + 1, Ordering::SeqCst);
        ensure(word.load(Ordering::SeqCst) == at + 1, || {
            format!("the tables keep nothing at {at}")
        })?;
    }
    Ok(())
}

fn fill(system: &impl Bench, offset: u64, len: u64, byte: u8) {
    // SAFETY: callers name committed pages of an arena that nobody else writes.
    unsafe { system.base().as_ptr().add(offset as usize).write_bytes(byte, len as usize) };
}

fn pages<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let eye = &scene.eye;
    // The end of the arena, which the family has not come to.
    let len = 4 * GRANULE;
    let offset = eye.len() / GRANULE * GRANULE - 2 * len;
    let all = |what: &str, from: u64, len: u64, byte: u8| {
        let wrong = scene.bytes(from, len)?.position(|found| found != byte);
        ensure(wrong.is_none(), || {
            format!("{what}: byte {} of {len} is not {byte}", wrong.unwrap_or(0))
        })
    };
    for round in 1..=3 {
        eye.commit(offset, len).map_err(said)?;
        all("committed", offset, len, 0)?;
        fill(eye, offset, len, round);
        eye.commit_more(offset, 2 * len).map_err(said)?;
        all("committed with more behind it", offset, len, round)?;
        all("committed behind what was there", offset + len, len, 0)?;
        fill(eye, offset + len, len, round);
        eye.release(offset, 2 * len).map_err(said)?;
        eye.release(offset, 2 * len).map_err(|error| format!("released twice: {error}"))?;
    }
    eye.commit(offset, 2 * len).map_err(said)?;
    all("committed again", offset, 2 * len, 0)
}

fn released<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let offset = scene.eye.len() / GRANULE * GRANULE - 2 * GRANULE;
    scene.eye.commit(offset, GRANULE).map_err(said)?;
    fill(&scene.eye, offset, GRANULE, 5);
    let look = format!("byte {offset} {GRANULE}");
    let seen: u8 = mate.ask(&look)?;
    ensure(seen == 5, || format!("a participant read {seen} where 5 was written"))?;
    scene.eye.release(offset, GRANULE).map_err(said)?;
    mate.ask::<u8>(&look).map(|_| ())
}

fn same_words<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let elsewhere = scene.word_elsewhere(at::FREE);
    scene.word(at::FREE).store(11, Ordering::SeqCst);
    let seen = elsewhere.load(Ordering::SeqCst);
    ensure(seen == 11, || format!("11 was written, the second mapping has {seen}"))?;
    let mut mates = [scene.start()?, scene.start()?];
    for value in 12..20_u32 {
        mates[0].ask::<String>(&format!("store {} {value}", at::FREE))?;
        let seen: u32 = mates[1].ask(&format!("load {}", at::FREE))?;
        let seen =
            [seen, scene.word(at::FREE).load(Ordering::SeqCst), elsewhere.load(Ordering::SeqCst)];
        ensure(seen == [value; 3], || format!("{value} was written, {seen:?} were read"))?;
    }
    Ok(())
}

fn refusals<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let (eye, page) = (&scene.eye, scene.eye.page());
    let end = eye.len() / page * page;
    for (offset, len) in [(end, page), (end - page, 4 * page), (u64::MAX / page * page, page)] {
        let refused = eye.commit(offset, len).is_err() && eye.commit_more(offset, len).is_err();
        ensure(refused, || format!("{len} bytes at {offset} of {} were committed", eye.len()))?;
    }
    if let Some((arena, bytes)) = S::hopeless() {
        let system = S::create(arena, false).map_err(said)?;
        let refused = system.commit(HEAP_AT, bytes).is_err();
        ensure(refused, || {
            format!("{bytes} bytes were committed, which this machine does not have")
        })?;
    }
    // As good as before.
    eye.commit(end - GRANULE, GRANULE).map_err(said)?;
    fill(eye, end - GRANULE, GRANULE, 1);
    ensure(scene.bytes(end - GRANULE, GRANULE)?.all(|byte| byte == 1), || "bytes are lost".into())
}
