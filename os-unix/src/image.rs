//! The program that is running: where its main image lies in memory, and what tells it from every other program.
//!
//! Functions travel to a process of the same image as addresses relative to it, so both sides check: the sender that
//! the address lies in the main image (a library may be elsewhere in the child, or not there at all), the receiver that
//! it runs the same image.

use std::ffi::{CStr, c_int, c_void};
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

const BUILD_ID: u32 = 3;
const GNU: &[u8] = b"GNU\0";

impl Image {
    /// The image; looked at once.
    #[must_use]
    pub fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(Self::look)
    }

    fn look() -> Self {
        let mut image = Self {
            base: 0,
            code: Vec::new(),
            mapped: Vec::new(),
            constant: Vec::new(),
            identity: Vec::new(),
        };
        let data = (&raw mut image).cast::<c_void>();
        // SAFETY: `first` is called for the first image alone, with `data` as above, before this returns.
        unsafe { libc::dl_iterate_phdr(Some(first), data) };
        if image.identity.is_empty() {
            image.identity = image.hash_of_code().to_le_bytes().to_vec();
        }
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
    let text = |pointer: *const libc::c_char| {
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

/// Called for each image; the first is the main one.
unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _: usize, image: *mut c_void) -> c_int {
    // SAFETY: `look` passed its `Image`, and waits; the loader passes its own structure.
    let (image, info) = unsafe { (&mut *image.cast::<Image>(), &*info) };
    image.base = info.dlpi_addr as usize;
    // SAFETY: the loader's own array of program headers.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        let start = image.base.wrapping_add(header.p_vaddr as usize);
        let range = start..start.wrapping_add(header.p_memsz as usize);
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_R != 0 => {
                if header.p_flags & libc::PF_X != 0 {
                    image.code.push(range.clone());
                }
                if header.p_flags & libc::PF_W == 0 {
                    image.constant.push(range.clone());
                }
                image.mapped.push(range);
            }
            libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => image.code.push(range),
            libc::PT_NOTE => {
                // SAFETY: notes lie in a loaded, read-only segment of the main image.
                let notes = unsafe { std::slice::from_raw_parts(start as *const u8, range.len()) };
                if let Some(id) = build_id(notes, header.p_align as usize) {
                    image.identity = id.to_vec();
                }
            }
            _ => {}
        }
    }
    1
}

/// The build id among an image's notes.
fn build_id(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    let align = if align == 8 { 8 } else { 4 };
    loop {
        let number = |at: usize| {
            let bytes = notes.get(at..at + 4)?.first_chunk::<4>()?;
            Some(u32::from_ne_bytes(*bytes) as usize)
        };
        let (name_len, len, kind) = (number(0)?, number(4)?, number(8)?);
        let name = notes.get(12..12_usize.checked_add(name_len)?)?;
        let at = (12 + name_len).next_multiple_of(align);
        let end = at.checked_add(len)?;
        let content = notes.get(at..end)?;
        if kind == BUILD_ID as usize && name == GNU && !content.is_empty() {
            return Some(content);
        }
        notes = notes.get(end.next_multiple_of(align)..)?;
    }
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
        assert!(!image.identity().is_empty());
    }

    #[test]
    fn what_is_elsewhere_is_not_in_the_main_image() {
        let image = Image::main();
        let heap = Box::new(1);
        let library = libc::getpid as unsafe extern "C" fn() -> libc::pid_t as usize;
        assert_eq!(image.data_offset((&raw const *heap).addr(), 4), None);
        assert_eq!(image.data_at(usize::MAX, 4), None);
        let end = image.mapped.iter().map(|part| part.end).max().unwrap();
        assert_eq!(image.data_offset(end - 4, 8), None, "half of it is");
        // A program that is linked statically has the library in its image.
        if image.code_offset(library).is_none() {
            assert!(describe(library).contains("getpid"), "{}", describe(library));
        }
    }

    #[test]
    fn build_id_is_found_behind_other_notes() {
        let note = |kind: u32, name: &[u8], content: &[u8]| {
            let mut bytes = Vec::new();
            for number in [name.len() as u32, content.len() as u32, kind] {
                bytes.extend_from_slice(&number.to_ne_bytes());
            }
            for part in [name, content] {
                bytes.extend_from_slice(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let notes = [note(1, GNU, &[9; 16]), note(3, GNU, &[1, 2, 3])].concat();
        assert_eq!(build_id(&notes, 4), Some(&[1, 2, 3][..]));
        assert_eq!(build_id(&notes[..notes.len() - 4], 4), None, "cut off");
        assert_eq!(build_id(&note(3, b"GNX\0", &[1]), 4), None);
        assert_eq!(build_id(&[255; 40], 4), None);
    }
}
