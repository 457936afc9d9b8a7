//! What clients can ask, free of any front end: a [`Request`] goes in, a [`Reply`] comes
//! out, and each front end writes it in its own form.

pub mod list_sessions;
pub mod request;
mod scripted;
pub mod select_session;

use std::net::IpAddr;
use std::sync::Arc;

use proto::{ClientOrder, Secret, SessionId, Username};
use tracing::{debug, warn};

use crate::acl::{Asker, ClientNames, Groups};
use crate::auth::{Authenticated, Authenticator, Denied, Granted};
use crate::config::ClientEvents;
use crate::profiles::SessionProfile;
use crate::scripts::Scripts;
use crate::settings::{Backend, Settings, SettingsWatch};
use list_sessions::{Listed, list_sessions};
use request::{Request, Task};
use scripted::Scripted;
use select_session::{Placing, Selected, select_session};

/// A broker as clients see it: its settings, who checks credentials, and the farm.
#[derive(Clone, Debug)]
pub struct Broker {
    settings: SettingsWatch,
    authenticator: Authenticator,
    placing: Placing,
    scripts: Scripts,
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
            scripts: Scripts::default(),
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
        let scripted = Scripted {
            scripts: &self.scripts,
            config: &backend.scripts,
            client,
        };
        let changed = scripted.before_auth(request).await?;
        let request = changed.as_ref().unwrap_or(request);
        let granted = self.authenticator.authenticate(
            &backend.auth,
            &request.credentials,
            client,
            request.task.renewal(),
        );
        let granted = granted.await;
        let profile = scripted.after_auth(request, granted.is_ok()).await;
        let Granted { who, authid } = granted?;
        let profile = profile?;
        let sid = profile.as_deref().unwrap_or(&request.sid);
        let answer = match request.task {
            Task::TestConnection => Answer::TestConnection,
            Task::ListSessions => self.list(backend, &who),
            Task::SelectSession => match usable_profile(backend, &who, sid) {
                Some((profile, user)) => self.select(profile, user, request, scripted).await,
                None => Answer::NoSuchProfile,
            },
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

    async fn select(
        &self,
        profile: &SessionProfile,
        user: &Username,
        request: &Request,
        scripted: Scripted<'_>,
    ) -> Answer<'static> {
        let no_server = Answer::NoServer {
            sshport: profile.sshport,
        };
        let selected = match select_session(&self.placing, profile, user).await {
            Ok(selected) => selected,
            Err(error) => {
                warn!(%user, profile = %profile.id, why = error.why, "no server for a session");
                return no_server;
            }
        };
        let selected = scripted.selected(request, profile, selected).await;
        selected.map_or(no_server, Answer::Selected)
    }
}

/// The profile of that ID, if it is there for whoever asks.
fn usable_profile<'a, 'w>(
    backend: &'a Backend,
    who: &'w Authenticated,
    sid: &str,
) -> Option<(&'a SessionProfile, &'w Username)> {
    let profile = backend.profiles.get(sid);
    let found = profile.filter(|profile| may_use(profile, who));
    let found = found.zip(who.user());
    if found.is_none() {
        debug!(profile = sid, "no such profile for this user");
    }
    found
}

/// Whether this session profile is there for whoever asks. Every task checks it: that a
/// client was once shown a profile proves nothing later.
#[must_use]
fn may_use(profile: &SessionProfile, who: &Authenticated) -> bool {
    profile.acl.allows(&Asker {
        user: who.user().map(Username::as_str),
        groups: Groups::Unknown,
        client: who.client(),
        client_names: &ClientNames::default(),
    })
}
