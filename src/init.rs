//! The beginning and the end of a program that has children: `init`, `test_entry!`, and the guard.

use crate::error::{Error, Kind, Result, Subject};
use crate::process;
use crate::sys::{self, image::Image};
use offspring_core::prim::{AtomicBool, Ordering};
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Makes this program one that can have children: the first line of `main`.
///
/// A child is this program again. In a child this call does not return: it runs the function that the child was started
/// for and exits. In the process that the user started it returns a guard, at whose end the children are seen to:
/// daemons are terminated, others waited for. The same happens at `std::process::exit`.
///
/// Everything before it in `main` runs in every child, too. It takes a variable out of the environment, so no other
/// thread may be there yet.
///
/// In tests under libtest put [`test_entry!`](crate::test_entry) into the crate instead.
///
/// # Examples
///
/// ```
/// use offspring::Process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let child = Process::spawn(double, 21)?;
///     assert_eq!(child.join()?, 42);
///     Ok(())
/// }
///
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
/// ```
#[doc(alias = "freeze_support")]
#[doc(alias = "__main__")]
pub fn init() -> Main {
    process::become_child();
    began();
    Main { generation: sys::generation(), _one_thread: PhantomData }
}

/// What [`init`] returns. Its end is the end of the program: daemons are terminated, other children waited for.
#[must_use = "its end waits for the children: keep it as `let _main = offspring::init();`"]
#[derive(Debug)]
pub struct Main {
    generation: u32,
    _one_thread: PhantomData<*const ()>,
}

impl Drop for Main {
    fn drop(&mut self) {
        // A fork of this process has the guard, too, but no part in what it guards.
        if self.generation == sys::generation() {
            process::end();
        }
    }
}

// ORDER: Relaxed throughout: a flag of its own, set in the thread that goes on to start processes.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// This process may have children, which begin where it did; and the end rules hold.
pub(crate) fn began() {
    INITIALISED.store(true, Ordering::Relaxed);
    process::register_end();
}

/// How a child of this process gets to its function.
#[derive(Debug)]
pub(crate) enum How {
    /// `main` calls `init`.
    Main,
    /// libtest runs the test with this path.
    Test(String),
}

/// How; decided once.
///
/// Errors: `NotInitialised`: a child would run this program from the beginning.
pub(crate) fn how() -> Result<&'static How> {
    static HOW: OnceLock<How> = OnceLock::new();
    if let Some(how) = HOW.get() {
        return Ok(how);
    }
    let image = Image::main();
    if let Some(path) = entry_test(image.constants()) {
        return Ok(HOW.get_or_init(|| How::Test(path)));
    }
    if INITIALISED.load(Ordering::Relaxed) {
        return Ok(HOW.get_or_init(|| How::Main));
    }
    // Some linkers put constants beside the code.
    if let Some(path) = entry_test(image.code()) {
        return Ok(HOW.get_or_init(|| How::Test(path)));
    }
    Err(Error::new(
        Kind::NotInitialised,
        Subject::None,
        "start a process: children of this program would not know that they are; call `let _main = offspring::init();` \
         first in `main`, or in tests put `offspring::test_entry!();` into the crate",
    ))
}

/// Lets tests under libtest start processes: makes one test, which is the children's entry.
///
/// Once in a test crate, or in the module for its unit tests, at any place. In the ordinary run the test does nothing.
/// Children are started with `--exact` and its name. Programs with `harness = false` call [`init`] in `main`
/// instead.
///
/// ```
/// #[cfg(test)]
/// mod tests {
///     offspring::test_entry!();
///
///     #[test]
///     fn child_doubles() {
///         let child = offspring::Process::spawn(|n: u32| 2 * n, 21).unwrap();
///         assert_eq!(child.join().unwrap(), 42);
///     }
/// }
/// ```
#[allow(clippy::test_attr_in_doctest)] // it shows what a test crate holds
#[macro_export]
macro_rules! test_entry {
    () => {
        #[test]
        fn offspring_test_entry() {
            // The library finds the test's path in the program by the mark around it.
            static PATH: &str = ::core::concat!(
                "offspring-test-entry\u{1}\u{2}\u{3}<",
                ::core::module_path!(),
                "::offspring_test_entry>"
            );
            $crate::__test_entry(&PATH);
        }
    };
}

/// What [`test_entry!`](crate::test_entry) calls.
#[doc(hidden)]
pub fn __test_entry(path: &&'static str) {
    // The path must be in the program as it was written.
    std::hint::black_box(path);
    process::become_child();
}

/// The path of the entry test, if this program has one: without its crate, as libtest knows it.
///
/// Nothing of the test crate has run, perhaps, when it is asked for, so it is looked for in the program's constants.
fn entry_test(mut parts: impl Iterator<Item = &'static [u8]>) -> Option<String> {
    // Put together here, so that this is not what is found; linkers may still lay the two pieces side by side.
    let mark = [&b"offspring-test-entry"[..], &[1, 2, 3, b'<']].concat();
    parts.find_map(|bytes| {
        let mut rest = bytes;
        while let Some(at) = find(rest, &mark) {
            rest = &rest[at + mark.len()..];
            if let Some(path) = entry_path(rest) {
                return Some(path);
            }
        }
        None
    })
}

/// The path behind a mark; `None` if something else is there.
fn entry_path(bytes: &[u8]) -> Option<String> {
    let path = bytes.get(..bytes.iter().take(MOST_PATH).position(|byte| *byte == b'>')?)?;
    let (_, path) = std::str::from_utf8(path).ok()?.split_once("::")?;
    let is_path = path.split("::").all(|name| {
        !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || "_#".contains(letter))
    });
    (is_path && path.ends_with(ENTRY_TEST)).then(|| path.to_owned())
}

const ENTRY_TEST: &str = "offspring_test_entry";

const MOST_PATH: usize = 4096;

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let (first, rest) = what.split_first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::test_entry!();

    #[test]
    fn entry_test_is_found_in_the_program() {
        let image = Image::main();
        let found = entry_test(image.constants()).or_else(|| entry_test(image.code()));
        assert_eq!(found.as_deref(), Some("init::tests::offspring_test_entry"));
    }

    #[test]
    fn mark_with_no_path_behind_it_is_passed_over() {
        let mark = "offspring-test-entry\u{1}\u{2}\u{3}<";
        let paths = ["::src/process/children.rs", "a::b c::offspring_test_entry>", "a::b>", ""];
        let all = paths.map(|path| format!("{mark}{path}")).concat();
        let found = |bytes: String| entry_test([bytes.leak().as_bytes() as &[u8]].into_iter());
        assert_eq!(found(all.clone()), None);
        let all = format!("{all}{mark}a::ü::offspring_test_entry>");
        assert_eq!(found(all).as_deref(), Some("ü::offspring_test_entry"));
    }

    #[test]
    fn bytes_are_found_where_they_are() {
        assert_eq!(find(b"aabaab", b"aab"), Some(0));
        assert_eq!(find(b"abaaab", b"aab"), Some(3));
        assert_eq!(find(b"aaaa", b"aab"), None);
        assert_eq!(find(b"", b"aab"), None);
    }
}
