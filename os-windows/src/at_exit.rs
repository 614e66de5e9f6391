//! What this process does when it ends by `exit` or by returning from `main`; not when it is terminated.
//!
//! The C runtime calls its functions when `main` returns, while other threads go on. `std::process::exit` ends the process
//! without it: then the system has already ended all other threads when it calls the program's callbacks. A lock that
//! one of them held stays locked, and to wait for it ends the process at once, which the system sees to.
//!
//! Wine calls no callback of a program at the process's end, only those of its fiber-local variables, and those for the
//! thread that ends the process alone. So there is one of these, too, in the thread that registers the function.

use crate::error::{OsError, Result};
use offspring_core::prim::{AtomicU32, AtomicUsize, Ordering};
use std::ffi::{c_int, c_void};
use windows_sys::Win32::Foundation::ERROR_NOT_ENOUGH_MEMORY;
use windows_sys::Win32::System::SystemServices::DLL_PROCESS_DETACH;
use windows_sys::Win32::System::Threading::{
    FLS_OUT_OF_INDEXES, FlsAlloc, FlsSetValue, GetCurrentProcess, TerminateProcess,
};

// ORDER: Relaxed throughout: written once, by the thread that goes on to use it, or long before the process ends.

/// The function to call, as an address; zero for none.
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Whether it was called.
static CALLED: AtomicU32 = AtomicU32::new(0);

/// Ends this process with `code` at once: nobody is told, no callback runs, no lock is waited for.
///
/// The orderly way, `ExitProcess`, ends all other threads wherever they are and then runs callbacks and destructors in the
/// one that is left, which may wait for ever for what a thread that is no more had locked. Whoever has done and flushed all
/// that is to be done ends like this.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends this process.
    unsafe { TerminateProcess(GetCurrentProcess(), code.cast_unsigned()) };
    // It does not return where the handle is that of the process itself.
    std::process::abort()
}

/// Has `last` called at the end, once: after everything that is registered later, and before the C library's own end. The
/// first call counts.
///
/// It runs in the thread that ends the process, whose thread-local variables may be gone. Other threads go on
/// when `main` has returned, and are gone in `std::process::exit`, which under Wine the registering thread must call. A panic in it aborts. It is not called when the process is
/// terminated or aborts.
///
/// # Errors
///
/// Out of memory.
pub fn at_exit(last: extern "C" fn()) -> Result<()> {
    let address = last as usize;
    if LAST.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return Ok(());
    }
    // The linker leaves out what nobody refers to.
    // SAFETY: statics of this program; see below.
    unsafe {
        (&raw const CALLBACK).read_volatile();
        (&raw const _tls_used).read_volatile();
    }
    // SAFETY: a function without captures, valid for the process's life; the value only has to be another one than null.
    unsafe {
        let index = FlsAlloc(Some(fiber_callback));
        if index != FLS_OUT_OF_INDEXES {
            FlsSetValue(index, (&raw const CALLED).cast());
        }
    }
    // SAFETY: as above.
    match unsafe { atexit(call) } {
        0 => Ok(()),
        _ => {
            let code = ERROR_NOT_ENOUGH_MEMORY as i32;
            Err(OsError::new("register", "a function for the end of this process", code))
        }
    }
}

extern "C" fn call() {
    if CALLED.swap(1, Ordering::Relaxed) != 0 {
        return;
    }
    let address = LAST.load(Ordering::Relaxed);
    if address != 0 {
        // SAFETY: `at_exit` stored the address of such a function.
        let last = unsafe { std::mem::transmute::<usize, extern "C" fn()>(address) };
        last();
    }
}

unsafe extern "C" {
    /// Of the C runtime.
    fn atexit(function: extern "C" fn()) -> c_int;

    /// The program's table of callbacks, made by the C runtime; only its presence matters.
    static _tls_used: u8;
}

#[link(name = "ntdll")]
unsafe extern "system" {
    /// Whether this process is at its end.
    fn RtlDllShutdownInProgress() -> u8;
}

unsafe extern "system" fn fiber_callback(_: *const c_void) {
    // SAFETY: takes nothing. The thread may end before its process does.
    if unsafe { RtlDllShutdownInProgress() } != 0 {
        call();
    }
}

type Callback = unsafe extern "system" fn(*mut c_void, u32, *mut c_void);

/// One of the callbacks that the system calls when threads and the process begin and end. The name puts it behind those of
/// std, which destroy thread-local variables.
#[unsafe(link_section = ".CRT$XLY")]
#[used]
static CALLBACK: Callback = callback;

unsafe extern "system" fn callback(_: *mut c_void, reason: u32, _: *mut c_void) {
    if reason == DLL_PROCESS_DETACH {
        call();
    }
}
