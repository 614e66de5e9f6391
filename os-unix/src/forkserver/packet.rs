//! Packets between a fork server and its client: a few words, with descriptors.

use crate::error::{OsError, Result, errno};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// The kernel passes 253 at most with one packet.
pub(super) const MOST_BESIDE: usize = 250;
/// Bytes of control data for `MOST_BESIDE` descriptors, in words so that it is aligned.
const CONTROL_WORDS: usize = 2 + MOST_BESIDE.div_ceil(2) + 1;

/// Both ends of a new pair.
pub(super) fn sockets() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
        return Err(OsError::last("make", "a pair of sockets for the fork server"));
    }
    // SAFETY: the call made both, and nobody else knows them.
    let [one, other] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((one, other))
}

pub(super) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|i| {
        let word = bytes.get(4 * i..).and_then(<[u8]>::first_chunk::<4>);
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    })
}

/// Sends one packet, with descriptors.
pub(super) fn send(
    socket: &OwnedFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: i32,
) -> std::result::Result<(), i32> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let len = size_of_val(numbers.as_slice());
        // SAFETY: `control` has room for a header and `MOST_BESIDE` numbers, and callers pass no more; the header lies at
        // its beginning, which is aligned.
        unsafe {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(len as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len as u32) as _;
            ptr::copy_nonoverlapping(numbers.as_ptr().cast(), libc::CMSG_DATA(header), len);
        }
    }
    loop {
        // SAFETY: `message` names locals that live until after the call.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL | flags) };
        if sent >= 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            code => return Err(code),
        }
    }
}

/// Receives one packet, with at most `beside` descriptors; of length 0 when the other side is gone.
pub(super) fn receive(
    socket: &OwnedFd,
    bytes: &mut [u8],
    beside: usize,
) -> Result<(usize, Vec<OwnedFd>)> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut data = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: computes a size.
    let space = unsafe { libc::CMSG_SPACE((beside.min(MOST_BESIDE) * size_of::<RawFd>()) as u32) };
    message.msg_controllen = space as _;
    let got = loop {
        // SAFETY: `message` names locals that live until after the call, each with its length.
        let got =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(got) {
            Ok(got) => break got,
            Err(_) => match errno() {
                libc::EINTR => {}
                libc::ECONNRESET => break 0,
                code => return Err(OsError::new("read", "a fork server's socket", code)),
            },
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled in the control data and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !header.is_null() {
        // SAFETY: not null, so within the control data, as the kernel wrote it.
        unsafe {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let len = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
                for i in 0..len / size_of::<RawFd>() {
                    // The kernel made this descriptor for us alone.
                    fds.push(OwnedFd::from_raw_fd(numbers.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Ok((got, fds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_come_along_with_a_packet() {
        let (one, other) = sockets().unwrap();
        let many: Vec<_> = (0..MOST_BESIDE).map(|_| one.as_fd()).collect();
        send(&one, b"12345678", &many, 0).unwrap();
        let mut bytes = [0; 8];
        let (len, beside) = receive(&other, &mut bytes, MOST_BESIDE).unwrap();
        assert_eq!((len, beside.len(), &bytes), (8, MOST_BESIDE, b"12345678"));
        drop(one);
        drop(beside);
        assert_eq!(receive(&other, &mut bytes, MOST_BESIDE).unwrap().0, 0);
    }
}
