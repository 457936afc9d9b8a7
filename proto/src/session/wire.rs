//! Sessions and their records as messages of the mesh.

use super::{ClientOrder, Session, SessionId, SessionRecord, SessionState};
use crate::node::WireError;
use crate::{Secret, Username, v1};

impl From<SessionState> for v1::SessionState {
    fn from(state: SessionState) -> Self {
        match state {
            SessionState::Running => Self::Running,
            SessionState::Suspended => Self::Suspended,
        }
    }
}

fn state_from(wire: i32, message: &'static str) -> Result<SessionState, WireError> {
    match v1::SessionState::try_from(wire) {
        Ok(v1::SessionState::Running) => Ok(SessionState::Running),
        Ok(v1::SessionState::Suspended) => Ok(SessionState::Suspended),
        Ok(v1::SessionState::Unspecified) | Err(_) => Err(WireError::new(message, "state")),
    }
}

impl ClientOrder {
    /// Reads the message's word; none stands for no order.
    #[must_use]
    pub fn from_wire(wire: v1::ClientOrder) -> Option<Self> {
        match wire {
            v1::ClientOrder::None => None,
            v1::ClientOrder::Suspend => Some(Self::Suspend),
            v1::ClientOrder::Terminate => Some(Self::Terminate),
        }
    }
}

fn order_to_wire(order: Option<ClientOrder>) -> v1::ClientOrder {
    order.map_or(v1::ClientOrder::None, Into::into)
}

impl From<ClientOrder> for v1::ClientOrder {
    fn from(order: ClientOrder) -> Self {
        match order {
            ClientOrder::Suspend => Self::Suspend,
            ClientOrder::Terminate => Self::Terminate,
        }
    }
}

impl From<Session> for v1::Session {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.as_str().to_owned(),
            user: session.user.as_str().to_owned(),
            state: v1::SessionState::from(session.state).into(),
            starting: session.starting,
            client_order: order_to_wire(session.client_order).into(),
        }
    }
}

impl TryFrom<v1::Session> for Session {
    type Error = WireError;

    fn try_from(wire: v1::Session) -> Result<Self, WireError> {
        Ok(Self {
            id: SessionId::parse(&wire.id).or(Err(WireError::new("Session", "id")))?,
            user: Username::parse(&wire.user).or(Err(WireError::new("Session", "user")))?,
            state: state_from(wire.state, "Session")?,
            starting: wire.starting,
            // A word of a later version is nothing that this one could do.
            client_order: v1::ClientOrder::try_from(wire.client_order)
                .ok()
                .and_then(ClientOrder::from_wire),
        })
    }
}

impl From<SessionRecord> for v1::SessionRecord {
    fn from(record: SessionRecord) -> Self {
        Self {
            agent_pid: record.session_agent_pid,
            id: record.id.as_str().to_owned(),
            display: record.display,
            server: record.server,
            state: v1::SessionState::from(record.state).into(),
            started_at: record.started_at,
            cookie: record.cookie.expose().to_owned(),
            client: record.client,
            graphics_port: record.graphics_port,
            sound_port: record.sound_port,
            last_seen_at: record.last_seen_at,
            user: record.user.as_str().to_owned(),
            age_seconds: record.age_seconds,
            sshfs_port: record.sshfs_port,
            tekictrl_port: record
                .tekictrl_and_tekidata_ports
                .map(|(control, _)| control),
            tekidata_port: record.tekictrl_and_tekidata_ports.map(|(_, data)| data),
        }
    }
}

impl TryFrom<v1::SessionRecord> for SessionRecord {
    type Error = WireError;

    fn try_from(wire: v1::SessionRecord) -> Result<Self, WireError> {
        let field = |field| WireError::new("SessionRecord", field);
        let text = |value: String, name| {
            if value.chars().any(|c| c == '|' || c.is_control()) {
                return Err(field(name));
            }
            Ok(value)
        };
        Ok(Self {
            session_agent_pid: wire.agent_pid,
            id: SessionId::parse(&wire.id).or(Err(field("id")))?,
            display: wire.display,
            server: text(wire.server, "server")?,
            state: state_from(wire.state, "SessionRecord")?,
            started_at: text(wire.started_at, "started_at")?,
            cookie: Secret::new(text(wire.cookie, "cookie")?),
            client: text(wire.client, "client")?,
            graphics_port: wire.graphics_port,
            sound_port: wire.sound_port,
            last_seen_at: text(wire.last_seen_at, "last_seen_at")?,
            user: Username::parse(&wire.user).or(Err(field("user")))?,
            age_seconds: wire.age_seconds,
            sshfs_port: wire.sshfs_port,
            tekictrl_and_tekidata_ports: wire.tekictrl_port.zip(wire.tekidata_port),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{SessionRecord, v1};

    const LINE: &str = "2245|alice-50-1795323502_stRTERMINAL_dp24|50|s1|S|2026-11-22T04:58:23|7f6f58b8d2090b344f5dfddadaf20900|10.77.0.20|49024|49025|2026-11-22T04:58:39|alice|34|49026|-1|-1";

    #[test]
    fn a_record_survives_the_wire() {
        let record = SessionRecord::parse(LINE).unwrap();
        let wire = v1::SessionRecord::from(record.clone());
        assert_eq!(SessionRecord::try_from(wire), Ok(record));
    }

    #[test]
    fn an_agent_can_not_smuggle_a_second_line_into_an_answer() {
        let good = v1::SessionRecord::from(SessionRecord::parse(LINE).unwrap());
        let evil = v1::SessionRecord {
            client: "x\nSERVER:evil:22".to_owned(),
            ..good.clone()
        };
        assert_eq!(SessionRecord::try_from(evil).unwrap_err().field, "client");
        let evil = v1::SessionRecord {
            server: "a|b".to_owned(),
            ..good
        };
        assert_eq!(SessionRecord::try_from(evil).unwrap_err().field, "server");
    }
}
