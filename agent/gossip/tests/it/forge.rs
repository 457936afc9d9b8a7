//! Messages that no honest member sends, byte by byte.

use std::net::SocketAddr;

/// A part of a delta.
pub(crate) enum Op<'a> {
    Node {
        id: (&'a str, u64, SocketAddr),
        last_gc: u64,
        from: u64,
    },
    Set {
        key: &'a str,
        value: &'a str,
        version: u64,
    },
    MaxVersion(u64),
}

/// An ACK, which a member applies without having asked for it.
pub(crate) fn ack(ops: &[Op<'_>]) -> Vec<u8> {
    let mut delta = Vec::new();
    for op in ops {
        write_op(op, &mut delta);
    }
    let mut frame = vec![0x53, 0xb0, 0, 2];
    if !delta.is_empty() {
        frame.push(2);
        frame.extend(u16::try_from(delta.len()).unwrap().to_le_bytes());
        frame.extend(delta);
    }
    frame.push(0);
    frame
}

/// A SYN of the cluster `farm` with one heartbeat per node.
pub(crate) fn syn(farm: &str, heartbeats: &[((&str, u64, SocketAddr), u64)]) -> Vec<u8> {
    let mut frame = vec![0x53, 0xb0, 0, 0];
    frame.extend(u16::try_from(heartbeats.len()).unwrap().to_le_bytes());
    for (id, heartbeat) in heartbeats {
        write_id(id, &mut frame);
        for counter in [*heartbeat, 0, 0] {
            frame.extend(counter.to_le_bytes());
        }
    }
    write_text(farm, &mut frame);
    frame
}

fn write_op(op: &Op<'_>, to: &mut Vec<u8>) {
    match op {
        Op::Node { id, last_gc, from } => {
            to.push(0);
            write_id(id, to);
            to.extend(last_gc.to_le_bytes());
            to.extend(from.to_le_bytes());
        }
        Op::Set {
            key,
            value,
            version,
        } => {
            to.push(1);
            write_text(key, to);
            write_text(value, to);
            to.extend(version.to_le_bytes());
            to.push(0);
        }
        Op::MaxVersion(version) => {
            to.push(2);
            to.extend(version.to_le_bytes());
        }
    }
}

fn write_id((name, generation, address): &(&str, u64, SocketAddr), to: &mut Vec<u8>) {
    write_text(name, to);
    to.extend(generation.to_le_bytes());
    let SocketAddr::V4(address) = address else {
        panic!("only IPv4 here")
    };
    to.push(4);
    to.extend(address.ip().octets());
    to.extend(address.port().to_le_bytes());
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    to.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    to.extend(text.as_bytes());
}
