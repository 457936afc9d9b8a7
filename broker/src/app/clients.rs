//! What clients find: the brokers of this daemon, and the sockets that lead to them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use pki::Clock;
use tokio::net::TcpSocket;
use tokio_rustls::rustls::ServerConfig;
use tracing::info;

use super::AppError;
use crate::auth::Authenticator;
use crate::client_names::ClientNamesResolver;
use crate::config::load::Origin;
use crate::config::{Config, NamedBroker};
use crate::frontend::https::sites::Site;
use crate::frontend::https::socket::Socket;
use crate::frontend::https::{Bodies, Frontend, HttpListener, router};
use crate::frontend::ssh::{AccountLimits, Accounts, SshFrontend, SshListener, SshSocket};
use crate::groups::GroupsHandle;
use crate::reload::{SettingsReloader, report};
use crate::settings::SettingsWatch;
use crate::task::Broker;
use crate::task::access::Directory;
use crate::task::select_session::Placing;

/// All brokers of the daemon, and what keeps their settings.
pub(super) struct Desk {
    pub(super) clock: Clock,
    pub(super) authenticator: Authenticator,
    pub(super) placing: Placing,
    pub(super) request_timeout: Duration,
    pub(super) bodies: Bodies,
    pub(super) sites: Vec<Site>,
    pub(super) reloaders: Vec<SettingsReloader>,
    pub(super) groups: GroupsHandle,
    pub(super) resolvers: Vec<ClientNamesResolver>,
    pub(super) settings: Vec<SettingsWatch>,
}

impl Desk {
    /// Adds a broker with a configuration that was read already, and returns it; the main
    /// one has no name.
    pub(super) fn add(&mut self, site: &str, config: &Config, origin: Origin) -> Broker {
        let (reloader, settings) = SettingsReloader::open(origin, config);
        let (authenticator, placing) = (self.authenticator.at(site), self.placing.clone());
        let (resolver, client_names) = ClientNamesResolver::new(settings.clone());
        self.settings.push(settings.clone());
        let directory = Directory {
            groups: self.groups.clone(),
            client_names,
        };
        let broker = Broker::new(settings, authenticator, directory, placing);
        let app = router(Frontend {
            broker: broker.clone(),
            request_timeout: self.request_timeout,
            bodies: self.bodies.clone(),
            clock: self.clock.clone(),
        });
        let location = config.http.location.clone();
        self.sites.push(Site { location, app });
        self.reloaders.push(reloader);
        self.resolvers.push(resolver);
        broker
    }

    /// Reads the configuration of a named broker and adds it.
    pub(super) fn add_named(&mut self, named: &NamedBroker, main: &Origin) -> Result<(), AppError> {
        let unusable = |problems: String| AppError::NamedBroker {
            name: named.name.clone(),
            problems,
        };
        let mut origin = main.clone();
        origin.config_file.clone_from(&named.config_file);
        let (config, warnings) = origin.read().map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            unusable(problems.join("; "))
        })?;
        let mut taken = self.sites.iter().map(|site| &site.location);
        if taken.any(|location| *location == config.http.location) {
            let text = "its base-path and host-names in [http] are those of another broker";
            return Err(unusable(text.to_owned()));
        }
        report(&warnings);
        self.add(&named.name, &config, origin);
        Ok(())
    }
}

/// Opens the socket for clients that come by SSH. Where the operator has not asked for it
/// and it is not possible, there is none.
pub(super) fn bind_ssh(config: &Config, broker: Broker) -> Result<Option<SshListener>, AppError> {
    if !config.ssh.enabled {
        return Ok(None);
    }
    let socket = match SshSocket::open(&config.ssh.socket, &config.ssh.group) {
        Ok(socket) => socket,
        Err(error) if config.ssh.is_chosen => return Err(AppError::Ssh(error)),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            info!(error, "clients can't ask over SSH");
            return Ok(None);
        }
    };
    let frontend = SshFrontend {
        broker,
        accounts: Accounts::of_system(AccountLimits::default()),
        magic_user: config.process.user.clone(),
    };
    Ok(Some(SshListener::new(socket, frontend)))
}

/// Opens the sockets for clients, or takes those that systemd hands over instead.
/// What was bound before the privileges went is used where it is wanted.
pub(super) fn bind_clients(
    config: &Config,
    mut reserved: Vec<(SocketAddr, TcpSocket)>,
) -> Result<Vec<HttpListener>, AppError> {
    let mut bind_tcp = |address| match reserved.iter().position(|(own, _)| *own == address) {
        Some(idx) => Socket::listen(address, reserved.swap_remove(idx).1),
        None => Socket::bind_tcp(address),
    };
    let tls = match &config.http.https {
        Some(https) => Some(
            pki::https_server_config(&https.certificate, &https.key).map_err(AppError::Https)?,
        ),
        None => None,
    };
    let handed = handed_over().map_err(AppError::Handed)?;
    if !handed.is_empty() {
        let with_tls = handed.into_iter().map(|socket| {
            let tls = tls.clone().filter(|_| is_for_https(&socket, config));
            (socket, tls)
        });
        return Ok(with_tls.map(listener).collect());
    }
    let mut sockets = Vec::new();
    if let Some(address) = config.http.http {
        sockets.push((bind_tcp(address)?, None));
    }
    if let Some(https) = &config.http.https {
        sockets.push((bind_tcp(https.bind)?, tls));
    }
    if let Some(unix) = &config.http.unix {
        sockets.push((Socket::bind_unix(&unix.path, unix.mode)?, None));
    }
    Ok(sockets.into_iter().map(listener).collect())
}

fn listener((socket, tls): (Socket, Option<Arc<ServerConfig>>)) -> HttpListener {
    socket.announce(if tls.is_some() { "HTTPS" } else { "HTTP" });
    HttpListener::new(socket, tls)
}

/// The sockets of a systemd socket unit, in its order (sd_listen_fds(3)).
fn handed_over() -> io::Result<Vec<Socket>> {
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::with_capacity(handed.len());
    for idx in 0..handed.len() {
        if let Ok(Some(unix)) = handed.take_unix_listener(idx) {
            sockets.push(Socket::from_unix(unix)?);
        } else if let Some(tcp) = handed.take_tcp_listener(idx)? {
            sockets.push(Socket::from_tcp(tcp)?);
        }
    }
    Ok(sockets)
}

/// Whether a socket that was handed over serves HTTPS: all TCP sockets do when there is a
/// certificate and no HTTP beside it, else the one with the port of HTTPS.
fn is_for_https(socket: &Socket, config: &Config) -> bool {
    let Some(port) = socket.tcp_address().as_ref().map(SocketAddr::port) else {
        return false;
    };
    let https = config.http.https.as_ref();
    https.is_some_and(|https| config.http.http.is_none() || https.bind.port() == port)
}
