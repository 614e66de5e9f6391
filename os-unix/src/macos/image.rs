//! The program that is running: where its main image lies in memory, and what tells it from every other program. macOS;
//! type-checked, not run.
//!
//! Functions travel to a process of the same image as addresses relative to it, so both sides check: the sender that
//! the address lies in the main image (a library may be elsewhere in the child, or not there at all), the receiver that
//! it runs the same image.

use std::ffi::{CStr, c_char, c_void};
use std::ops::Range;
use std::sync::OnceLock;

/// The main image of this process.
#[derive(Debug)]
pub struct Image {
    base: usize,
    /// What can be executed.
    code: Vec<Range<usize>>,
    /// What can be read, code and data.
    mapped: Vec<Range<usize>>,
    /// What can be read and is not written to, not even by the loader.
    constant: Vec<Range<usize>>,
    identity: Vec<u8>,
}

/// `mach_header_64` of <mach-o/loader.h>; the commands follow it.
#[repr(C)]
struct Header {
    magic: u32,
    cpu: [u32; 2],
    kind: u32,
    commands: u32,
    bytes_of_commands: u32,
    flags: u32,
    reserved: u32,
}

// From <mach-o/dyld.h>; the first image is the main one.
unsafe extern "C" {
    fn _dyld_get_image_header(index: u32) -> *const Header;
    fn _dyld_get_image_vmaddr_slide(index: u32) -> isize;
}

const LC_UUID: u32 = 0x1b;
const LC_SEGMENT_64: u32 = 0x19;
const READ: i32 = 1;
const WRITE: i32 = 2;
const EXECUTE: i32 = 4;

impl Image {
    /// The image; looked at once.
    #[must_use]
    pub fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(Self::look)
    }

    fn look() -> Self {
        // SAFETY: there is a first image, which stays loaded for the process's life.
        let (header, slide) =
            unsafe { (_dyld_get_image_header(0), _dyld_get_image_vmaddr_slide(0)) };
        let mut image = Self {
            base: header.addr(),
            code: Vec::new(),
            mapped: Vec::new(),
            constant: Vec::new(),
            identity: Vec::new(),
        };
        // SAFETY: the loader's own header, and behind it as many bytes of commands as it says.
        let (count, mut commands) = unsafe {
            let bytes = std::slice::from_raw_parts(
                header.add(1).cast::<u8>(),
                (*header).bytes_of_commands as usize,
            );
            ((*header).commands, bytes)
        };
        for _ in 0..count {
            let (Some(kind), Some(len)) = (number(commands, 0), number(commands, 4)) else { break };
            let Some(command) = commands.get(..len as usize).filter(|one| one.len() >= 8) else {
                break;
            };
            match kind {
                LC_UUID => image.identity = command.get(8..24).unwrap_or_default().to_vec(),
                LC_SEGMENT_64 => {
                    image.segment(command, slide);
                }
                _ => {}
            }
            commands = &commands[len as usize..];
        }
        if image.identity.is_empty() {
            image.identity = image.hash_of_code().to_le_bytes().to_vec();
        }
        image
    }

    /// A `segment_command_64`: kind, length, name of 16 bytes, address, size, offset, size in the file, most and first protection.
    fn segment(&mut self, command: &[u8], slide: isize) -> Option<()> {
        let name = command.get(8..24)?;
        let (address, len) = (long(command, 24)?, long(command, 32)?);
        let protection = number(command, 60)? as i32;
        let start = (address as usize).wrapping_add_signed(slide);
        let range = start..start.wrapping_add(len as usize);
        // The page at 0 that nobody may touch, and what the loader keeps to itself.
        if protection & READ == 0 || len == 0 || name.starts_with(b"__LINKEDIT\0") {
            return None;
        }
        if protection & EXECUTE != 0 {
            self.code.push(range.clone());
        }
        if protection & WRITE == 0 {
            self.constant.push(range.clone());
        }
        self.mapped.push(range);
        Some(())
    }

    /// What tells this program from every other, and from itself built anew: the linker's id, else a hash of the code.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// Where in the image the code at `address` is; `None` if it belongs to something else, such as a library.
    #[must_use]
    pub fn code_offset(&self, address: usize) -> Option<usize> {
        self.code.iter().any(|part| part.contains(&address)).then(|| address - self.base)
    }

    /// Where in the image the `len` bytes of data at `address` are; `None` if they belong to something else.
    #[must_use]
    pub fn data_offset(&self, address: usize, len: usize) -> Option<usize> {
        let inside = |part: &Range<usize>| part.contains(&address) && part.end - address >= len;
        self.mapped.iter().any(inside).then(|| address - self.base)
    }

    /// The address of the code at `offset`; `None` if no code is there.
    #[must_use]
    pub fn code_at(&self, offset: usize) -> Option<usize> {
        let address = self.base.checked_add(offset)?;
        self.code_offset(address).map(|_| address)
    }

    /// The address of `len` readable bytes at `offset`; `None` if they are not there.
    #[must_use]
    pub fn data_at(&self, offset: usize, len: usize) -> Option<usize> {
        let address = self.base.checked_add(offset)?;
        self.data_offset(address, len).map(|_| address)
    }

    /// All data of the image that is never written to.
    pub fn constants(&self) -> impl Iterator<Item = &'static [u8]> + use<'_> {
        self.unchanging().filter(|(range, _)| !self.code.contains(range)).map(|(_, bytes)| bytes)
    }

    /// All code of the image, and what the linker put beside it.
    pub fn code(&self) -> impl Iterator<Item = &'static [u8]> + use<'_> {
        self.unchanging().filter(|(range, _)| self.code.contains(range)).map(|(_, bytes)| bytes)
    }

    fn unchanging(&self) -> impl Iterator<Item = (&Range<usize>, &'static [u8])> {
        self.constant.iter().map(|part| {
            // SAFETY: a segment of the main image, which is mapped readable for the process's life; its header says that
            // nobody writes to it.
            (part, unsafe { std::slice::from_raw_parts(part.start as *const u8, part.len()) })
        })
    }

    fn hash_of_code(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for bytes in self.code() {
            for word in bytes.chunks(8) {
                let mut value = [0; 8];
                value[..word.len()].copy_from_slice(word);
                hash = (hash ^ u64::from_le_bytes(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash ^= hash >> 29;
            }
        }
        hash
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// What lies at `address`, for people: the symbol and the file, as far as the loader knows them.
#[must_use]
pub fn describe(address: usize) -> String {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: `dladdr` takes any address, and writes to `info`.
    if unsafe { libc::dladdr(address as *const c_void, &mut info) } == 0 {
        return format!("the code at {address:#x}, in no file");
    }
    let text = |pointer: *const c_char| {
        // SAFETY: the loader gives null or a terminated string that lives as long as the library, which holds code that
        // the caller is about to call.
        (!pointer.is_null())
            .then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
    };
    let file = text(info.dli_fname).unwrap_or_default();
    match text(info.dli_sname) {
        Some(symbol) => format!("`{symbol}` in {file}"),
        None => format!("the code at {:#x} in {file}", address - info.dli_fbase as usize),
    }
}
