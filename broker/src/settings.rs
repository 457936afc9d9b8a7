//! What does a broker answer by at this moment: its configuration and session profiles, as
//! one snapshot?
//!
//! A request reads the snapshot once and keeps to it, so that a reload never shows it half
//! of the old files and half of the new.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{
    AccountsConfig, AuthConfig, AutologinConfig, ClientConfig, Config, FrontendConfig,
    InifileConfig, OldAgentsConfig,
};
use crate::names::ServerAddress;
use crate::profiles::{self, AgentQueryMode, DEFAULT_SSH_PORT, SessionProfiles};
use crate::scripts::ScriptsConfig;

/// All that a reload can change, at once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which front ends answer, and which backend does when the URL names none.
    pub frontends: FrontendConfig,
    /// The backend `inifile`, when it answers.
    inifile: Option<Backend>,
    /// The backend `zeroconf`, when it answers.
    zeroconf: Option<Backend>,
}

/// The settings as they are now.
pub type SettingsWatch = watch::Receiver<Arc<Settings>>;

/// Where session profiles come from, and who is let in to see them. The last part of a
/// URL such as `/plain/inifile` names it.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Who is let in.
    pub auth: Arc<AuthConfig>,
    /// By which way agents are asked, unless a profile says otherwise.
    pub query_mode: AgentQueryMode,
    /// How agents of x2gobroker 0.0.4.3 are called.
    pub old_agents: Arc<OldAgentsConfig>,
    /// How users get on without typing a password again.
    pub autologin: AutologinConfig,
    /// What clients are told beyond the original.
    pub clients: ClientConfig,
    /// The session profiles.
    pub profiles: Arc<SessionProfiles>,
    /// Which groups count, and who may log in as whom.
    pub accounts: Arc<AccountsConfig>,
    /// The operator's own scripts.
    pub scripts: Arc<ScriptsConfig>,
    /// The one server of a backend that has no other. It is handed out unasked, whatever
    /// the profile is called: no agent of the farm speaks for it.
    pub fixed_server: Option<ServerAddress>,
}

impl Settings {
    /// What of a configuration can change while the replica runs, with the profiles.
    #[must_use]
    pub fn new(config: &Config, profiles: Arc<SessionProfiles>) -> Self {
        let InifileConfig {
            enabled,
            query_mode,
            ..
        } = config.inifile;
        let old_agents = Arc::new(config.inifile.old_agents.clone());
        let inifile = Backend {
            auth: Arc::new(config.auth.inifile.clone()),
            query_mode,
            old_agents: Arc::clone(&old_agents),
            autologin: config.autologin.clone(),
            clients: config.clients,
            profiles,
            accounts: Arc::new(config.accounts.clone()),
            scripts: Arc::new(config.scripts.clone()),
            fixed_server: None,
        };
        let zeroconf = &config.zeroconf;
        let zeroconf = zeroconf.enabled.then(|| Backend {
            auth: Arc::new(config.auth.zeroconf.clone()),
            query_mode: AgentQueryMode::None,
            old_agents,
            autologin: config.autologin.clone(),
            clients: config.clients,
            profiles: Arc::new(profiles::zeroconf(&zeroconf.desktop_shell)),
            accounts: Arc::new(config.accounts.clone()),
            scripts: Arc::new(config.scripts.clone()),
            fixed_server: Some(ServerAddress {
                host: "localhost".to_owned(),
                port: DEFAULT_SSH_PORT,
            }),
        });
        Self {
            frontends: config.frontends.clone(),
            inifile: enabled.then_some(inifile),
            zeroconf,
        }
    }

    /// The backend of that name, or the default one for an empty name; none when it is
    /// unknown or switched off.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        let name = match name {
            "" => self.frontends.default_backend.as_str(),
            name => name,
        };
        match name {
            "inifile" => self.inifile.as_ref(),
            "zeroconf" => self.zeroconf.as_ref(),
            _ => None,
        }
    }

    /// Whether there is a backend of that name, switched on or off.
    #[must_use]
    pub fn knows_backend(&self, name: &str) -> bool {
        matches!(name, "" | "inifile" | "zeroconf")
    }

    /// The session profiles of the backend `inifile`; none when it is switched off.
    #[must_use]
    pub fn profiles(&self) -> Option<&Arc<SessionProfiles>> {
        self.inifile.as_ref().map(|backend| &backend.profiles)
    }
}
