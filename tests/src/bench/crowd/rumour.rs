//! What does a crowd of servers say in gossip? chitchat's messages (version 0 of its
//! protocol), for any number of members that all know the same.
//!
//! A real farm that has settled is just that: whomever a replica speaks to, it hears of
//! everybody. One state for all keeps 500 members as cheap as one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use proto::{KEY_LOAD, KEY_NAMES, KEY_READINESS, KEY_ROLE, KEY_SOFTWARE, KEY_VERSION};

use super::servers::Server;
use crate::wait::now;

/// What the crowd gossips.
#[derive(Debug)]
pub(super) struct Rumour {
    farm: String,
    members: Vec<Told>,
    began: Instant,
}

/// One member, and the keys that stay as they are.
#[derive(Debug)]
struct Told {
    id: Vec<u8>,
    name: String,
    fixed: Vec<(&'static str, String)>,
    server: Server,
}

/// Which version of each member a peer has.
type Known = HashMap<String, u64>;

impl Rumour {
    pub(super) fn new(farm: &str, servers: &[(Server, SocketAddr)]) -> Self {
        Self {
            farm: farm.to_owned(),
            members: servers
                .iter()
                .map(|(server, at)| Told::new(server, *at))
                .collect(),
            began: now(),
        }
    }

    /// The message that begins an exchange.
    pub(super) fn syn(&self) -> Vec<u8> {
        let mut frame = head(SYN);
        self.write_digest(&mut frame);
        write_text(&self.farm, &mut frame);
        frame
    }

    /// The answer to a message, if it needs one.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (kind, rest) = (*message.get(3)?, message.get(4..)?);
        match kind {
            SYN => {
                let known = Reader(rest).digest()?;
                let mut frame = head(SYN_ACK);
                self.write_digest(&mut frame);
                let room = MAX_MESSAGE_BYTES.saturating_sub(frame.len() + MARGIN_BYTES);
                self.write_delta(&known, room, &mut frame);
                Some(frame)
            }
            SYN_ACK => {
                let known = Reader(rest).digest()?;
                let mut frame = head(ACK);
                self.write_delta(&known, MAX_MESSAGE_BYTES - MARGIN_BYTES, &mut frame);
                Some(frame)
            }
            _ => None,
        }
    }

    /// Seconds since the crowd came: the heartbeat and the version of the load.
    pub(super) fn tick(&self) -> u64 {
        1 + self.began.elapsed().as_secs()
    }

    fn write_digest(&self, to: &mut Vec<u8>) {
        let tick = self.tick();
        to.extend(length(self.members.len()).to_le_bytes());
        for member in &self.members {
            to.extend(&member.id);
            for counter in [tick, 0, member.version(tick)] {
                to.extend(counter.to_le_bytes());
            }
        }
    }

    /// Writes what a peer does not know yet, as far as there is room, and each time from
    /// another member on, so that none is always the one that is cut off.
    fn write_delta(&self, known: &Known, room: usize, to: &mut Vec<u8>) {
        let tick = self.tick();
        let mut delta = Vec::new();
        let first = usize::try_from(tick * 97).unwrap_or(0) % self.members.len().max(1);
        for member in self
            .members
            .iter()
            .cycle()
            .skip(first)
            .take(self.members.len())
        {
            let from = known.get(&member.name).copied().unwrap_or(0);
            let before = delta.len();
            member.write_news(from, tick, &mut delta);
            if delta.len() > room {
                delta.truncate(before);
                break;
            }
        }
        if !delta.is_empty() {
            to.push(PLAIN_BLOCK);
            to.extend(length(delta.len()).to_le_bytes());
            to.extend(delta);
        }
        to.push(NO_MORE_BLOCKS);
    }
}

impl Told {
    fn new(server: &Server, address: SocketAddr) -> Self {
        let name = format!("agent/{}", server.node);
        let mut id = Vec::new();
        write_text(&name, &mut id);
        id.extend(server.generation.to_le_bytes());
        match address {
            SocketAddr::V4(v4) => {
                id.push(4);
                id.extend(v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                id.push(6);
                id.extend(v6.ip().octets());
            }
        }
        id.extend(address.port().to_le_bytes());
        let fixed = vec![
            (KEY_VERSION, "1".to_owned()),
            (KEY_ROLE, "agent".to_owned()),
            (KEY_SOFTWARE, env!("CARGO_PKG_VERSION").to_owned()),
            (KEY_NAMES, server.names.to_value()),
            (KEY_READINESS, "ready".to_owned()),
        ];
        Self {
            id,
            name,
            fixed,
            server: server.clone(),
        }
    }

    /// Real agents tell a new load each second, when it has changed, as it does on a server
    /// that is in use.
    fn version(&self, tick: u64) -> u64 {
        self.fixed.len() as u64 + tick
    }

    fn write_news(&self, from: u64, tick: u64, to: &mut Vec<u8>) {
        let version = self.version(tick);
        if from >= version {
            return;
        }
        to.push(NODE);
        to.extend(&self.id);
        for counter in [0, from] {
            to.extend(counter.to_le_bytes());
        }
        for ((key, value), version) in self.fixed.iter().zip(1..) {
            if version > from {
                write_key(key, value, version, to);
            }
        }
        if let Some(load) = self.server.state(tick).load_to_value() {
            write_key(KEY_LOAD, &load, version, to);
        }
    }
}

fn head(kind: u8) -> Vec<u8> {
    vec![0x53, 0xb0, 0, kind]
}

fn write_key(key: &str, value: &str, version: u64, to: &mut Vec<u8>) {
    to.push(KEY_AND_VALUE);
    write_text(key, to);
    write_text(value, to);
    to.extend(version.to_le_bytes());
    to.push(IS_SET);
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    to.extend(length(text.len()).to_le_bytes());
    to.extend(text.as_bytes());
}

/// A length as it is written; nothing here is longer than a message.
fn length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n_bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(bytes)))
    }

    fn counter(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Per member: name, generation, address, heartbeat, last collected version, version.
    fn digest(&mut self) -> Option<Known> {
        let n_members = self.length()?;
        let mut known = Known::with_capacity(n_members);
        for _ in 0..n_members {
            let n_bytes = self.length()?;
            let name = String::from_utf8(self.take(n_bytes)?.to_vec()).ok()?;
            let _generation = self.counter()?;
            let address = if *self.take(1)?.first()? == 4 { 4 } else { 16 };
            let _address_and_port = self.take(address + 2)?;
            let (_heartbeat, _collected) = (self.counter()?, self.counter()?);
            known.insert(name, self.counter()?);
        }
        Some(known)
    }
}

const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
const ACK: u8 = 2;
const NODE: u8 = 0;
const KEY_AND_VALUE: u8 = 1;
const IS_SET: u8 = 0;
const NO_MORE_BLOCKS: u8 = 0;
const PLAIN_BLOCK: u8 = 2;
/// chitchat's own limit.
const MAX_MESSAGE_BYTES: usize = 65_507;
/// Heads of messages and blocks.
const MARGIN_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn rumour(n_servers: usize) -> Rumour {
        let servers = Server::many(n_servers, 20).unwrap();
        let servers: Vec<_> = servers
            .into_iter()
            .map(|server| (server, "127.0.0.1:4711".parse().unwrap()))
            .collect();
        Rumour::new("bench", &servers)
    }

    /// How many members a message tells all about: each is "ready" once.
    fn n_told(message: &[u8], kind: u8) -> usize {
        assert!(message.len() <= MAX_MESSAGE_BYTES, "{}", message.len());
        assert_eq!(message[3], kind);
        let mut ready = Vec::new();
        write_key(KEY_READINESS, "ready", 5, &mut ready);
        let windows = message.windows(ready.len());
        windows.filter(|bytes| *bytes == ready.as_slice()).count()
    }

    #[test]
    fn who_knows_nobody_is_told_as_much_as_fits_into_a_message() {
        let nobody = [&head(SYN)[..], &0u16.to_le_bytes(), &[5, 0], b"bench"].concat();
        let answer = rumour(10).answer(&nobody).unwrap();
        assert_eq!(Reader(&answer[4..]).digest().unwrap().len(), 10);
        assert_eq!(n_told(&answer, SYN_ACK), 10);
        let answer = rumour(500).answer(&nobody).unwrap();
        assert!(n_told(&answer, SYN_ACK) > 50);
        let nobody = [&head(SYN_ACK)[..], &0u16.to_le_bytes()].concat();
        assert!(n_told(&rumour(500).answer(&nobody).unwrap(), ACK) > 150);
    }

    #[test]
    fn who_knows_all_is_told_nothing_again() {
        let rumour = rumour(3);
        let mut same = rumour.syn();
        assert_eq!(Reader(&same[4..]).digest().unwrap().len(), 3);
        same[3] = SYN_ACK;
        assert_eq!(
            rumour.answer(&same).unwrap(),
            [&head(ACK)[..], &[0]].concat()
        );
    }

    #[test]
    fn a_message_that_is_none_needs_no_answer() {
        for message in [&b""[..], b"\x53\xb0\x00\x02\x00", b"\x53\xb0\x00\x00\x01"] {
            assert_eq!(rumour(1).answer(message), None);
        }
    }
}
