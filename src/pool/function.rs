//! How a worker learns which functions there are: over a pipe from its parent, in order; messages carry an index.
//!
//! F1 What is read from the pipe was written by the process that started this one, which runs the same image (checked
//! when this one began), and made with `Entry::of`: a descriptor for exactly the types of the function beside it. The pipe's
//! other end is that process's alone. F2 Nothing in here comes out of shared memory but the index, which is checked.
#![allow(unsafe_code)] // an address becomes a function

use super::wire::{Carrying, Failure, Value};
use crate::error::{Error, Kind, Result, Subject};
use crate::process::caught;
use crate::sys;
use crate::sys::image::{Image, describe};
use crate::value::{self, Encoded, Place};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

const MAGIC: u64 = u64::from_le_bytes(*b"ofsp-pl\x01");
/// A worker that is busy reads later; a pipe holds this many for it.
pub(super) const MOST_FUNCTIONS: usize = 2048;
const ENTRY: usize = 24;

/// Reads the argument, calls the function, serialises what it returned. Panics end here.
type Run = fn(usize, Value<'_>) -> std::result::Result<Output, Failure>;

/// A serialised result. One that names objects keeps them, since the value it was made of is gone.
#[allow(clippy::large_enum_variant)] // it lives on the stack, for one task
pub(super) enum Output {
    Plain(Encoded),
    Carrying(Carrying),
}

/// What a worker needs to call a function of certain types: one constant for each combination.
#[repr(C)]
struct Descriptor {
    magic: u64,
    types: fn() -> u64,
    run: Run,
}

/// A function and its descriptor as places in the main image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Entry {
    descriptor: u64,
    types: u64,
    function: u64,
}

impl Entry {
    /// Names a function of one argument.
    ///
    /// Errors: it, or the code made for its types, is not in the main image.
    pub(super) fn of<A, R>(function: fn(A) -> R) -> Result<Self>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let descriptor =
            &const { Descriptor { magic: MAGIC, types: types::<A, R>, run: run::<A, R> } };
        Self::named(descriptor, function as usize, type_name::<fn(A) -> R>())
    }

    /// Names a function of two arguments, which travel as a pair.
    pub(super) fn of_two<A, B, R>(function: fn(A, B) -> R) -> Result<Self>
    where
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let descriptor = &const {
            Descriptor { magic: MAGIC, types: types::<(A, B, Two), R>, run: run_two::<A, B, R> }
        };
        Self::named(descriptor, function as usize, type_name::<fn(A, B) -> R>())
    }

    fn named(descriptor: &'static Descriptor, address: usize, name: &str) -> Result<Self> {
        let image = Image::main();
        let elsewhere = |what: String| {
            let text = format!(
                "call {what} in a pool: it is not in the main program; call it from a function that is"
            );
            Error::new(Kind::Options, Subject::None, text)
        };
        let function = image.code_offset(address).ok_or_else(|| elsewhere(describe(address)))?;
        let runner = descriptor.run as usize;
        let place = image
            .data_offset(std::ptr::from_ref(descriptor).addr(), size_of::<Descriptor>())
            .filter(|_| image.code_offset(runner).is_some())
            .ok_or_else(|| elsewhere(format!("a {name}")))?;
        let types = (descriptor.types)();
        Ok(Self { descriptor: place as u64, types, function: function as u64 })
    }

    /// Tells a worker. It finds functions in the order in which they were told.
    pub(super) fn tell(self, pipe: &mut PipeWriter) -> std::io::Result<()> {
        let mut bytes = [0; ENTRY];
        for (place, number) in
            bytes.chunks_exact_mut(8).zip([self.descriptor, self.types, self.function])
        {
            place.copy_from_slice(&number.to_le_bytes());
        }
        // Shorter than what a pipe takes in one piece.
        pipe.write_all(&bytes)
    }

    fn from_bytes(bytes: [u8; ENTRY]) -> Self {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        Self { descriptor: number(0), types: number(8), function: number(16) }
    }

    /// Looks the places up in this process.
    ///
    /// # Safety
    ///
    /// The entry was made by [`of`](Self::of) or [`of_two`](Self::of_two) in a process of the same image (F1).
    unsafe fn find(self) -> Option<Function> {
        let image = Image::main();
        let at = |offset: u64| usize::try_from(offset).ok();
        let descriptor = at(self.descriptor)
            .and_then(|offset| image.data_at(offset, size_of::<Descriptor>()))
            .filter(|address| address.is_multiple_of(align_of::<Descriptor>()))?;
        // SAFETY: mapped, readable and aligned as just checked; that it is a `Descriptor` is F1.
        let descriptor = unsafe { &*(descriptor as *const Descriptor) };
        if descriptor.magic != MAGIC || (descriptor.types)() != self.types {
            return None;
        }
        let address = at(self.function).and_then(|offset| image.code_at(offset))?;
        Some(Function { run: descriptor.run, address })
    }
}

/// A function that can be called here.
#[derive(Clone, Copy)]
pub(super) struct Function {
    run: Run,
    address: usize,
}

impl Function {
    pub(super) fn call(self, argument: Value<'_>) -> std::result::Result<Output, Failure> {
        (self.run)(self.address, argument)
    }
}

/// The functions that this worker was told.
pub(super) struct Functions {
    known: Vec<Option<Function>>,
    pipe: PipeReader,
}

impl Functions {
    pub(super) fn new(pipe: PipeReader) -> Self {
        Self { known: Vec::new(), pipe }
    }

    /// The function with that index. The parent tells a function before it sends the index, so one that is not in the pipe
    /// by now is none; this does not wait for it.
    pub(super) fn get(&mut self, index: u32) -> std::result::Result<Function, &'static str> {
        let index = index as usize;
        while index >= self.known.len() {
            let mut bytes = [0; ENTRY];
            if !sys::inherited::is_readable(sys::borrow(&self.pipe))
                || self.pipe.read_exact(&mut bytes).is_err()
            {
                return Err("its message names a function that this worker was not told");
            }
            // SAFETY: F1: it came over the pipe.
            self.known.push(unsafe { Entry::from_bytes(bytes).find() });
        }
        self.known[index].ok_or("its function is not in this program")
    }
}

fn run<A: DeserializeOwned, R: Serialize>(
    function: usize,
    argument: Value<'_>,
) -> std::result::Result<Output, Failure> {
    // SAFETY: F1: `of::<A, R>` paired this very runner with the address of a `fn(A) -> R`.
    let function = unsafe { std::mem::transmute::<usize, fn(A) -> R>(function) };
    guarded(argument, function)
}

fn run_two<A: DeserializeOwned, B: DeserializeOwned, R: Serialize>(
    function: usize,
    argument: Value<'_>,
) -> std::result::Result<Output, Failure> {
    // SAFETY: F1: `of_two::<A, B, R>` paired this very runner with the address of a `fn(A, B) -> R`.
    let function = unsafe { std::mem::transmute::<usize, fn(A, B) -> R>(function) };
    guarded(argument, |(a, b)| function(a, b))
}

fn guarded<A: DeserializeOwned, R: Serialize>(
    argument: Value<'_>,
    function: impl FnOnce(A) -> R,
) -> std::result::Result<Output, Failure> {
    let refused = |what: &str, error: Error| Failure::Refused(format!("{what}: {error:?}"));
    // A panic leaves nothing behind here but what the user's function shares with itself.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let argument =
            argument.decode().map_err(|error| refused("its argument cannot be read", error))?;
        let result = function(argument);
        let encoded = value::encode(&result, Place::Queue)
            .map_err(|error| refused("its result cannot be sent", error))?;
        Ok(match encoded.carries {
            true => Output::Carrying(Carrying::new(encoded.bytes.as_slice().to_vec())),
            false => Output::Plain(encoded),
        })
    }));
    ran.unwrap_or_else(|payload| Err(Failure::Panicked(caught(&*payload))))
}

/// Tells functions of two arguments from functions of one pair.
struct Two;

/// FNV-1a of the types' names.
fn types<A, R>() -> u64 {
    let names = [type_name::<A>(), " -> ", type_name::<R>()];
    names.into_iter().flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::encode;

    fn told(entries: &[Entry]) -> Functions {
        let (reader, mut writer) = std::io::pipe().unwrap();
        entries.iter().for_each(|entry| entry.tell(&mut writer).unwrap());
        Functions::new(reader)
    }

    fn encoded<T: Serialize>(value: T) -> Vec<u8> {
        encode(&value, Place::Queue).unwrap().bytes.as_slice().to_vec()
    }

    #[test]
    fn told_functions_are_called() {
        let add = Entry::of_two(|a: u8, b: u8| u16::from(a) + u16::from(b)).unwrap();
        let double = Entry::of(|n: u32| 2 * n).unwrap();
        let mut functions = told(&[add, double]);
        let call = |function: Function, bytes: &[u8]| match function.call(Value::Plain(bytes)) {
            Ok(Output::Plain(encoded)) => encoded.bytes.as_slice().to_vec(),
            _ => panic!("a number is plain"),
        };
        assert_eq!(call(functions.get(1).unwrap(), &encoded(21_u32)), encoded(42_u32));
        assert_eq!(call(functions.get(0).unwrap(), &encoded((250_u8, 9_u8))), encoded(259_u16));
    }

    #[test]
    fn function_that_was_not_told_is_none() {
        let mut functions = told(&[]);
        for index in [0, 1, u32::MAX] {
            let why = functions.get(index).err().unwrap();
            assert_eq!(why, "its message names a function that this worker was not told");
        }
    }

    #[test]
    fn entry_that_leads_elsewhere_is_no_function() {
        let one = Entry::of(|n: u8| n).unwrap();
        let other = Entry::of(|n: u16| n).unwrap();
        for wrong in [
            Entry { descriptor: other.descriptor, ..one },
            Entry { types: other.types, ..one },
            Entry { descriptor: one.descriptor + 8, ..one },
            Entry { descriptor: u64::MAX, ..one },
            Entry { function: one.descriptor, ..one },
        ] {
            let why = told(&[wrong]).get(0).err().unwrap();
            assert_eq!(why, "its function is not in this program", "{wrong:?}");
        }
    }
}
