//! Who is in the crowd? Servers with names, loads and sessions like those of a real farm.

use proto::{
    Counts, Generation, HostNames, Load, NodeId, NodeState, Readiness, Session, SessionId,
    SessionState, Username, Version,
};

/// One server that is played.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub node: NodeId,
    /// The names and addresses that it tells.
    pub names: HostNames,
    /// Its sessions; every fifth is suspended.
    pub sessions: Vec<Session>,
    pub(super) generation: u64,
    pub(super) idx: u32,
}

impl Server {
    /// Servers `srv0000.farm.example`, … with sessions of as many distinct users each.
    ///
    /// # Errors
    /// When a name is none: never.
    pub fn many(n_servers: usize, n_sessions: usize) -> anyhow::Result<Vec<Self>> {
        (0..n_servers)
            .map(|idx| Self::numbered(idx, n_sessions))
            .collect()
    }

    fn numbered(idx: usize, n_sessions: usize) -> anyhow::Result<Self> {
        let node = NodeId::parse(&format!("srv{idx:04}.farm.example"))?;
        let short = NodeId::parse(&format!("srv{idx:04}"))?;
        let [high, low] = u16::try_from(idx)?.to_be_bytes();
        let names = HostNames {
            names: vec![node.clone(), short],
            addresses: vec![[10, 77, high, low].into()],
        };
        let sessions = (0..n_sessions).map(|n| session(idx * n_sessions + n, n));
        Ok(Self {
            node,
            names,
            sessions: sessions.collect::<anyhow::Result<_>>()?,
            generation: GENERATION,
            idx: u32::try_from(idx)?,
        })
    }

    /// How it is in second `tick`: as loaded as a server in use, and a little different
    /// each second.
    pub(super) fn state(&self, tick: u64) -> NodeState {
        let n_sessions = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let swing = u32::try_from((u64::from(self.idx) * 7 + tick) % 50).unwrap_or(0);
        let cores = 16 << (self.idx % 3);
        let load = Load {
            cores,
            mhz: 2900,
            memory_total_mb: 128_000,
            memory_used_mb: 40_000 + 100 * u64::from(swing),
            predicted: Some(f64::from(cores) * (0.3 + 0.004 * f64::from(swing))),
            load1: 5.0 + 0.1 * f64::from(swing),
            load5: 6.0,
            pressure_cpu: Some(0.01 * f64::from(swing)),
            pressure_memory: Some(0.0),
        };
        NodeState {
            generation: Generation(self.generation),
            version: Version(tick),
            counts: Counts {
                active: n_sessions - n_sessions / SUSPENDED_EVERY,
                suspended: n_sessions / SUSPENDED_EVERY,
                young: 0,
                pending: 0,
            },
            load: Some(load),
            readiness: Readiness::Ready,
        }
    }
}

/// Session `number` of the farm, the `of_server`th of its server.
fn session(number: usize, of_server: usize) -> anyhow::Result<Session> {
    let user = format!("user{number:05}");
    let display = 50 + of_server;
    let state = if of_server % 5 == 4 {
        SessionState::Suspended
    } else {
        SessionState::Running
    };
    Ok(Session {
        id: SessionId::parse(&format!("{user}-{display}-1795323502_stDXFCE_dp24"))?,
        user: Username::parse(&user)?,
        state,
        starting: false,
        client_order: None,
    })
}

/// Milliseconds of the epoch, as real ones are.
const GENERATION: u64 = 1_795_323_502_000;
const SUSPENDED_EVERY: u32 = 5;
