//! A program, usually this one again, started with exactly the handles that the child needs.
//!
//! Each handle is duplicated for the child alone, as one that is inherited, and named in the list of what this child
//! inherits; the duplicates are closed when it runs. Another thread that starts a program by other means in between, which
//! inherits *all* such handles, as `std::process::Command` does, gives them to that program, too: the system has no means
//! against that. The ends of lifelines that keep a child alive are never among them.

use crate::error::{OsError, Result, last_error};
use crate::inherited::{HANDLES, has_nul};
use crate::lifeline::Lifeline;
use crate::process::Process;
use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr;
use windows_sys::Win32::Foundation as win;
use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::Console as console;
use windows_sys::Win32::System::Threading as thread;

/// Where one of the child's standard streams comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Stdio<'a> {
    /// What the parent has.
    #[default]
    Inherit,
    /// `NUL`.
    Null,
    /// This handle. Named as on Unix, as is `fds` below.
    Fd(BorrowedHandle<'a>),
}

/// A program to start.
///
/// It gets the standard streams, `fds` as its numbers 3, 4, 5 and so on (see [`inherited`](crate::inherited)), and no
/// other handle.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// The program's path; `None` is the program that is running.
    pub exe: Option<OsString>,
    /// Its arguments, its name first.
    pub argv: Vec<OsString>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<OsString>,
    /// Its standard streams: input, output, errors.
    pub stdio: [Stdio<'a>; 3],
    /// What it gets besides.
    pub fds: Vec<BorrowedHandle<'a>>,
    /// It ends when this one is dropped, or its process ends.
    pub lifeline: Option<&'a Lifeline>,
}

/// A process that this one started. Dropping it does not end the process.
#[derive(Debug)]
pub struct Child {
    process: Process,
}

impl Child {
    /// Its number. Another process may have it once this one has ended and this is dropped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself: to end it, to wait for its end. Named as on Unix.
    #[must_use]
    pub fn pidfd(&self) -> &Process {
        &self.process
    }
}

impl<'a> Start<'a> {
    /// A start, of this program and without arguments, of a process that ends with `lifeline` and gets `files`.
    #[must_use]
    pub fn tied(lifeline: &'a Lifeline, files: Vec<BorrowedHandle<'a>>) -> Self {
        Self { fds: files, lifeline: Some(lifeline), ..Self::default() }
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// What the system says of the program (not found, denied, out of memory), and limits on processes or handles.
    /// Invalid: a NUL in an argument, or a command line that is too long. Nothing is left behind.
    pub fn spawn(&self) -> Result<Child> {
        let exe = match &self.exe {
            Some(exe) => exe.clone(),
            None => this_program()?,
        };
        let failed =
            |code: u32| OsError::new("execute", exe.to_string_lossy().into_owned(), code as i32);
        let texts = [&exe].into_iter().chain(&self.argv).chain(&self.env);
        if texts.into_iter().any(|text| has_nul(text)) {
            return Err(failed(win::ERROR_INVALID_PARAMETER)
                .with_advice("no path, argument or variable may have a NUL in it"));
        }
        let streams = self.streams()?;
        let handles = self
            .fds
            .iter()
            .map(|handle| inheritable(handle.as_raw_handle()))
            .collect::<Result<Vec<_>>>()?;
        let inherited: Vec<RawHandle> =
            streams.iter().flatten().chain(&handles).map(AsRawHandle::as_raw_handle).collect();
        let job = self.lifeline.map(|lifeline| lifeline.job().handle().as_raw_handle());
        let attributes = Attributes::new(&inherited, job.as_ref())?;

        let stream =
            |at: usize| streams[at].as_ref().map_or(ptr::null_mut(), AsRawHandle::as_raw_handle);
        let mut info = thread::STARTUPINFOEXW::default();
        info.StartupInfo.cb = size_of_val(&info) as u32;
        info.StartupInfo.dwFlags = thread::STARTF_USESTDHANDLES;
        info.StartupInfo.hStdInput = stream(0);
        info.StartupInfo.hStdOutput = stream(1);
        info.StartupInfo.hStdError = stream(2);
        info.lpAttributeList = attributes.list;
        let path = wide(&exe);
        let mut line = command_line(&self.argv);
        let environment = environment(&self.env, &handles);
        let mut process = thread::PROCESS_INFORMATION::default();
        // SAFETY: path, line and environment are terminated, the line is writable, and `info` says by its size that the
        // attributes follow, whose handles are open until after the call.
        let done = unsafe {
            thread::CreateProcessW(
                path.as_ptr(),
                line.as_mut_ptr(),
                ptr::null(),
                ptr::null(),
                i32::from(!inherited.is_empty()),
                thread::EXTENDED_STARTUPINFO_PRESENT | thread::CREATE_UNICODE_ENVIRONMENT,
                environment.as_ptr().cast(),
                ptr::null(),
                (&raw const info).cast(),
                &mut process,
            )
        };
        if done == 0 {
            let error = failed(last_error() as u32);
            return Err(match error.code() as u32 {
                win::ERROR_FILE_NOT_FOUND | win::ERROR_PATH_NOT_FOUND => {
                    error.with_advice("check the path; was the program moved while it runs?")
                }
                win::ERROR_FILENAME_EXCED_RANGE => {
                    error.with_advice("the arguments may have 32767 characters together")
                }
                _ => error,
            });
        }
        // SAFETY: the call made both handles, and nobody else knows them.
        let process_handle = unsafe {
            drop(OwnedHandle::from_raw_handle(process.hThread));
            OwnedHandle::from_raw_handle(process.hProcess)
        };
        Ok(Child { process: Process::from_handle(process.dwProcessId, process_handle) })
    }

    /// The child's standard streams; `None` for one that this process does not have either.
    fn streams(&self) -> Result<[Option<OwnedHandle>; 3]> {
        let mut streams = [None, None, None];
        let names =
            [console::STD_INPUT_HANDLE, console::STD_OUTPUT_HANDLE, console::STD_ERROR_HANDLE];
        for ((stream, from), name) in streams.iter_mut().zip(&self.stdio).zip(names) {
            *stream = match from {
                Stdio::Inherit => {
                    // SAFETY: takes an integer.
                    let own = unsafe { console::GetStdHandle(name) };
                    if own.is_null() || own == win::INVALID_HANDLE_VALUE {
                        continue;
                    }
                    // What it stands for may have been closed: then the child has none either.
                    match inheritable(own) {
                        Err(error) if error.is_invalid() => None,
                        duplicate => Some(duplicate?),
                    }
                }
                Stdio::Null => Some(inheritable(open_null()?.as_raw_handle())?),
                Stdio::Fd(handle) => Some(inheritable(handle.as_raw_handle())?),
            };
        }
        Ok(streams)
    }
}

fn this_program() -> Result<OsString> {
    std::env::current_exe().map(OsString::from).map_err(|error| {
        OsError::new("find", "the program that is running", error.raw_os_error().unwrap_or(0))
    })
}

/// A duplicate that a child may inherit.
fn inheritable(handle: RawHandle) -> Result<OwnedHandle> {
    let mut duplicate = ptr::null_mut();
    // SAFETY: both processes are this one; `duplicate` is writable. A number that is no handle is refused.
    let done = unsafe {
        let this = thread::GetCurrentProcess();
        win::DuplicateHandle(this, handle, this, &mut duplicate, 0, 1, win::DUPLICATE_SAME_ACCESS)
    };
    if done == 0 {
        return Err(OsError::last("duplicate", "a handle for a child"));
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(duplicate) })
}

pub(crate) fn open_null() -> Result<OwnedHandle> {
    // SAFETY: a terminated path.
    let handle = unsafe {
        fs::CreateFileW(
            wide(OsStr::new("NUL")).as_ptr(),
            win::GENERIC_READ | win::GENERIC_WRITE,
            fs::FILE_SHARE_READ | fs::FILE_SHARE_WRITE,
            ptr::null(),
            fs::OPEN_EXISTING,
            0,
            ptr::null_mut(),
        )
    };
    if handle == win::INVALID_HANDLE_VALUE {
        return Err(OsError::last("open", "NUL"));
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// What a new process is told besides its start-up information: what it inherits, and its job.
struct Attributes {
    list: thread::LPPROC_THREAD_ATTRIBUTE_LIST,
    /// Where the list lies.
    _room: Vec<u64>,
}

impl Attributes {
    /// The list refers to `inherited` and `job`, which must live as long as it is used.
    fn new(inherited: &[RawHandle], job: Option<&RawHandle>) -> Result<Self> {
        const MOST: u32 = 2;
        let failed = || OsError::last("prepare", "the start of a process");
        let mut size = 0;
        // SAFETY: a null list asks for the size, and is refused; see below.
        unsafe { thread::InitializeProcThreadAttributeList(ptr::null_mut(), MOST, 0, &mut size) };
        let mut room = vec![0_u64; size.div_ceil(8)];
        let list = room.as_mut_ptr().cast();
        // SAFETY: `list` has the room that was asked for, aligned as any structure of the system.
        if unsafe { thread::InitializeProcThreadAttributeList(list, MOST, 0, &mut size) } == 0 {
            return Err(failed());
        }
        let this = Self { list, _room: room };
        let job = job.map_or(&[][..], std::slice::from_ref);
        for (name, handles) in [
            (thread::PROC_THREAD_ATTRIBUTE_HANDLE_LIST, inherited),
            (thread::PROC_THREAD_ATTRIBUTE_JOB_LIST, job),
        ] {
            if handles.is_empty() {
                continue;
            }
            // SAFETY: an initialised list with room for one more; the handles live as long as the caller promises.
            let done = unsafe {
                thread::UpdateProcThreadAttribute(
                    this.list,
                    0,
                    name as usize,
                    handles.as_ptr().cast(),
                    size_of_val(handles),
                    ptr::null_mut(),
                    ptr::null(),
                )
            };
            if done == 0 {
                return Err(failed());
            }
        }
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and not used any more.
        unsafe { thread::DeleteProcThreadAttributeList(self.list) };
    }
}

fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

/// The arguments as one line, from which the C runtime and Rust's std make the same arguments again.
///
/// The first stands in quotes as it is, and can have none in it. In the others backslashes are themselves, but where a
/// quote follows: there each stands twice, and the quote behind one more.
fn command_line(arguments: &[OsString]) -> Vec<u16> {
    const QUOTE: u16 = b'"' as u16;
    const BACKSLASH: u16 = b'\\' as u16;
    let mut line = Vec::new();
    for (at, argument) in arguments.iter().enumerate() {
        if at == 0 {
            line.push(QUOTE);
            line.extend(argument.encode_wide().filter(|unit| *unit != QUOTE));
            line.push(QUOTE);
            continue;
        }
        line.push(u16::from(b' '));
        line.push(QUOTE);
        let mut backslashes = 0;
        for unit in argument.encode_wide() {
            if unit == QUOTE {
                line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
            }
            backslashes = if unit == BACKSLASH { backslashes + 1 } else { 0 };
            line.push(unit);
        }
        line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
        line.push(QUOTE);
    }
    line.push(0);
    line
}

/// The environment as one block, with the variable that names `handles`.
fn environment(entries: &[OsString], handles: &[OwnedHandle]) -> Vec<u16> {
    let ours = |entry: &OsString| {
        let name: Vec<u16> = entry.encode_wide().take(HANDLES.len() + 1).collect();
        OsString::from(format!("{HANDLES}=")).encode_wide().eq(name)
    };
    let numbers: Vec<String> =
        handles.iter().map(|handle| format!("{:x}", handle.as_raw_handle() as usize)).collect();
    let named =
        (!numbers.is_empty()).then(|| OsString::from(format!("{HANDLES}={}", numbers.join(","))));
    let mut entries: Vec<OsString> =
        entries.iter().filter(|entry| !ours(entry)).cloned().chain(named).collect();
    // The system looks for names in alphabetical order, upper and lower case alike.
    entries.sort_by_cached_key(|entry| entry.to_ascii_uppercase());
    let mut block: Vec<u16> = entries.iter().flat_map(|entry| wide(entry)).collect();
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::windows::ffi::OsStringExt;

    fn line(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let line = command_line(&arguments);
        OsString::from_wide(&line[..line.len() - 1]).into_string().unwrap()
    }

    #[test]
    fn arguments_are_quoted_as_they_are_read() {
        assert_eq!(line(&[r"C:\a b\", "c"]), r#""C:\a b\" "c""#);
        assert_eq!(line(&["p", ""]), r#""p" """#);
        assert_eq!(line(&["p", r#"a"b"#, r#"a\"b"#]), r#""p" "a\"b" "a\\\"b""#);
        assert_eq!(line(&["p", r"a\", r"a\\b", r"\\"]), r#""p" "a\\" "a\\b" "\\\\""#);
    }

    #[test]
    fn environment_is_terminated_twice_even_if_empty() {
        assert_eq!(environment(&[], &[]), [0, 0]);
        let block = environment(&["b=2".into(), "A=1".into(), "OFFSPRING_HANDLES=4".into()], &[]);
        assert_eq!(String::from_utf16(&block).unwrap(), "A=1\0b=2\0\0");
    }

    #[test]
    fn program_that_is_not_there_is_not_found() {
        let start = Start { exe: Some(r"C:\no\such.exe".into()), ..Start::default() };
        let error = start.spawn().unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().contains("such.exe"), "{error}");
    }

    #[test]
    fn argument_with_a_nul_is_refused() {
        let start = Start { argv: vec!["p".into(), "a\0b".into()], ..Start::default() };
        assert!(start.spawn().unwrap_err().is_invalid());
    }
}
