//! Where in a request do the operator's scripts have their say?

use std::net::IpAddr;

use super::request::Request;
use super::select_session::{GivenKey, Selected};
use crate::auth::{Denied, WhyDenied};
use crate::profiles::SessionProfile;
use crate::scripts::{Facts, Refused, Scripts, ScriptsConfig, Server, Stage};

/// The scripts of one broker for one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scripted<'a> {
    pub(super) scripts: &'a Scripts,
    pub(super) config: &'a ScriptsConfig,
    pub(super) client: IpAddr,
}

impl Scripted<'_> {
    /// The request as the scripts before the check of credentials want it; none when they
    /// have nothing to say.
    pub(super) async fn before_auth(&self, request: &Request) -> Result<Option<Request>, Denied> {
        if self.config.of(Stage::PreAuth).is_empty() {
            return Ok(None);
        }
        let mut facts = self.facts(request);
        self.run(Stage::PreAuth, &mut facts).await.map_err(denied)?;
        let mut request = request.clone();
        request.credentials.user = facts.user;
        request.credentials.login = facts.login;
        request.sid = facts.profile;
        Ok(Some(request))
    }

    /// Whether scripts have a say after the check of credentials.
    pub(super) fn is_asked_after_auth(&self) -> bool {
        !self.config.of(Stage::PostAuth).is_empty()
    }

    /// The profile that the scripts after the check want; none when they have nothing to
    /// say. Those who were not let in stay so.
    pub(super) async fn after_auth(
        &self,
        request: &Request,
        authenticated: bool,
    ) -> Result<Option<String>, Denied> {
        if !self.is_asked_after_auth() {
            return Ok(None);
        }
        let mut facts = self.facts(request);
        facts.authenticated = Some(authenticated);
        self.run(Stage::PostAuth, &mut facts)
            .await
            .map_err(denied)?;
        Ok(Some(facts.profile))
    }

    /// The server that the scripts want instead of the chosen one.
    pub(super) async fn selected(
        &self,
        request: &Request,
        profile: &SessionProfile,
        mut selected: Selected,
    ) -> Result<Selected, Refused> {
        if self.config.of(Stage::SelectSession).is_empty() {
            return Ok(selected);
        }
        let mut facts = self.facts(request);
        profile.id.as_str().clone_into(&mut facts.profile);
        facts.authenticated = Some(true);
        facts.server = Some(Server {
            server: selected.server.host.clone(),
            port: selected.server.port,
        });
        self.run(Stage::SelectSession, &mut facts).await?;
        if let Some(Server { server, port }) = facts.server {
            // A session is where it is: on another server there is none to resume.
            if server != selected.server.host {
                selected.resume.clear();
                // So is a key.
                selected.key = GivenKey::Nothing;
            }
            selected.server.host = server;
            selected.server.port = port;
        }
        Ok(selected)
    }

    async fn run(&self, stage: Stage, facts: &mut Facts) -> Result<(), Refused> {
        self.scripts.run(self.config, stage, facts).await
    }

    fn facts(&self, request: &Request) -> Facts {
        Facts {
            task: request.task_word.clone(),
            user: request.credentials.user.clone(),
            login: request.credentials.login.clone(),
            profile: request.sid.clone(),
            client: self.client,
            authenticated: None,
            server: None,
        }
    }
}

fn denied(_refused: Refused) -> Denied {
    Denied {
        why: WhyDenied::Script,
    }
}
