//! Messages of 1 MiB, every byte of which is written by the sender and summed by the receiver.

use crate::Result;
use crate::stage::Seat;

/// Words of a message: 1 MiB.
pub const WORDS: usize = (1 << 20) / size_of::<u64>();
/// Messages that are on the way at most.
pub const DEPTH: usize = 8;

/// Writes every byte of message `number`.
pub fn fill(message: &mut [u64], number: u64) {
    for (word, i) in message.iter_mut().zip(0..) {
        *word = number + i;
    }
}

/// Reads every byte of a message: which one it is, unless a word is not its own.
pub fn number_of(message: &[u64]) -> Result<u64> {
    number_of_sum(message.iter().fold(0, |sum, word| sum.wrapping_add(*word)))
}

/// Which message has this sum of its words.
pub fn number_of_sum(sum: u64) -> Result<u64> {
    const OF_FIRST: u64 = WORDS as u64 * (WORDS as u64 - 1) / 2;
    let rest = sum.wrapping_sub(OF_FIRST);
    if !rest.is_multiple_of(WORDS as u64) {
        return Err(format!("no message has the sum {sum}").into());
    }
    Ok(rest / WORDS as u64)
}

/// Takes part as a producer of `count` messages.
pub fn produce(seat: Seat<'_>, count: u64, mut put: impl FnMut(u64) -> Result<()>) -> Result<()> {
    seat.start();
    (0..count).try_for_each(&mut put)?;
    seat.finish(0, 0);
    Ok(())
}

/// Takes part as a consumer of `count` messages; `get` says which one came.
pub fn consume(seat: Seat<'_>, count: u64, mut get: impl FnMut() -> Result<u64>) -> Result<()> {
    seat.start();
    let mut sum = 0_u64;
    for _ in 0..count {
        sum = sum.wrapping_add(get()?);
    }
    seat.finish(count, sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_number_and_a_wrong_one_does_not() {
        let mut message = vec![0; WORDS];
        fill(&mut message, 77);
        assert_eq!(number_of(&message).unwrap(), 77);
        message[5] += 1;
        assert!(number_of(&message).is_err());
        assert!(number_of(&message[1..]).is_err());
    }
}
