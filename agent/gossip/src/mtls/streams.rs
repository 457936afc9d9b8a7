//! By which stream does a reply go back? Keeps the inbound streams by their made-up
//! addresses.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pki::Subject;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::random::{self, unguessable};

/// The inbound streams. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    most: usize,
    streams: Arc<Mutex<HashMap<SocketAddr, Inbound>>>,
}

#[derive(Debug)]
struct Inbound {
    peer: Subject,
    replies: mpsc::Sender<Bytes>,
    number: u64,
    taken: CancellationToken,
}

/// The place of one inbound stream; dropping it takes the stream out and ends it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The made-up address of the stream.
    pub(crate) token: SocketAddr,
    /// Cancelled when a newer stream of the same member has taken the place.
    pub(crate) taken: CancellationToken,
    streams: Streams,
}

impl Streams {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            streams: Arc::default(),
        }
    }

    /// Makes room for a stream of `peer`; none when there are too many. A member that has
    /// too many itself loses its oldest.
    pub(crate) fn enter(&self, peer: &Subject, replies: mpsc::Sender<Bytes>) -> Option<Place> {
        let mut streams = self.streams();
        let of_peer = || streams.iter().filter(|(_, stream)| stream.peer == *peer);
        if of_peer().count() >= MOST_PER_MEMBER {
            let oldest = of_peer().min_by_key(|(_, stream)| stream.number);
            let oldest = oldest.map(|(token, _)| *token);
            if let Some(oldest) = oldest.and_then(|token| streams.remove(&token)) {
                oldest.taken.cancel();
            }
        }
        if streams.len() >= self.most {
            return None;
        }
        let number = streams
            .values()
            .map(|stream| stream.number)
            .max()
            .unwrap_or(0)
            + 1;
        let mut token = new_token();
        while streams.contains_key(&token) {
            token = new_token();
        }
        let (peer, taken) = (peer.clone(), CancellationToken::new());
        let place = Place {
            token,
            taken: taken.clone(),
            streams: self.clone(),
        };
        streams.insert(
            token,
            Inbound {
                peer,
                replies,
                number,
                taken,
            },
        );
        Some(place)
    }

    /// Sends a frame back on the stream of `token`. False when it is lost: the stream is
    /// gone, or its member does not read.
    pub(crate) fn reply(&self, token: SocketAddr, frame: Bytes) -> bool {
        let streams = self.streams();
        let stream = streams.get(&token);
        stream.is_some_and(|stream| stream.replies.try_send(frame).is_ok())
    }

    /// Sends a frame to any member that has a stream to us. False when it is lost.
    pub(crate) fn send_to_any(&self, frame: Bytes) -> bool {
        let streams = self.streams();
        let any = random::index(streams.len()).and_then(|any| streams.values().nth(any));
        any.is_some_and(|stream| stream.replies.try_send(frame).is_ok())
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<SocketAddr, Inbound>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.streams().remove(&self.token);
    }
}

/// Whether an address is of the made-up kind, which is never dialled.
pub(crate) fn is_token(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V6(v6) => v6.ip().segments().starts_with(&DISCARD),
        SocketAddr::V4(_) => false,
    }
}

fn new_token() -> SocketAddr {
    let [a, b, c, d] = DISCARD;
    let n = unguessable().to_be_bytes();
    let [e, f, g, h] = [[n[0], n[1]], [n[2], n[3]], [n[4], n[5]], [n[6], n[7]]];
    let [e, f, g, h] = [e, f, g, h].map(u16::from_be_bytes);
    (Ipv6Addr::new(a, b, c, d, e, f, g, h), 1).into()
}

/// 100::/64, the discard prefix of RFC 6666: no member can have an address there.
const DISCARD: [u16; 4] = [0x100, 0, 0, 0];

/// One is in use; after a loss the next one may come before the former is seen to be gone.
const MOST_PER_MEMBER: usize = 4;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pki::Subject;
    use tokio::sync::mpsc;

    use super::{MOST_PER_MEMBER, Streams, is_token};

    fn peer(node: &str) -> Subject {
        Subject::from_uri(&format!("x2gofarm://office/agent/{node}")).unwrap()
    }

    #[tokio::test]
    async fn a_reply_goes_to_the_stream_of_its_token_only() {
        let streams = Streams::new(9);
        let (to_one, mut one) = mpsc::channel(1);
        let (to_two, mut two) = mpsc::channel(1);
        let place = streams.enter(&peer("one"), to_one).unwrap();
        let other = streams.enter(&peer("two"), to_two).unwrap();
        assert!(is_token(place.token) && place.token != other.token);
        assert!(streams.reply(place.token, Bytes::from_static(b"x")));
        assert!(!streams.reply(place.token, Bytes::from_static(b"lost, nobody reads")));
        assert_eq!(one.recv().await, Some(Bytes::from_static(b"x")));
        assert!(two.try_recv().is_err());
        let token = place.token;
        drop(place);
        assert!(!streams.reply(token, Bytes::new()));
    }

    #[test]
    fn streams_are_bounded_and_a_member_replaces_its_own() {
        let streams = Streams::new(MOST_PER_MEMBER + 1);
        let enter = |node| streams.enter(&peer(node), mpsc::channel(1).0);
        let places: Vec<_> = (0..=MOST_PER_MEMBER)
            .map(|_| enter("greedy").unwrap())
            .collect();
        let taken: Vec<_> = places
            .iter()
            .map(|place| place.taken.is_cancelled())
            .collect();
        assert_eq!(taken, [true, false, false, false, false]);
        let _other = enter("other").unwrap();
        assert!(enter("third").is_none());
    }

    #[test]
    fn only_the_discard_prefix_is_a_token() {
        for (address, expected) in [
            ("[100::1]:1", true),
            ("[100:0:0:1::]:1", false),
            ("1.0.0.0:1", false),
        ] {
            assert_eq!(is_token(address.parse().unwrap()), expected, "{address}");
        }
    }
}
