//! Where do clients connect, and with which certificate?

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address::bind_address;
use super::raw::RawConfig;

/// Where clients connect. At least one of both is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// HTTP without encryption.
    pub http: Option<SocketAddr>,
    /// HTTPS.
    pub https: Option<HttpsConfig>,
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
        Some(Self { http, https })
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

const HTTP_PORT: u16 = 8080;
const HTTPS_PORT: u16 = 8443;
