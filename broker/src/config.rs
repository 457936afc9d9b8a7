//! What did the operator configure?
//!
//! The keys are those of x2gobroker 0.0.4.3 (`x2gobroker.conf`, `defaults.conf`, the
//! environment), with the sections `[mesh]`, `[http]` and `[limits]` of ours. All problems
//! are collected, each with its file and line. Nothing here reads a file, but for
//! [`load`].

mod accounts;
mod address;
mod agents;
mod auth;
mod autologin;
mod brokers;
mod client_events;
mod default_files;
mod frontends;
mod http;
mod inspect;
mod keys;
pub mod load;
mod mesh;
mod near;
mod process;
mod raw;
mod scripts;
mod ssh;
mod zeroconf;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use accounts::AccountsConfig;
pub use address::HostAndPort;
pub use agents::OldAgentsConfig;
pub use auth::{AuthConfig, AuthIdConfig, BackendAuth, FailureLimits, HttpsGetConfig, Mechanism};
pub use autologin::AutologinConfig;
pub use brokers::NamedBroker;
pub use client_events::{ClientConfig, ClientEvents};
pub use frontends::{FrontendConfig, PublicKeysConfig, Refusal};
pub use http::{HttpConfig, HttpsConfig, UnixSocketConfig};
pub use mesh::{GossipTiming, MeshConfig};
pub use process::ProcessConfig;
pub use ssh::{SSH_SOCKET, SshConfig};
pub use zeroconf::ZeroconfConfig;

use crate::audit::AuditTarget;
use crate::ini::Problem;
use crate::profiles::{AgentQueryMode, PlainValues};
use crate::scripts::ScriptsConfig;
use inspect::Leads;
use keys::Known;
use raw::{Files, RawConfig};

/// Everything that decides how a replica is configured.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// How problems call `x2gobroker.conf`.
    pub config_file: &'a str,
    /// Its text.
    pub config: &'a str,
    /// How problems call `defaults.conf`.
    pub defaults_file: &'a str,
    /// Its text; empty when there is no such file.
    pub defaults: &'a str,
    /// The environment of the process.
    pub environment: &'a BTreeMap<String, String>,
    /// The value of `--bind`.
    pub bind: Option<&'a str>,
    /// What `hostname` says: the name of this node unless `[mesh] node` gives another.
    pub host_name: &'a str,
}

/// The whole configuration of a replica. Parts take only their slice.
#[derive(Clone, Debug)]
pub struct Config {
    /// As whom it runs, and how much it says.
    pub process: ProcessConfig,
    /// This replica as a member of the mesh.
    pub mesh: MeshConfig,
    /// Where clients connect.
    pub http: HttpConfig,
    /// Who is let in.
    pub auth: BackendAuth,
    /// The socket of the authservice, which asks PAM.
    pub authservice_socket: PathBuf,
    /// Which groups count, and who may log in as whom.
    pub accounts: AccountsConfig,
    /// What clients may ask.
    pub frontends: FrontendConfig,
    /// Where the session profiles are.
    pub inifile: InifileConfig,
    /// The backend without session profiles.
    pub zeroconf: ZeroconfConfig,
    /// How users get on without typing a password again.
    pub autologin: AutologinConfig,
    /// What clients are told beyond the original.
    pub clients: ClientConfig,
    /// Bounds of the front ends.
    pub limits: LimitsConfig,
    /// The operator's own scripts.
    pub scripts: ScriptsConfig,
    /// Where clients ask that come by SSH.
    pub ssh: SshConfig,
    /// Further brokers in this daemon.
    pub brokers: Vec<NamedBroker>,
    /// Where it is told who was let in and what was decided.
    pub audit: AuditTarget,
}

/// The backend `inifile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InifileConfig {
    /// Whether it answers; else clients get 404.
    pub enabled: bool,
    /// The file with the session profiles.
    pub session_profiles: PathBuf,
    /// By which way agents are asked, unless a profile says otherwise.
    pub query_mode: AgentQueryMode,
    /// How agents of x2gobroker 0.0.4.3 are called.
    pub old_agents: OldAgentsConfig,
    /// How values stand in the plain list.
    pub plain_values: PlainValues,
}

/// Bounds of the front ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open connections of all clients together.
    pub max_connections: u32,
    /// Open connections from one address.
    pub max_connections_per_client: u32,
    /// From the first byte of a request to its last.
    pub request_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
}

impl Config {
    /// Reads all sources. The second part are warnings.
    ///
    /// # Errors
    /// All problems, warnings included, when one of them is an error.
    pub fn parse(sources: &Sources<'_>) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (files, mut problems) = Files::parse(sources);
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = Self::read(sources, &files, &mut problems, Self::build);
        match config {
            Some(config) if !problems.iter().any(Problem::is_error) => Ok((config, problems)),
            _ => Err(problems),
        }
    }

    /// All problems of all sources, and what they lead to as far as they can be read.
    fn inspect(sources: &Sources<'_>) -> (Vec<Problem>, Leads) {
        let (files, mut problems) = Files::parse(sources);
        let leads = Self::read(sources, &files, &mut problems, |raw| {
            let config = Self::build(raw);
            let n_problems = raw.n_problems();
            let leads = Leads {
                inifile: InifileConfig::build(raw),
                preset_file: raw.text("global", "my-cookie-file").map(PathBuf::from),
                brokers: brokers::named(raw),
            };
            // They were told when all was read.
            raw.forget_problems_after(n_problems);
            drop(config);
            leads
        });
        (problems, leads)
    }

    /// Reads what `build` wants, and adds the problems with the keys of all files.
    fn read<T>(
        sources: &Sources<'_>,
        files: &Files,
        problems: &mut Vec<Problem>,
        build: impl FnOnce(&mut RawConfig<'_>) -> T,
    ) -> T {
        let mut raw = RawConfig::new(*sources, files);
        let built = build(&mut raw);
        let (found, asked) = raw.into_parts();
        problems.extend(found);
        let (nothing, blank) = (BTreeMap::new(), Files::default());
        let mut known = Self::asked_without_files(sources, &nothing, &blank);
        known.extend(asked);
        problems.extend(keys::without_effect(&known, sources, files));
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        // A key that several parts read is told once.
        problems.dedup();
        built
    }

    /// Some keys are asked for only when another one is missing: what is asked for when all
    /// are missing is known as well.
    fn asked_without_files<'a>(
        sources: &Sources<'a>,
        environment: &'a BTreeMap<String, String>,
        files: &'a Files,
    ) -> Known<'a> {
        let sources = Sources {
            environment,
            bind: None,
            ..*sources
        };
        let mut raw = RawConfig::new(sources, files);
        // Its problems are not those of the operator's files.
        let _ = Self::build(&mut raw);
        raw.into_parts().1
    }

    /// The names that are asked for in the environment and `defaults.conf`.
    fn known_settings() -> Known<'static> {
        let (nothing, blank) = (BTreeMap::new(), Files::default());
        let sources = Sources {
            config_file: "",
            config: "",
            defaults_file: "",
            defaults: "",
            environment: &nothing,
            bind: None,
            host_name: "",
        };
        Self::asked_without_files(&sources, &nothing, &blank).only_settings()
    }

    /// None only together with an error.
    fn build(raw: &mut RawConfig<'_>) -> Option<Self> {
        let process = ProcessConfig::build(raw);
        let mesh = MeshConfig::build(raw);
        let http = HttpConfig::build(raw);
        let auth = BackendAuth::build(raw);
        let socket = raw.setting("X2GOBROKER_AUTHSERVICE_SOCKET");
        let socket = socket.map_or(AUTHSERVICE_SOCKET, |setting| setting.value);
        let frontends = FrontendConfig::build(raw);
        let inifile = InifileConfig::build(raw);
        let clients = ClientConfig::build(raw);
        let limits = LimitsConfig::build(raw);
        Some(Self {
            process,
            mesh: mesh?,
            http: http?,
            auth: auth?,
            authservice_socket: socket.into(),
            accounts: AccountsConfig::build(raw),
            frontends,
            inifile,
            zeroconf: ZeroconfConfig::build(raw),
            autologin: AutologinConfig::build(raw),
            clients,
            limits,
            scripts: scripts::scripts(raw),
            ssh: SshConfig::build(raw),
            brokers: brokers::named(raw),
            audit: audit(raw),
        })
    }
}

impl InifileConfig {
    fn build(raw: &mut RawConfig<'_>) -> Self {
        let key = raw.text("broker_inifile", "session-profiles");
        let setting = raw.setting("X2GOBROKER_SESSIONPROFILES");
        let file = key.or(setting.map(|setting| setting.value));
        Self {
            enabled: raw.flag("broker_inifile", "enable", true),
            session_profiles: file.unwrap_or(SESSION_PROFILES).into(),
            query_mode: agents::query_mode(raw),
            old_agents: OldAgentsConfig::build(raw),
            plain_values: plain_values(raw),
        }
    }
}

impl LimitsConfig {
    fn build(raw: &mut RawConfig<'_>) -> Self {
        let seconds = |raw: &mut RawConfig<'_>, key, default| {
            Duration::from_secs(u64::from(raw.number("limits", key, 1..=3600, default)))
        };
        Self {
            max_connections: raw.number("limits", "max-connections", 1..=1_000_000, 4096),
            max_connections_per_client: raw.number(
                "limits",
                "max-connections-per-client",
                1..=1_000_000,
                256,
            ),
            request_timeout: seconds(raw, "request-timeout", 10),
            idle_timeout: seconds(raw, "idle-timeout", 75),
        }
    }
}

/// `log`, `off`, or a whole path.
fn audit(raw: &mut RawConfig<'_>) -> AuditTarget {
    let Some(entry) = raw.entry("global", "audit-log") else {
        return AuditTarget::default();
    };
    match entry.value() {
        "" | "log" => AuditTarget::Log,
        "off" => AuditTarget::Off,
        path if path.starts_with('/') => AuditTarget::File(path.into()),
        _ => {
            raw.error(
                entry,
                "this is neither log, off nor the whole path of a file",
            );
            AuditTarget::default()
        }
    }
}

/// X2Go Client misreads some values as the original writes them.
fn plain_values(raw: &mut RawConfig<'_>) -> PlainValues {
    let Some(entry) = raw.entry("global", "plain-values") else {
        return PlainValues::default();
    };
    match entry.value() {
        "" | "quoted" => PlainValues::Quoted,
        "raw" => PlainValues::Raw,
        _ => {
            raw.error(entry, "this is neither quoted nor raw");
            PlainValues::default()
        }
    }
}

const AUTHSERVICE_SOCKET: &str = "/run/x2gobroker/x2gobroker-authservice.socket";
const SESSION_PROFILES: &str = "/etc/x2go/broker/x2gobroker-sessionprofiles.conf";

#[cfg(test)]
mod tests;
