//! What clients can ask, free of any front end: a [`Request`] goes in, a [`Reply`] comes
//! out, and each front end writes it in its own form.

pub mod list_sessions;
pub mod request;
pub mod select_session;

use std::net::IpAddr;
use std::sync::Arc;

use proto::{ClientOrder, Secret, SessionId};
use tracing::{debug, warn};

use crate::acl::{Asker, ClientNames, Groups};
use crate::auth::{Authenticated, Authenticator, Denied, Granted};
use crate::config::ClientEvents;
use crate::profiles::SessionProfile;
use crate::settings::{Backend, Settings, SettingsWatch};
use list_sessions::{Listed, list_sessions};
use request::{Request, Task};
use select_session::{Placing, Selected, select_session};

/// A broker as clients see it: its settings, who checks credentials, and the farm.
#[derive(Clone, Debug)]
pub struct Broker {
    settings: SettingsWatch,
    authenticator: Authenticator,
    placing: Placing,
}

/// The answer to somebody who was let in.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// Who was let in.
    pub who: Authenticated,
    /// The value for the client's next request.
    pub authid: Option<Secret>,
    /// What there is to say.
    pub answer: Answer<'a>,
}

/// What there is to say to somebody who was let in.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// Nothing but that the credentials are good.
    Granted,
    /// The client is to do this with its session.
    Order(ClientOrder, SessionId),
    /// The broker is there.
    TestConnection,
    /// The profiles, sorted by ID.
    Profiles {
        /// They.
        profiles: Vec<Listed<'a>>,
        /// How the client is to tell what happens to its sessions, if it is.
        events: Option<ClientEvents>,
    },
    /// Where to go.
    Selected(Selected),
    /// The profile does not exist or is not for this user.
    NoSuchProfile,
    /// No server of the profile takes the user.
    NoServer {
        /// The port of the profile's servers.
        sshport: u16,
    },
}

impl Broker {
    /// Puts a broker together.
    #[must_use]
    pub fn new(settings: SettingsWatch, authenticator: Authenticator, placing: Placing) -> Self {
        Self {
            settings,
            authenticator,
            placing,
        }
    }

    /// The settings to answer one request by.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Checks the credentials and does what is asked.
    ///
    /// # Errors
    /// When the credentials are not good.
    pub async fn answer<'a>(
        &self,
        backend: &'a Backend,
        request: &Request,
        client: IpAddr,
    ) -> Result<Reply<'a>, Denied> {
        let credentials = &request.credentials;
        let granted = self.authenticator.authenticate(
            &backend.auth,
            credentials,
            client,
            request.task.renewal(),
        );
        let Granted { who, authid } = granted.await?;
        let answer = match request.task {
            Task::TestConnection => Answer::TestConnection,
            Task::ListSessions => self.list(backend, &who),
            Task::SelectSession => self.select(backend, &who, &request.sid).await,
            Task::SetPassword | Task::ClientEvent | Task::Other => Answer::Granted,
        };
        Ok(Reply {
            who,
            authid,
            answer,
        })
    }

    fn list<'a>(&self, backend: &'a Backend, who: &Authenticated) -> Answer<'a> {
        let profiles = backend.profiles.iter();
        let usable = profiles.filter(|profile| may_use(profile, who));
        let view = self.placing.feed.view();
        let counted = backend.clients.session_counts;
        Answer::Profiles {
            profiles: list_sessions(usable, &view, who.user(), counted),
            events: backend.clients.events,
        }
    }

    async fn select<'a>(&self, backend: &'a Backend, who: &Authenticated, sid: &str) -> Answer<'a> {
        let profile = backend.profiles.get(sid);
        let profile = profile.filter(|profile| may_use(profile, who));
        let (Some(profile), Some(user)) = (profile, who.user()) else {
            debug!(profile = sid, "no such profile for this user");
            return Answer::NoSuchProfile;
        };
        match select_session(&self.placing, profile, user).await {
            Ok(selected) => Answer::Selected(selected),
            Err(error) => {
                warn!(%user, profile = %profile.id, why = error.why, "no server for a session");
                Answer::NoServer {
                    sshport: profile.sshport,
                }
            }
        }
    }
}

/// Whether this session profile is there for whoever asks. Every task checks it: that a
/// client was once shown a profile proves nothing later.
#[must_use]
fn may_use(profile: &SessionProfile, who: &Authenticated) -> bool {
    profile.acl.allows(&Asker {
        user: who.user().map(proto::Username::as_str),
        groups: Groups::Unknown,
        client: who.client(),
        client_names: &ClientNames::default(),
    })
}
