//! What clients can ask, free of any front end: a [`Request`] goes in, a [`Reply`] comes
//! out, and each front end writes it in its own form.

pub mod access;
pub mod client_event;
pub mod list_sessions;
pub(crate) mod nobody;
mod old_sessions;
pub mod request;
mod scripted;
pub mod select_session;

use std::sync::Arc;
use std::time::Duration;

use proto::{ClientOrder, Secret, SessionId, Username};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::audit::Decision;
use crate::auth::{
    Authenticated, Authenticator, Denied, Granted, PasswordChange, Renewal, Source, WhyKept,
};
use crate::autologin::Plan;
use crate::config::ClientEvents;
use crate::profiles::{AgentQueryMode, ProfileHost, SessionProfile};
use crate::scripts::Scripts;
use crate::settings::{Backend, Settings, SettingsWatch};
use crate::view::FarmView;
use access::{Access, Directory};
use client_event::told;
use list_sessions::{Listed, list_all_sessions};
use nobody::select_for_nobody;
use old_sessions::on_old_servers;
use request::{Request, Task};
use scripted::Scripted;
use select_session::{GivenKey, KeyOffer, Placing, Selected, Terms, select_with_key};

/// A broker as clients see it: its settings, who checks credentials, and the farm.
#[derive(Clone, Debug)]
pub struct Broker {
    settings: SettingsWatch,
    authenticator: Authenticator,
    placing: Placing,
    directory: Directory,
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
    /// Nothing but that the credentials are good, and that what was asked for is done.
    Granted,
    /// The password that was to be changed is the old one.
    PasswordKept(WhyKept),
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
    pub fn new(
        settings: SettingsWatch,
        authenticator: Authenticator,
        directory: Directory,
        placing: Placing,
    ) -> Self {
        Self {
            settings,
            authenticator,
            placing,
            directory,
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
        source: impl Into<Source>,
    ) -> Result<Reply<'a>, Denied> {
        let source = source.into();
        let (audit, site) = (self.authenticator.audit(), self.authenticator.site());
        let mut decision = Decision::begin(audit, site, request, source.client);
        let decided = self.decide(backend, request, source, &mut decision).await;
        decision.end(request.task, &decided);
        decided
    }

    async fn decide<'a>(
        &self,
        backend: &'a Backend,
        request: &Request,
        source: Source,
        decision: &mut Decision,
    ) -> Result<Reply<'a>, Denied> {
        let scripted = Scripted {
            scripts: &self.scripts,
            config: &backend.scripts,
            client: source.client,
        };
        let changed = scripted.before_auth(request).await?;
        if let Some(changed) = &changed {
            decision.is_on(changed);
        }
        let request = changed.as_ref().unwrap_or(request);
        let (granted, kept, profile) = if request.task == Task::SetPassword {
            self.ask_before_change(backend, request, &source, scripted)
                .await?;
            let (granted, kept) = self.change_password(backend, request, source).await;
            (granted, kept, Ok(None))
        } else {
            let granted = self.let_in(backend, request, source, request.task.renewal());
            let granted = granted.await;
            let profile = scripted.after_auth(request, granted.is_ok()).await;
            (granted, None, profile)
        };
        let Granted { who, authid } = granted?;
        let profile = profile?;
        if let Some(profile) = &profile {
            decision.is_on_profile(request.task, profile);
        }
        let sid = profile.as_deref().unwrap_or(&request.sid);
        let answer = match request.task {
            Task::TestConnection => Answer::TestConnection,
            Task::ListSessions => self.list(backend, &who).await,
            Task::SelectSession => match backend.fixed_server.clone() {
                Some(server) => Answer::Selected(Selected::unasked(server)),
                None => match self.profile(backend, &who, sid).await {
                    Some(profile) => self.select(profile, backend, &who, request, scripted).await,
                    None => Answer::NoSuchProfile,
                },
            },
            Task::ClientEvent => told(&self.placing.feed.view(), backend, &who, request),
            Task::SetPassword => kept.map_or(Answer::Granted, Answer::PasswordKept),
            Task::Other => Answer::Granted,
        };
        Ok(Reply {
            who,
            authid,
            answer,
        })
    }

    /// Checks the credentials.
    async fn let_in(
        &self,
        backend: &Backend,
        request: &Request,
        source: Source,
        renewal: Renewal,
    ) -> Result<Granted, Denied> {
        let (how, logins) = (&backend.auth, &backend.accounts.logins);
        let credentials = &request.credentials;
        let granted = self
            .authenticator
            .authenticate(how, logins, credentials, source, renewal);
        granted.await
    }

    /// A password that was changed stays so: scripts that may refuse are asked before. They
    /// are told who was let in, which is looked at for them only.
    async fn ask_before_change(
        &self,
        backend: &Backend,
        request: &Request,
        source: &Source,
        scripted: Scripted<'_>,
    ) -> Result<(), Denied> {
        if !scripted.is_asked_after_auth() {
            return Ok(());
        }
        let granted = self.let_in(backend, request, source.clone(), Renewal::Keep);
        let granted = granted.await;
        scripted.after_auth(request, granted.is_ok()).await?;
        granted.map(drop)
    }

    /// Changes the password. The second part is why it stayed, if it did.
    async fn change_password(
        &self,
        backend: &Backend,
        request: &Request,
        source: Source,
    ) -> (Result<Granted, Denied>, Option<WhyKept>) {
        let (how, logins) = (&backend.auth, &backend.accounts.logins);
        let credentials = &request.credentials;
        let client = source.client;
        let changed = self.authenticator.set_password(
            how,
            logins,
            credentials,
            &request.new_password,
            source,
        );
        match changed.await {
            Ok((granted, PasswordChange::Changed)) => (Ok(granted), None),
            Ok((granted, PasswordChange::Kept(why))) => {
                let user = granted.who.user().map(tracing::field::display);
                info!(user, %client, %why, "a password was not changed");
                (Ok(granted), Some(why))
            }
            Err(denied) => (Err(denied), None),
        }
    }

    async fn list<'a>(&self, backend: &'a Backend, who: &Authenticated) -> Answer<'a> {
        let profiles = || backend.profiles.iter();
        let access = self.access(backend, who, profiles()).await;
        let usable = || profiles().filter(|profile| access.may_use(profile));
        let old = on_old_servers(&self.placing, backend, usable(), who.account());
        let old = Box::pin(old).await;
        let view = self.placing.feed.view();
        let counted = backend.clients.session_counts;
        let mut profiles = list_all_sessions(usable(), &view, &old, who.account(), counted);
        if who.account().is_some() {
            self.promise_keys(backend, &view, &mut profiles);
        }
        Answer::Profiles {
            profiles,
            events: backend.clients.events,
        }
    }

    /// Says where a key will come with the answer to `selectsession`, and has some made.
    fn promise_keys(&self, backend: &Backend, view: &FarmView, profiles: &mut [Listed<'_>]) {
        for listed in profiles.iter_mut() {
            let plan = plan_of(listed.profile, backend);
            let mode = mode_of(listed.profile, backend);
            let warm_up = self.placing.warm_up();
            let installs = |host: &ProfileHost| installs_keys(mode, host, view, warm_up);
            listed.autologin = plan.is_some_and(|plan| plan.can_be_promised(installs));
        }
        if profiles.iter().any(|listed| listed.autologin) {
            self.placing.keys.prepare();
        }
    }

    /// The profile of that ID, if it is there for whoever asks.
    async fn profile<'a>(
        &self,
        backend: &'a Backend,
        who: &Authenticated,
        sid: &str,
    ) -> Option<&'a SessionProfile> {
        let profile = backend.profiles.get(sid);
        let access = self.access(backend, who, profile.into_iter()).await;
        let found = profile.filter(|profile| access.may_use(profile));
        if found.is_none() {
            debug!(profile = sid, "no such profile for this user");
        }
        found
    }

    async fn access<'w, 'p>(
        &self,
        backend: &Backend,
        who: &'w Authenticated,
        profiles: impl Iterator<Item = &'p SessionProfile>,
    ) -> Access<'w> {
        let ignore_primary = backend.accounts.ignore_primary_groups;
        Access::find_out(&self.directory, who, ignore_primary, profiles).await
    }

    async fn select(
        &self,
        profile: &SessionProfile,
        backend: &Backend,
        who: &Authenticated,
        request: &Request,
        scripted: Scripted<'_>,
    ) -> Answer<'static> {
        let terms = Terms {
            offered: backend.clients.offered,
            mode: mode_of(profile, backend),
            old_agents: &backend.old_agents,
        };
        let user = who.account();
        let no_server = Answer::NoServer {
            sshport: profile.sshport,
        };
        let offer = match user {
            Some(user) => self.key_for(profile, backend, request, who, user).await,
            None => None,
        };
        let offer = offer.as_ref();
        let selected = match user {
            Some(user) => {
                // It is large, and what awaits it would be as large for every request.
                Box::pin(select_with_key(&self.placing, profile, user, terms, offer)).await
            }
            None => select_for_nobody(&self.placing, profile),
        };
        let selected = match selected {
            Ok(selected) => selected,
            Err(error) => {
                let user = user.map(tracing::field::display);
                warn!(user, profile = %profile.id, why = error.why, "no server for a session");
                return no_server;
            }
        };
        let selected = scripted.selected(request, profile, selected).await;
        // Otherwise the key is taken back when the offer is dropped.
        if let (Some(offer), Ok(selected)) = (offer, &selected)
            && selected.key != GivenKey::Nothing
        {
            offer.hand_out();
        }
        selected.map_or(no_server, Answer::Selected)
    }

    /// A key for a login: the client's own, or one of a new pair. None where no agent would
    /// install it, or where none of the pairs is ready in time.
    async fn key_for<'p>(
        &self,
        profile: &'p SessionProfile,
        backend: &'p Backend,
        request: &Request,
        who: &Authenticated,
        user: &Username,
    ) -> Option<KeyOffer<'p>> {
        let plan = plan_of(profile, backend)?;
        let view = self.placing.feed.view();
        let mode = mode_of(profile, backend);
        let warm_up = self.placing.warm_up();
        if !plan.may_work(|host| installs_keys(mode, host, &view, warm_up)) {
            return None;
        }
        let (client, returns) = (who.client(), &self.placing.returns);
        if let Some(own) = &request.pubkey {
            let own = own.clone();
            return Some(KeyOffer::of_client(plan, client, own, user, returns));
        }
        match self.placing.keys.take(user).await {
            Ok(pair) => Some(KeyOffer::of_pair(plan, client, pair, user, returns)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(profile = %profile.id, error, "no key; the user types their password");
                None
            }
        }
    }
}

/// None where the profile wants no keys, and where nobody expects agents.
fn plan_of<'p>(profile: &'p SessionProfile, backend: &'p Backend) -> Option<Plan<'p>> {
    match mode_of(profile, backend) {
        AgentQueryMode::None => None,
        AgentQueryMode::Mesh | AgentQueryMode::Local | AgentQueryMode::Ssh => {
            Plan::of(profile, &backend.autologin)
        }
    }
}

/// By which way the agents of the profile's hosts are asked.
fn mode_of(profile: &SessionProfile, backend: &Backend) -> AgentQueryMode {
    profile.query_mode.unwrap_or(backend.query_mode)
}

/// Whether the host's agent installs keys; none where there is none that lives. Old agents
/// do, each on its own host.
fn installs_keys(
    mode: AgentQueryMode,
    host: &ProfileHost,
    view: &FarmView,
    warm_up: Duration,
) -> Option<bool> {
    let is_outside = || view.is_outside(host, warm_up, Instant::now());
    let of_mesh = view.installs_keys(host);
    match mode {
        AgentQueryMode::Mesh | AgentQueryMode::None => of_mesh,
        AgentQueryMode::Local => of_mesh.or(is_outside().then_some(false)),
        AgentQueryMode::Ssh => of_mesh.or(is_outside().then_some(true)),
    }
}
