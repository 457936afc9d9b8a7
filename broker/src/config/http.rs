//! Where do clients connect, with which certificate, and through which proxies?

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address::bind_address;
use super::raw::RawConfig;
use crate::acl::ClientPattern;
use crate::frontend::https::forwarded::{ForwardedHeader, TrustedProxies};
use crate::frontend::https::sites::Location;

/// Where clients connect. At least one of `http` and `https` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// HTTP without encryption.
    pub http: Option<SocketAddr>,
    /// HTTPS.
    pub https: Option<HttpsConfig>,
    /// HTTP for proxies on this host.
    pub unix: Option<UnixSocketConfig>,
    /// Where load checks of x2gobroker 0.0.4.3 are answered, if anywhere.
    pub load_checker: Option<PathBuf>,
    /// Who is believed about whom a request is from.
    pub proxies: TrustedProxies,
    /// Where this broker is found, among several in one daemon.
    pub location: Location,
}

/// A unix socket to serve proxies at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocketConfig {
    /// Its file.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// Where HTTPS is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsConfig {
    /// The address.
    pub bind: SocketAddr,
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl HttpConfig {
    /// As the original: one address, `--bind` or `DAEMON_BIND_ADDRESS`, with HTTPS when
    /// certificate and key are given, else with HTTP. Beyond it, `[http] https-bind`
    /// serves HTTPS at a second address, and HTTP stays at the first.
    ///
    /// None only together with an error.
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Option<Self> {
        let bind = bind(raw)?;
        let files = certificate_and_key(raw)?;
        let second = https_bind(raw, files.is_some())?;
        let https = files.map(|(certificate, key)| HttpsConfig {
            bind: second.unwrap_or(bind),
            certificate,
            key,
        });
        let http = (https.is_none() || second.is_some()).then_some(bind);
        Some(Self {
            http,
            https,
            unix: unix_socket(raw),
            load_checker: raw.text("http", "load-checker-socket").map(PathBuf::from),
            proxies: trusted_proxies(raw),
            location: location(raw),
        })
    }
}

fn bind(raw: &mut RawConfig<'_>) -> Option<SocketAddr> {
    let setting = raw
        .bind_option()
        .or_else(|| raw.setting("DAEMON_BIND_ADDRESS"));
    let Some(setting) = setting else {
        return bind_address("127.0.0.1", HTTP_PORT);
    };
    let address = bind_address(setting.value, HTTP_PORT);
    if address.is_none() {
        raw.setting_error(setting, "this is not [address:]port with an IP address");
    }
    address
}

/// The outer option is none together with an error.
fn certificate_and_key(raw: &mut RawConfig<'_>) -> Option<Option<(PathBuf, PathBuf)>> {
    let certificate = raw.setting("X2GOBROKER_SSL_CERTFILE");
    let key = raw.setting("X2GOBROKER_SSL_KEYFILE");
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Some((certificate.value.into(), key.value.into()))),
        (None, None) => Some(None),
        (Some(alone), None) | (None, Some(alone)) => {
            let text = "HTTPS needs both X2GOBROKER_SSL_CERTFILE and X2GOBROKER_SSL_KEYFILE";
            raw.setting_error(alone, text);
            None
        }
    }
}

/// The outer option is none together with an error.
fn https_bind(raw: &mut RawConfig<'_>, has_certificate: bool) -> Option<Option<SocketAddr>> {
    let Some(key) = raw.entry("http", "https-bind") else {
        return Some(None);
    };
    let address = bind_address(key.value(), HTTPS_PORT);
    if address.is_none() {
        raw.error(key, "this is not an IP address with a port");
        return None;
    }
    if !has_certificate {
        let text = "HTTPS needs X2GOBROKER_SSL_CERTFILE and X2GOBROKER_SSL_KEYFILE";
        raw.error(key, text);
        return None;
    }
    Some(address)
}

fn unix_socket(raw: &mut RawConfig<'_>) -> Option<UnixSocketConfig> {
    let path = raw.text("http", "unix-socket")?.into();
    let mode = raw.entry("http", "unix-socket-mode");
    let mode = mode.map_or(Some(SOCKET_MODE), |key| {
        let mode = u32::from_str_radix(key.value(), 8).ok();
        let mode = mode.filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            raw.error(key, "these are no permissions; write them as 0660");
        }
        mode
    })?;
    Some(UnixSocketConfig { path, mode })
}

fn trusted_proxies(raw: &mut RawConfig<'_>) -> TrustedProxies {
    let mut proxies = TrustedProxies::default();
    if let Some(key) = raw.entry("http", "trusted-proxies") {
        for item in items(key.value()) {
            match ClientPattern::parse(item) {
                Ok(pattern) if pattern.is_network() => proxies.addresses.push(pattern),
                Ok(_) | Err(_) => {
                    raw.error(key, format!("{item:?} is neither an address nor a network"));
                }
            }
        }
    }
    if let Some(key) = raw.entry("http", "forwarded-header") {
        proxies.header = match key.value().to_ascii_lowercase().as_str() {
            "x-forwarded-for" => ForwardedHeader::XForwardedFor,
            "forwarded" => ForwardedHeader::Forwarded,
            _ => {
                raw.error(key, "this is neither X-Forwarded-For nor Forwarded");
                ForwardedHeader::default()
            }
        };
    }
    proxies
}

fn location(raw: &mut RawConfig<'_>) -> Location {
    let mut location = Location::default();
    if let Some(key) = raw.entry("http", "base-path") {
        let path = key.value().trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        let is_path = path.starts_with('/') && path.chars().all(is_plain);
        if !path.is_empty() && !is_path {
            raw.error(
                key,
                "this is no path such as /sales, of letters, digits and -_.~",
            );
        }
        path.clone_into(&mut location.base_path);
    }
    if let Some(key) = raw.entry("http", "host-names") {
        for name in items(key.value()) {
            if name.contains([':', '/', ' ']) {
                raw.error(key, format!("{name:?} is no host name"));
            }
            location.host_names.push(name.to_ascii_lowercase());
        }
    }
    location
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// For the proxy's user in the group of the socket; nobody else.
const SOCKET_MODE: u32 = 0o660;
const HTTP_PORT: u16 = 8080;
const HTTPS_PORT: u16 = 8443;
