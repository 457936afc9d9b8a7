//! What is said between the broker and a script?

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use proto::NodeId;
use serde::{Deserialize, Serialize};

/// When a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the credentials are checked. May change user, login and profile.
    PreAuth,
    /// After they were, also when they were not good. May change the profile.
    PostAuth,
    /// When the server is chosen. May change server and port.
    SelectSession,
}

/// A request as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The task, as the client sent it.
    pub task: String,
    /// Who asks.
    pub user: String,
    /// The account on the X2Go server; empty for the user's own.
    pub login: String,
    /// The ID of the session profile; empty when none is asked for.
    pub profile: String,
    /// Where the client is.
    pub client: IpAddr,
    /// Whether the credentials were good; absent before they are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// The chosen server and its port.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// A server to hand out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// A host name or an IPv4 address.
    pub server: String,
    /// The SSH port.
    pub port: u16,
}

/// What a script wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These values instead; absent ones stay.
    Apply(Values),
    /// The request is refused, for this reason.
    Refuse(String),
}

/// New values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    user: Option<String>,
    login: Option<String>,
    profile: Option<String>,
    server: Option<String>,
    port: Option<u16>,
    refuse: Option<String>,
}

/// Why an answer can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No JSON object with the fields that may be there.
    #[error("this is no JSON object of user, login, profile, server, port, refuse")]
    NotReadable(#[source] serde_json::Error),
    /// A value that can't be changed at this stage.
    #[error("{field} can't be changed at {stage}")]
    NotNow {
        /// Which.
        field: &'static str,
        /// When.
        stage: Stage,
    },
    /// A server that clients can't connect to.
    #[error("the server {server:?} is neither a host name nor an IPv4 address, or its port is 0")]
    Server {
        /// As written.
        server: String,
    },
}

impl Facts {
    pub(super) fn to_json(&self, stage: Stage) -> Vec<u8> {
        #[derive(Serialize)]
        struct Message<'a> {
            stage: Stage,
            #[serde(flatten)]
            facts: &'a Facts,
        }
        let facts = self;
        // Strings and numbers only: this can't fail.
        serde_json::to_vec(&Message { stage, facts }).unwrap_or_default()
    }

    /// Takes new values over; whether there were any.
    pub(super) fn apply(&mut self, values: Values) -> bool {
        let before = self.clone();
        let replace = |old: &mut String, new: Option<String>| {
            if let Some(new) = new {
                *old = new;
            }
        };
        replace(&mut self.user, values.user);
        replace(&mut self.login, values.login);
        replace(&mut self.profile, values.profile);
        if let Some(server) = &mut self.server {
            replace(&mut server.server, values.server);
            server.port = values.port.unwrap_or(server.port);
        }
        *self != before
    }
}

impl Change {
    /// Reads the answer of a script. Empty output changes nothing.
    ///
    /// # Errors
    /// When it can't be read, or asks for what can't be changed at that stage.
    pub fn parse(stage: Stage, output: &[u8]) -> Result<Self, ChangeError> {
        if output.trim_ascii().is_empty() {
            return Ok(Self::Apply(Values::default()));
        }
        let mut values: Values =
            serde_json::from_slice(output).map_err(ChangeError::NotReadable)?;
        if let Some(why) = values.refuse.take() {
            return Ok(Self::Refuse(why.chars().take(MAX_REASON_CHARS).collect()));
        }
        let fields = [
            ("user", values.user.is_some(), stage == Stage::PreAuth),
            ("login", values.login.is_some(), stage == Stage::PreAuth),
            (
                "profile",
                values.profile.is_some(),
                stage != Stage::SelectSession,
            ),
            (
                "server",
                values.server.is_some(),
                stage == Stage::SelectSession,
            ),
            ("port", values.port.is_some(), stage == Stage::SelectSession),
        ];
        if let Some((field, ..)) = fields.iter().find(|(_, is_set, may)| *is_set && !may) {
            return Err(ChangeError::NotNow { field, stage });
        }
        let can_connect =
            |server: &String| NodeId::parse(server).is_ok() || server.parse::<Ipv4Addr>().is_ok();
        if !values.server.as_ref().is_none_or(can_connect) || values.port == Some(0) {
            let server = values.server.unwrap_or_default();
            return Err(ChangeError::Server { server });
        }
        Ok(Self::Apply(values))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreAuth => "pre_auth",
            Self::PostAuth => "post_auth",
            Self::SelectSession => "select_session",
        })
    }
}

/// For the log.
const MAX_REASON_CHARS: usize = 200;
