//! Bytes to chitchat messages and back: what of a peer's bytes may reach chitchat at all?

use bytes::Bytes;
use chitchat::{ChitchatMessage, Deserializable, Serializable};

/// chitchat's own limit, with which it plans its messages.
pub(crate) const MAX_FRAME_BYTES: usize = 65_507;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("{bytes} bytes are more than a gossip message can have")]
    TooLong { bytes: usize },
    #[error("the bytes are no gossip message")]
    Malformed,
    #[error("a counter of the message is higher than anything can have counted")]
    Counter,
    #[error("the message would unfold to too many bytes")]
    Bomb,
}

pub(crate) fn encode(message: &ChitchatMessage) -> Result<Bytes, FrameError> {
    let bytes = message.serialize_to_vec();
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes.into())
}

pub(crate) fn decode(frame: &[u8]) -> Result<ChitchatMessage, FrameError> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { bytes: frame.len() });
    }
    check(frame)?;
    let mut rest = frame;
    let message = ChitchatMessage::deserialize(&mut rest).or(Err(FrameError::Malformed))?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Malformed)
    }
}

/// Looks for what chitchat would take although it harms: compressed blocks without end,
/// and counters near their overflow.
fn check(frame: &[u8]) -> Result<(), FrameError> {
    let mut reader = Reader(frame);
    let _magic_and_version = reader.take(3)?;
    match reader.byte()? {
        SYN => reader.digest(),
        SYN_ACK => {
            reader.digest()?;
            reader.delta()
        }
        ACK => reader.delta(),
        // chitchat knows which other kinds there are.
        _ => Ok(()),
    }
}

/// What is left of a frame.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self
            .0
            .split_at_checked(n_bytes)
            .ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        self.take(N)?.try_into().or(Err(FrameError::Malformed))
    }

    fn byte(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, FrameError> {
        self.array()
            .map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn counter(&mut self) -> Result<(), FrameError> {
        if u64::from_le_bytes(self.array()?) > MAX_COUNTER {
            return Err(FrameError::Counter);
        }
        Ok(())
    }

    /// Per node: name, generation, address, heartbeat, last collected version, version.
    fn digest(&mut self) -> Result<(), FrameError> {
        for _ in 0..self.length()? {
            let name = self.length()?;
            self.take(name)?;
            self.counter()?;
            let address = match self.byte()? {
                4 => 4,
                6 => 16,
                _ => return Err(FrameError::Malformed),
            };
            let _address_and_port = self.take(address + 2)?;
            for _ in 0..3 {
                self.counter()?;
            }
        }
        Ok(())
    }

    /// Blocks, compressed or not, each of which becomes at most 64 KB.
    fn delta(&mut self) -> Result<(), FrameError> {
        for _ in 0..MAX_BLOCKS {
            if self.byte()? == NO_MORE_BLOCKS {
                return Ok(());
            }
            let length = self.length()?;
            self.take(length)?;
        }
        Err(FrameError::Bomb)
    }
}

const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
const ACK: u8 = 2;
const NO_MORE_BLOCKS: u8 = 0;

/// chitchat cuts a delta into blocks of 16 KB before it compresses them: the whole state of
/// 5,000 members at 500 bytes is 150 of them. A forged message unfolds to 16 MB at most.
const MAX_BLOCKS: usize = 256;

/// Nothing counts that far; generations are milliseconds of this epoch. One more step
/// beyond `u64::MAX` would end the gossip of whoever takes it.
const MAX_COUNTER: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use chitchat::ChitchatMessage;

    use super::{FrameError, MAX_FRAME_BYTES, decode, encode};

    const HEAD: [u8; 3] = [0x53, 0xb0, 0];

    fn syn(heartbeat: u64) -> Vec<u8> {
        let mut frame = HEAD.to_vec();
        frame.extend([0, 1, 0, 2, 0, b's', b'1']);
        frame.extend(1u64.to_le_bytes());
        frame.extend([4, 10, 0, 0, 1, 0, 1]);
        for counter in [heartbeat, 0, 1] {
            frame.extend(counter.to_le_bytes());
        }
        frame.extend([1, 0, b'c']);
        frame
    }

    #[test]
    fn a_message_comes_back() {
        let message = decode(&syn(7)).unwrap();
        assert!(matches!(&message, ChitchatMessage::Syn { cluster_id, .. } if cluster_id == "c"));
        assert_eq!(encode(&message).unwrap(), syn(7));
    }

    #[test]
    fn harmful_bytes_do_not_reach_chitchat() {
        let mut bomb = HEAD.to_vec();
        bomb.push(2);
        bomb.extend([2, 0, 0].repeat(1000));
        bomb.push(0);
        let mut tail = syn(7);
        tail.push(0);
        for (frame, expected) in [
            (Vec::new(), FrameError::Malformed),
            (b"GET / HTTP/1.1".to_vec(), FrameError::Malformed),
            (tail, FrameError::Malformed),
            (syn(u64::MAX), FrameError::Counter),
            (bomb, FrameError::Bomb),
            (vec![0; 65_508], FrameError::TooLong { bytes: 65_508 }),
        ] {
            assert_eq!(decode(&frame), Err(expected), "{:?}", frame.get(..8));
        }
        assert_eq!(MAX_FRAME_BYTES, 65_507);
    }

    #[test]
    fn a_truncated_message_is_malformed_wherever_it_ends() {
        let whole = syn(7);
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), Err(FrameError::Malformed), "{end}");
        }
    }
}
