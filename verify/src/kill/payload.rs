//! What the messages hold: a name, and bytes that follow from it, so that a torn message shows.
//!
//! ```text
//! 0  name   u64   reply 1 | round 23 | life 16 | item 24
//! 8  len    u32   bytes of the whole message
//! 12 sum    u32   of the two above
//! 16        words that follow from name and place; the last one cut
//! ```

/// Bytes of the smallest message.
pub const LEAST: usize = 16;

/// What a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    /// Whether it answers the item.
    pub reply: bool,
    /// The round.
    pub round: u32,
    /// Who wrote it.
    pub life: u16,
    /// Which item.
    pub item: u32,
}

impl Name {
    fn bits(self) -> u64 {
        (self.reply as u64) << 63
            | u64::from(self.round & 0x7f_ffff) << 40
            | u64::from(self.life) << 24
            | u64::from(self.item & 0xff_ffff)
    }

    fn from_bits(bits: u64) -> Self {
        Self {
            reply: bits >> 63 != 0,
            round: (bits >> 40) as u32 & 0x7f_ffff,
            life: (bits >> 24) as u16,
            item: bits as u32 & 0xff_ffff,
        }
    }
}

fn mix(name: u64, place: usize) -> u64 {
    let x = (name ^ place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ place as u64
}

fn sum(name: u64, len: usize) -> u32 {
    (mix(name, len) >> 32) as u32
}

/// Fills `bytes`, at least [`LEAST`] of them.
pub fn write(bytes: &mut [u8], name: Name) {
    let name = name.bits();
    let len = bytes.len();
    bytes[..8].copy_from_slice(&name.to_le_bytes());
    bytes[8..12].copy_from_slice(&(len as u32).to_le_bytes());
    bytes[12..16].copy_from_slice(&sum(name, len).to_le_bytes());
    for (i, chunk) in bytes[LEAST..].chunks_mut(8).enumerate() {
        let word = mix(name, i).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Reads a message; what is wrong with it, if it is torn.
pub fn read(bytes: &[u8]) -> Result<Name, String> {
    if bytes.len() < LEAST {
        return Err(format!("torn: a message of {} bytes", bytes.len()));
    }
    let word = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    let (name, rest) = (word(0), word(8));
    if rest as u32 as usize != bytes.len() || (rest >> 32) as u32 != sum(name, bytes.len()) {
        return Err(format!(
            "torn: {} bytes came, the head says {} of {:x?}",
            bytes.len(),
            rest as u32,
            Name::from_bits(name)
        ));
    }
    for (i, chunk) in bytes[LEAST..].chunks(8).enumerate() {
        if *chunk != mix(name, i).to_le_bytes()[..chunk.len()] {
            return Err(format!(
                "torn: byte {} of {} of {:x?}",
                LEAST + i * 8,
                bytes.len(),
                Name::from_bits(name)
            ));
        }
    }
    Ok(Name::from_bits(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = Name { reply: true, round: 77, life: 4095, item: 65535 };

    #[test]
    fn message_of_any_length_tells_its_name() {
        for len in [16, 17, 23, 24, 48, 250, 1024] {
            let mut bytes = vec![0; len];
            write(&mut bytes, NAME);
            assert_eq!(read(&bytes), Ok(NAME));
        }
    }

    #[test]
    fn one_wrong_byte_anywhere_shows() {
        let mut bytes = vec![0; 100];
        write(&mut bytes, NAME);
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(read(&bytes).is_err(), "byte {at}");
            bytes[at] ^= 1;
        }
        assert!(read(&bytes[..99]).is_err() && read(&bytes[..8]).is_err());
    }
}
