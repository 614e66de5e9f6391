//! How a function is named to another process of the same program, and how a process learns that it is a child.
//!
//! What travels is the address, relative to the main image, of a constant descriptor (magic, types, the monomorphised
//! runner) and of the function itself. They come over a private pipe from the parent, never out of shared memory.
//!
//! E1 A child calls a function only if its parent runs the same image (build id), which has checked both addresses
//! to be in that image, and paired a descriptor for `A` and `R` with a function of type `fn(A) -> R`.
//! E2 A descriptor number in the marker is ours alone: the marker is taken away by who reads it first, and names
//! the pipe's inode and our parent.
#![allow(unsafe_code)] // addresses, inherited descriptors, the environment

use super::child::{self, Child};
use crate::error::{Error, Kind, Result, Subject};
use crate::sys::image::{Image, describe};
use crate::sys::{self, LifelineEnd, OwnedFile};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::mem::align_of;

const MAGIC: u64 = u64::from_le_bytes(*b"ofsp-fn\x01");

/// What a child needs to run a function of type `fn(A) -> R`: one constant for each pair of types.
#[repr(C)]
pub(super) struct Descriptor {
    magic: u64,
    types: fn() -> u64,
    run: fn(usize, Child) -> i32,
}

/// A function and its descriptor as places in the main image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    descriptor: u64,
    types: u64,
    function: u64,
}

impl Entry {
    /// Names `function`.
    ///
    /// Errors: it, or the code made for its types, is not in the main image.
    pub(super) fn of<A, R>(function: fn(A) -> R) -> Result<Self>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let descriptor: &'static Descriptor =
            &const { Descriptor { magic: MAGIC, types: types::<A, R>, run: run::<A, R> } };
        let image = Image::main();
        let elsewhere = |what: String| {
            let text = format!(
                "start {what} in another process: it is not in the main program; call it from a function that is"
            );
            Error::new(Kind::Options, Subject::None, text)
        };
        let address = function as usize;
        let function = image.code_offset(address).ok_or_else(|| elsewhere(describe(address)))?;
        let runner = descriptor.run as usize;
        let descriptor = image
            .data_offset(std::ptr::from_ref(descriptor).addr(), size_of::<Descriptor>())
            .filter(|_| image.code_offset(runner).is_some())
            .ok_or_else(|| elsewhere(format!("a function of types {}", names::<A, R>())))?;
        Ok(Self {
            descriptor: descriptor as u64,
            types: types::<A, R>(),
            function: function as u64,
        })
    }

    /// Runs the function as this process's work; gives the exit code.
    ///
    /// Errors: the places hold no such thing.
    ///
    /// # Safety
    ///
    /// The entry was made by [`of`](Self::of) in a process of the same image (E1).
    pub(super) unsafe fn run(self, child: Child) -> std::result::Result<i32, &'static str> {
        let image = Image::main();
        let at = |offset: u64| usize::try_from(offset).ok();
        let descriptor = at(self.descriptor)
            .and_then(|offset| image.data_at(offset, size_of::<Descriptor>()))
            .filter(|address| address.is_multiple_of(align_of::<Descriptor>()))
            .ok_or("its function's descriptor is not in this program")?;
        // SAFETY: mapped, readable and aligned as just checked; that it is a `Descriptor` is E1.
        let descriptor = unsafe { &*(descriptor as *const Descriptor) };
        if descriptor.magic != MAGIC || (descriptor.types)() != self.types {
            return Err("its function has other types in this program");
        }
        let function = at(self.function).and_then(|offset| image.code_at(offset));
        let function = function.ok_or("its function is not in this program")?;
        Ok((descriptor.run)(function, child))
    }
}

/// A function without arguments and value as a place in the main image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Plain(u64);

impl Plain {
    /// Names `function`.
    ///
    /// Errors: it is not in the main image.
    pub(super) fn of(function: fn()) -> Result<Self> {
        let address = function as usize;
        let offset = Image::main().code_offset(address).ok_or_else(|| {
            let text = format!(
                "call {} in a fork server: it is not in the main program; give a function that is",
                describe(address)
            );
            Error::new(Kind::Options, Subject::None, text)
        })?;
        Ok(Self(offset as u64))
    }

    /// Calls it.
    ///
    /// Errors: there is no code at that place.
    ///
    /// # Safety
    ///
    /// It was made by [`of`](Self::of) in a process of the same image (E1).
    pub(super) unsafe fn call(self) -> std::result::Result<(), &'static str> {
        let offset = usize::try_from(self.0).ok();
        let address = offset.and_then(|offset| Image::main().code_at(offset));
        let address = address.ok_or("its initialiser is not in this program")?;
        // SAFETY: E1: `of` took the address of a `fn()` in this image.
        let function = unsafe { std::mem::transmute::<usize, fn()>(address) };
        function();
        Ok(())
    }
}

fn run<A: DeserializeOwned, R: Serialize>(function: usize, child: Child) -> i32 {
    // SAFETY: E1: `of::<A, R>` paired this very runner with the address of a `fn(A) -> R`.
    let function = unsafe { std::mem::transmute::<usize, fn(A) -> R>(function) };
    child::call(function, child)
}

fn names<A, R>() -> String {
    format!("fn({}) -> {}", type_name::<A>(), type_name::<R>())
}

/// FNV-1a of the types' names.
fn types<A, R>() -> u64 {
    let names = [type_name::<A>(), " -> ", type_name::<R>()];
    names.into_iter().flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The environment variable that makes a process a child: `pipe:inode:parent`.
const MARKER: &str = "OFFSPRING_CHILD";

/// The name and value to start a child with, whose end of the lifeline is its descriptor `number`.
pub(super) fn marker(
    number: i32,
    end: &LifelineEnd,
) -> Result<(&'static str, String), sys::OsError> {
    Ok((MARKER, format!("{number}:{}:{}", end.inode()?, std::process::id())))
}

/// Whether this process was started as a child: its end of the lifeline. Takes the marker away.
///
/// A marker that a program inherited from a child which has not come here yet names a pipe that this program
/// does not have, or another parent; it is taken away likewise.
pub(super) fn take_marker() -> Option<LifelineEnd> {
    let value = std::env::var_os(MARKER)?;
    // SAFETY: the documented first line of `main`, before there are other threads that could look at the environment;
    // under libtest the only other thread waits for this test.
    unsafe { std::env::remove_var(MARKER) };
    let mut numbers = value.to_str()?.split(':');
    let number: i32 = numbers.next()?.parse().ok()?;
    let inode: u64 = numbers.next()?.parse().ok()?;
    let parent: u32 = numbers.next()?.parse().ok()?;
    if sys::inherited::inode(number) != Some(inode) {
        return None;
    }
    // SAFETY: E2: under this number is the pipe that our parent, or a parent's parent, made for us alone.
    let end = unsafe { sys::inherited::take(number) }.ok()?;
    let end = LifelineEnd::from_fd(end).ok()?;
    if sys::inherited::parent_pid() != parent {
        if end.is_parent_gone() {
            // Nobody waits for this process any more.
            std::process::exit(super::NEVER_BEGAN);
        }
        // A program that a child started before it came here.
        return None;
    }
    Some(end)
}

/// Takes what the parent passed under `number`.
pub(super) fn take_file(number: i32) -> Result<OwnedFile, sys::OsError> {
    // SAFETY: E2: the parent, whose message named the number, gave it to this process alone.
    unsafe { sys::inherited::take(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(entry: Entry) -> std::result::Result<i32, &'static str> {
        // SAFETY: made by `of` in this process, but for what the checks find.
        unsafe { entry.run(Child::idle()) }
    }

    #[test]
    fn entry_that_leads_elsewhere_is_not_run() {
        let entry = Entry::of(|n: u8| n).unwrap();
        let other = Entry::of(|n: u16| n).unwrap();
        assert_ne!((entry.descriptor, entry.types), (other.descriptor, other.types));
        for descriptor in [u64::MAX, entry.descriptor + 4, entry.descriptor + (1 << 40)] {
            let why = run(Entry { descriptor, ..entry }).unwrap_err();
            assert_eq!(why, "its function's descriptor is not in this program");
        }
        for wrong in [
            Entry { descriptor: other.descriptor, ..entry },
            Entry { types: other.types, ..entry },
            Entry { descriptor: entry.descriptor + 8, ..entry },
        ] {
            assert_eq!(run(wrong).unwrap_err(), "its function has other types in this program");
        }
        let why = run(Entry { function: entry.descriptor, ..entry }).unwrap_err();
        assert_eq!(why, "its function is not in this program");
    }
}
