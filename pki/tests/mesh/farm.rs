//! A farm for tests: a CA in a temporary directory, members, and a member that listens.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pki::{
    Clock, ConnectError, Expect, FarmName, IdentityPublisher, IdentityWatch, IssueRequest, Issued,
    ListenerLimits, ManualClock, MeshListener, MeshStream, NodeName, Role, UnixTime,
};
use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use crate::wait::within;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-11-22T07:30:00Z
pub(crate) fn start() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_795_332_600))
}

pub(crate) struct Farm {
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    dir: TempDir,
}

impl Farm {
    pub(crate) fn new(name: &str) -> Self {
        let (clock, hand) = Clock::manual(start());
        let dir = tempfile::tempdir().unwrap();
        let farm = Self { clock, hand, dir };
        pki::init_ca(&farm.ca(), &FarmName::parse(name).unwrap(), &farm.clock).unwrap();
        farm
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca")
    }

    pub(crate) fn member_dir(&self, role: Role, node: &str) -> PathBuf {
        self.dir.path().join(format!("{role}-{node}"))
    }

    pub(crate) fn issue(&self, role: Role, node: &str, life: Duration) -> Issued {
        let request = IssueRequest {
            role,
            node: NodeName::parse(node).unwrap(),
            life,
        };
        pki::issue(
            &self.ca(),
            &request,
            &self.member_dir(role, node),
            &self.clock,
        )
        .unwrap()
    }

    /// A member with a leaf of 300 days.
    pub(crate) fn member(&self, role: Role, node: &str) -> IdentityWatch {
        self.member_for(role, node, 300 * DAY)
    }

    pub(crate) fn member_for(&self, role: Role, node: &str, life: Duration) -> IdentityWatch {
        let issued = self.issue(role, node, life);
        load(&issued.directory, &self.clock)
    }

    /// A member whose leaf names our CA as its issuer, but is signed with another key.
    pub(crate) fn forged_member(&self, name: &str) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        self.signed_member(name, key, |params| {
            let claimed = format!("x2gofarm://office/broker/{name}");
            params.subject_alt_names.push(uri(&claimed));
        })
    }

    /// A member whose leaf the CA signed although it is odd.
    pub(crate) fn odd_member(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> PathBuf {
        let ca_key = fs::read_to_string(self.ca().join("issuing.key")).unwrap();
        self.signed_member(name, KeyPair::from_pem(&ca_key).unwrap(), change)
    }

    fn signed_member(
        &self,
        name: &str,
        ca_key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> PathBuf {
        let out = self.issue(Role::Agent, name, 300 * DAY).directory;
        let key = KeyPair::from_pem(&fs::read_to_string(out.join("leaf.key")).unwrap()).unwrap();
        let ca_pem = fs::read_to_string(self.ca().join("issuing.crt")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).unwrap();
        let mut params = CertificateParams::new([pki::MEMBER_DNS_NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        fs::write(out.join("leaf.crt"), leaf.pem() + &ca_pem).unwrap();
        out
    }
}

pub(crate) fn uri(text: &str) -> rcgen::SanType {
    rcgen::SanType::URI(text.try_into().unwrap())
}

pub(crate) fn load(dir: &Path, clock: &Clock) -> IdentityWatch {
    let identity = pki::load_identity(dir, clock).unwrap();
    IdentityPublisher::new(identity).1
}

pub(crate) fn node(role: Role, name: &str) -> Expect {
    Expect::Node {
        role,
        node: NodeName::parse(name).unwrap(),
    }
}

pub(crate) fn anybody() -> Expect {
    Expect::AnyOf(&Role::ALL)
}

/// A member that greets each peer with who it is, and then repeats what it says.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Echo {
    pub(crate) async fn start(identity: IdentityWatch) -> Self {
        Self::start_with(identity, ListenerLimits::default()).await
    }

    pub(crate) async fn start_with(identity: IdentityWatch, limits: ListenerLimits) -> Self {
        let any_port = ([127, 0, 0, 1], 0).into();
        let listener = MeshListener::bind(any_port, identity, limits)
            .await
            .unwrap();
        let address = listener.local_addr();
        let mut incoming = listener.incoming();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut peers = JoinSet::new();
            while let Some(stream) = incoming.next().await {
                peers.spawn(greet_and_repeat(stream.unwrap()));
            }
        });
        Self { address, tasks }
    }

    pub(crate) fn stop(&mut self) {
        self.tasks.abort_all();
    }
}

async fn greet_and_repeat(stream: MeshStream) {
    let peer = stream.peer().clone();
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let mut text = format!("hello {} {}\n", peer.subject, peer.serial);
    while write.write_all(text.as_bytes()).await.is_ok() && write.flush().await.is_ok() {
        text.clear();
        if !matches!(read.read_line(&mut text).await, Ok(1..)) {
            return;
        }
    }
}

/// The client's end of a connection to an [`Echo`].
#[derive(Debug)]
pub(crate) struct Talk(BufReader<MeshStream>);

impl Talk {
    /// Connects, or says in words why not: at the connection, or at the greeting.
    pub(crate) async fn begin(
        address: SocketAddr,
        expect: &Expect,
        identity: &IdentityWatch,
    ) -> Result<(Self, String), String> {
        let connected = pki::mesh_connect(address, expect, identity, crate::wait::LIMIT).await;
        let stream = connected.map_err(|error| full_text(&error))?;
        let mut talk = Self(BufReader::new(stream));
        let hello = talk.line().await?;
        Ok((talk, hello))
    }

    pub(crate) async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = within("no answer from the echo", self.0.read_line(&mut line)).await;
        match read {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) async fn ask(&mut self, text: &str) -> Result<String, String> {
        let line = format!("{text}\n");
        self.0
            .get_mut()
            .write_all(line.as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        self.0
            .get_mut()
            .flush()
            .await
            .map_err(|error| error.to_string())?;
        self.line().await
    }

    pub(crate) fn peer(&self) -> &pki::PeerIdentity {
        self.0.get_ref().peer()
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(
            within("neither closed nor data", self.0.get_mut().read(&mut [0])).await,
            Ok(0) | Err(_)
        )
    }
}

pub(crate) fn full_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

pub(crate) fn connect_text(result: Result<MeshStream, ConnectError>) -> String {
    match result {
        Ok(stream) => format!("connected to {}", stream.peer().subject),
        Err(error) => full_text(&error),
    }
}
