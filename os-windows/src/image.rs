//! The program that is running: where its main image lies in memory, and what tells it from every other program.
//!
//! Functions travel to a process of the same image as addresses relative to it, so both sides check: the sender that
//! the address lies in the main image (a library may be elsewhere in the child, or not there at all), the receiver that
//! it runs the same image.

use std::ops::Range;
use std::os::windows::ffi::OsStringExt;
use std::ptr;
use std::sync::OnceLock;
use windows_sys::Win32::System::Diagnostics::Debug as pe;
use windows_sys::Win32::System::LibraryLoader as loader;
use windows_sys::Win32::System::SystemServices::IMAGE_DOS_HEADER;

/// The main image of this process.
#[derive(Debug)]
pub struct Image {
    base: usize,
    /// What can be executed.
    code: Vec<Range<usize>>,
    /// What can be read, code and data.
    mapped: Vec<Range<usize>>,
    /// What can be read and is not written to once the loader is done.
    constant: Vec<Range<usize>>,
    identity: Vec<u8>,
}

/// A kind of base relocation: eight bytes that hold an address.
const ADDRESS: u16 = 10;

const PAGE: usize = 4096;

const DIRECTORY_RELOCATIONS: usize = 5;
const DIRECTORY_DEBUG: usize = 6;
const DEBUG_CODE_VIEW: u32 = 2;

impl Image {
    /// The image; looked at once.
    #[must_use]
    pub fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(Self::look)
    }

    fn look() -> Self {
        // SAFETY: null stands for the main image.
        let base = unsafe { loader::GetModuleHandleW(ptr::null()) } as usize;
        // SAFETY: the loader has mapped the image, checked its headers and keeps them readable.
        let headers = unsafe { headers(base) };
        // SAFETY: as above; the table of sections follows the optional header, whose size the file header has.
        let sections = unsafe {
            let first = (&raw const (*headers).OptionalHeader)
                .cast::<u8>()
                .add(usize::from((*headers).FileHeader.SizeOfOptionalHeader))
                .cast::<pe::IMAGE_SECTION_HEADER>();
            let count = usize::from((*headers).FileHeader.NumberOfSections);
            std::slice::from_raw_parts(first, count)
        };
        let mut image = Self {
            base,
            code: Vec::new(),
            mapped: Vec::new(),
            constant: Vec::new(),
            identity: Vec::new(),
        };
        for section in sections {
            // SAFETY: either name of the field is a length.
            let len = unsafe { section.Misc.VirtualSize } as usize;
            let start = base + section.VirtualAddress as usize;
            let range = start..start + len;
            let may = |what| section.Characteristics & what != 0;
            if may(pe::IMAGE_SCN_MEM_EXECUTE) {
                image.code.push(range.clone());
            }
            // The loader gives back what only it needs.
            if may(pe::IMAGE_SCN_MEM_READ) && !may(pe::IMAGE_SCN_MEM_DISCARDABLE) {
                if !may(pe::IMAGE_SCN_MEM_WRITE) {
                    image.constant.push(range.clone());
                }
                image.mapped.push(range);
            }
        }
        let directory = |at: usize| {
            // SAFETY: as for the headers; the array has 16 places in every image.
            let entry = unsafe { (*headers).OptionalHeader.DataDirectory[at] };
            (entry.VirtualAddress as usize, entry.Size as usize)
        };
        image.identity = image
            .build_id(directory(DIRECTORY_DEBUG))
            .unwrap_or_else(|| image.hash_of_code(directory(DIRECTORY_RELOCATIONS)));
        image
    }

    /// What tells this program from every other, and from itself built anew: the linker's build id, else a hash of the
    /// code.
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
            // SAFETY: a section of the main image, which is mapped readable for the process's life; its header says that
            // nobody writes to it.
            (part, unsafe { std::slice::from_raw_parts(part.start as *const u8, part.len()) })
        })
    }

    /// The bytes at an offset; `None` if they are not those of a section that never changes.
    fn bytes(&self, offset: usize, len: usize) -> Option<&'static [u8]> {
        let address = self.base.checked_add(offset)?;
        self.unchanging().find_map(|(part, bytes)| {
            let at = address.checked_sub(part.start)?;
            bytes.get(at..at.checked_add(len)?)
        })
    }

    /// The id that linkers write into the debug directory: a random or hashed number, and how often it was used.
    fn build_id(&self, (at, len): (usize, usize)) -> Option<Vec<u8>> {
        const ENTRY: usize = size_of::<pe::IMAGE_DEBUG_DIRECTORY>();
        const ID: Range<usize> = 4..24;
        self.bytes(at, len)?.chunks_exact(ENTRY).find_map(|entry| {
            let number = |at: usize| {
                entry.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
            };
            let (kind, place) = (number(12)?, number(20)? as usize);
            let content = self.bytes(place, ID.end)?;
            (kind == DEBUG_CODE_VIEW && content.starts_with(b"RSDS")).then(|| content[ID].to_vec())
        })
    }

    /// Of the code, but for the addresses in it, which depend on where the image lies in this process.
    fn hash_of_code(&self, (at, len): (usize, usize)) -> Vec<u8> {
        let base = self.base;
        let relocations = || {
            // SAFETY: the loader's own table, which it has read. Where its section was given back, the directory is not
            // in a section that can be read, and `is_mapped` says so.
            is_mapped(base + at, len)
                .then(|| unsafe { std::slice::from_raw_parts((base + at) as *const u8, len) })
        };
        let mut addresses = relocations().map(|table| relocated(table, base)).unwrap_or_default();
        addresses.sort_unstable();
        addresses.dedup();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for word in bytes.chunks(8) {
                let mut value = [0; 8];
                value[..word.len()].copy_from_slice(word);
                hash = (hash ^ u64::from_le_bytes(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash ^= hash >> 29;
            }
        };
        for mut bytes in self.code() {
            let first = addresses.partition_point(|address| *address < bytes.as_ptr().addr());
            for address in &addresses[first..] {
                let Some(at) = address.checked_sub(bytes.as_ptr().addr()) else { continue };
                let Some((before, rest)) = bytes.split_at_checked(at) else {
                    break;
                };
                add(before);
                bytes = rest.get(8..).unwrap_or_default();
            }
            add(bytes);
        }
        hash.to_le_bytes().to_vec()
    }
}

/// Where the image holds addresses, as its table of base relocations tells: blocks of a page each.
fn relocated(mut table: &[u8], base: usize) -> Vec<usize> {
    let mut addresses = Vec::new();
    while let Some([page, size]) = table.first_chunk::<8>().map(|header| {
        let (page, size) = header.split_at(4);
        [page, size].map(|bytes| bytes.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte)))
    }) {
        let Some(entries) = table.get(8..size) else { break };
        for entry in entries.chunks_exact(2) {
            let entry = u16::from_le_bytes([entry[0], entry[1]]);
            if entry >> 12 == ADDRESS {
                addresses.push(base + page + usize::from(entry) % PAGE);
            }
        }
        table = &table[size..];
    }
    addresses
}

fn is_mapped(address: usize, len: usize) -> bool {
    use windows_sys::Win32::System::Memory as memory;
    let mut info = memory::MEMORY_BASIC_INFORMATION::default();
    // SAFETY: any address may be asked about; `info` is writable and of the size that is said.
    let done = unsafe { memory::VirtualQuery(address as *const _, &mut info, size_of_val(&info)) };
    let readable = memory::PAGE_READONLY
        | memory::PAGE_READWRITE
        | memory::PAGE_WRITECOPY
        | memory::PAGE_EXECUTE_READ
        | memory::PAGE_EXECUTE_READWRITE
        | memory::PAGE_EXECUTE_WRITECOPY;
    done != 0
        && info.State == memory::MEM_COMMIT
        && info.Protect & readable != 0
        && info.BaseAddress as usize + info.RegionSize >= address + len
}

/// # Safety
///
/// An image is mapped at `base`.
unsafe fn headers(base: usize) -> *const pe::IMAGE_NT_HEADERS64 {
    let dos = base as *const IMAGE_DOS_HEADER;
    // SAFETY: an image begins with this header, which says where the next one is.
    (base + unsafe { (*dos).e_lfanew } as usize) as *const pe::IMAGE_NT_HEADERS64
}

/// What lies at `address`, for people: the file, as far as the loader knows it.
#[must_use]
pub fn describe(address: usize) -> String {
    let mut module = ptr::null_mut();
    let flags = loader::GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS
        | loader::GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    // SAFETY: by the flag the second argument is any address, and `module` is writable.
    if unsafe { loader::GetModuleHandleExW(flags, address as *const u16, &mut module) } == 0 {
        return format!("the code at {address:#x}, in no file");
    }
    let mut path = vec![0_u16; 32768];
    // SAFETY: the path is writable for its length.
    let len = unsafe { loader::GetModuleFileNameW(module, path.as_mut_ptr(), path.len() as u32) };
    path.truncate(len as usize);
    let file = std::ffi::OsString::from_wide(&path);
    format!("the code at {:#x} in {}", address - module as usize, file.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_code_and_data_are_in_the_main_image() {
        static DATA: [u64; 2] = [3, 4];
        let image = Image::main();
        let code = own_code_and_data_are_in_the_main_image as fn() as usize;
        let offset = image.code_offset(code).unwrap();
        assert_eq!(image.code_at(offset), Some(code));
        let data = (&raw const DATA).addr();
        let offset = image.data_offset(data, 16).unwrap();
        assert_eq!(image.data_at(offset, 16), Some(data));
        assert_eq!(image.code_offset(data), None, "data is no code");
        assert!(image.identity().len() >= 8);
    }

    #[test]
    fn what_is_elsewhere_is_not_in_the_main_image() {
        let image = Image::main();
        let heap = Box::new(1);
        assert_eq!(image.data_offset((&raw const *heap).addr(), 4), None);
        assert_eq!(image.data_at(usize::MAX, 4), None);
        let end = image.mapped.iter().map(|part| part.end).max().unwrap();
        assert_eq!(image.data_offset(end - 4, 8), None, "half of it is");
        let library = library();
        assert_eq!(image.code_offset(library), None);
        let text = describe(library).to_ascii_lowercase();
        assert!(text.contains("kernel32.dll"), "{text}");
    }

    /// The address of a function of the system.
    fn library() -> usize {
        let name: Vec<u16> = "kernel32.dll".encode_utf16().chain([0]).collect();
        // SAFETY: both names are terminated.
        unsafe {
            let module = loader::GetModuleHandleW(name.as_ptr());
            loader::GetProcAddress(module, c"GetCurrentProcessId".as_ptr().cast()).unwrap() as usize
        }
    }

    #[test]
    fn relocations_are_read_as_far_as_they_make_sense() {
        let mut table = Vec::new();
        table.extend(0x2000_u32.to_le_bytes());
        table.extend(12_u32.to_le_bytes());
        table.extend([0xa123_u16.to_le_bytes(), 0_u16.to_le_bytes()].concat());
        assert_eq!(relocated(&table, 0x10000), [0x12123]);
        assert_eq!(relocated(&table[..10], 0x10000), [], "cut off");
        assert_eq!(relocated(&[0; 16], 0x10000), [], "a block that is too short for its header");
    }
}
