//! TLS of the HTTPS front end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pki::https_server_config;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::farm::full_text;
use crate::wait::within;

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    roots: RootCertStore,
    _dir: TempDir,
}

fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["broker.example.org".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("broker.crt"), dir.path().join("broker.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    set_mode(&key, 0o640);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Files {
        certificate,
        key,
        roots,
        _dir: dir,
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

async fn shake_hands(
    files: &Files,
    version: &'static SupportedProtocolVersion,
    alpn: &[u8],
) -> Result<(ProtocolVersion, Vec<u8>), String> {
    let server = https_server_config(&files.certificate, &files.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(files.roots.clone())
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let (near, far) = tokio::io::duplex(4096);
    let name = "broker.example.org".try_into().unwrap();
    let both = async {
        tokio::join!(
            TlsConnector::from(Arc::new(client)).connect(name, near),
            TlsAcceptor::from(server).accept(far),
        )
    };
    let (client, _server) = within("the handshake hangs", both).await;
    let client = client.map_err(|error| error.to_string())?;
    let session = client.get_ref().1;
    let alpn = session.alpn_protocol().unwrap_or_default().to_vec();
    Ok((session.protocol_version().unwrap(), alpn))
}

#[tokio::test]
async fn the_front_end_speaks_tls_1_2_and_1_3_and_http_1_1_only() {
    let files = files();
    let http_1 = b"http/1.1".to_vec();
    let found = shake_hands(&files, &TLS12, b"http/1.1").await;
    assert_eq!(found, Ok((ProtocolVersion::TLSv1_2, http_1.clone())));
    let found = shake_hands(&files, &TLS13, b"http/1.1").await;
    assert_eq!(found, Ok((ProtocolVersion::TLSv1_3, http_1)));
    let found = shake_hands(&files, &TLS13, b"h2").await;
    assert_eq!(
        found,
        Err("received fatal alert: NoApplicationProtocol".to_owned())
    );
}

#[test]
fn wrong_files_are_refused_with_the_reason() {
    let files = files();
    let other = self::files();
    let told = |certificate: &Path, key: &Path| match https_server_config(certificate, key) {
        Ok(_) => "good".to_owned(),
        Err(error) => full_text(&error),
    };
    let (certificate, key) = (files.certificate.display(), files.key.display());
    assert_eq!(told(&files.certificate, &files.key), "good");
    assert_eq!(
        told(&files.key, &files.key),
        format!("{key} holds no certificate")
    );
    assert_eq!(
        told(&files.certificate, &other.key),
        format!(
            "the key {} does not belong to the certificate {certificate}, or is of an unknown \
             kind: keys may not be consistent: KeyMismatch",
            other.key.display()
        )
    );
    for mode in [0o600, 0o400, 0o440] {
        set_mode(&files.key, mode);
        assert_eq!(told(&files.certificate, &files.key), "good");
    }
    for mode in [0o644, 0o660, 0o604] {
        set_mode(&files.key, mode);
        assert_eq!(
            told(&files.certificate, &files.key),
            format!(
                "{key} has mode {mode:04o}: other users can read this private key or change it; \
                 run: chmod 640 {key}"
            )
        );
    }
}
