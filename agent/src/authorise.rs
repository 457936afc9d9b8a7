//! Who may ask this agent for what?
//!
//! The answer rests on the caller's certificate alone. Each handler asks first, and gets a
//! [`Caller`] that it needs for everything else.

use pki::{PeerIdentity, Role};

/// What can be asked of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// Start or resume here?
    Admit,
    /// Give a reservation back.
    Cancel,
    /// Follow sessions and reservations.
    Watch,
    /// Begin or end a drain.
    SetDrain,
    /// Suspend a session.
    Suspend,
    /// End a session.
    Terminate,
    /// Have a session's client do it.
    OrderClient,
    /// Have a key open an account for a while.
    AddKey,
    /// Take such a key back.
    RemoveKey,
    /// One user's sessions, with all that it takes to resume them.
    ListSessions,
    /// The desktops that a user may watch.
    ListDesktops,
    /// Everything in one message.
    Status,
}

/// Somebody who may do what was asked.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As the certificate says.
    pub peer: PeerIdentity,
}

/// The caller may not do that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The connection has no verified certificate.
    #[error("the caller has no certificate of the farm")]
    Unknown,
    /// The certificate is of a role that may not.
    #[error("the role {role} may not ask an agent for {rpc:?}")]
    Role {
        /// Whose role.
        role: Role,
        /// For what.
        rpc: Rpc,
    },
}

/// Checks the certificate of whoever asks.
///
/// # Errors
/// When there is none, or its role may not ask this.
pub fn authorise(extensions: &tonic::Extensions, rpc: Rpc) -> Result<Caller, Denied> {
    let peer = extensions.get::<PeerIdentity>().ok_or(Denied::Unknown)?;
    let role = peer.subject.role;
    if !may(role, rpc) {
        return Err(Denied::Role { role, rpc });
    }
    Ok(Caller { peer: peer.clone() })
}

/// The roles that `agent.proto` states.
fn may(role: Role, rpc: Rpc) -> bool {
    match rpc {
        Rpc::Watch
        | Rpc::Status
        | Rpc::Suspend
        | Rpc::Terminate
        | Rpc::AddKey
        | Rpc::RemoveKey
        | Rpc::ListDesktops => match role {
            Role::Broker | Role::Operator => true,
            Role::Agent => false,
        },
        Rpc::Admit | Rpc::Cancel | Rpc::ListSessions => match role {
            Role::Broker => true,
            Role::Operator | Role::Agent => false,
        },
        Rpc::SetDrain | Rpc::OrderClient => match role {
            Role::Operator => true,
            Role::Broker | Role::Agent => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use pki::{FarmName, NodeName, PeerIdentity, Role, Subject, UnixTime};

    use super::{Denied, Rpc, authorise};

    const ALL: [Rpc; 12] = [
        Rpc::Admit,
        Rpc::Cancel,
        Rpc::Watch,
        Rpc::SetDrain,
        Rpc::Suspend,
        Rpc::Terminate,
        Rpc::OrderClient,
        Rpc::AddKey,
        Rpc::RemoveKey,
        Rpc::ListSessions,
        Rpc::ListDesktops,
        Rpc::Status,
    ];

    fn extensions(role: Role) -> tonic::Extensions {
        let mut extensions = tonic::Extensions::new();
        extensions.insert(PeerIdentity {
            subject: Subject {
                farm: FarmName::parse("office").unwrap(),
                role,
                node: NodeName::parse("b1").unwrap(),
            },
            serial: "01".to_owned(),
            not_after: UnixTime::since_unix_epoch(std::time::Duration::ZERO),
            address: "10.0.0.1:1".parse().unwrap(),
        });
        extensions
    }

    #[test]
    fn each_role_may_do_what_the_interface_states_and_no_more() {
        use Rpc::{
            AddKey, Admit, Cancel, ListDesktops, ListSessions, OrderClient, RemoveKey, SetDrain,
            Status, Suspend, Terminate, Watch,
        };
        let of_broker = vec![
            Admit,
            Cancel,
            Watch,
            Status,
            Suspend,
            Terminate,
            ListSessions,
            ListDesktops,
            AddKey,
            RemoveKey,
        ];
        let of_operator = vec![
            Watch,
            SetDrain,
            Status,
            Suspend,
            Terminate,
            OrderClient,
            ListDesktops,
            AddKey,
            RemoveKey,
        ];
        let rows = [
            (Role::Broker, of_broker),
            (Role::Operator, of_operator),
            (Role::Agent, vec![]),
        ];
        for (role, allowed) in rows {
            for rpc in ALL {
                let answer =
                    authorise(&extensions(role), rpc).map(|caller| caller.peer.subject.role);
                let expected = if allowed.contains(&rpc) {
                    Ok(role)
                } else {
                    Err(Denied::Role { role, rpc })
                };
                assert_eq!(answer, expected, "{role} {rpc:?}");
            }
        }
    }

    #[test]
    fn nobody_without_a_certificate_may_do_anything() {
        for rpc in ALL {
            let denied = authorise(&tonic::Extensions::new(), rpc).unwrap_err();
            assert_eq!(denied, Denied::Unknown);
        }
    }
}
