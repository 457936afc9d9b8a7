//! A farm's members for tests: certificates of a CA in a temporary directory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pki::{
    Clock, FarmName, Identity, IdentityPublisher, IssueRequest, ManualClock, NodeName, Role,
    UnixTime,
};
use proto::{PamQuestion, PamVerdict};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::Authenticator;
use crate::audit::Audit;

/// A CA whose clock, and that of all members, stands still until it is moved.
pub(crate) struct Farm {
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    name: String,
    dir: TempDir,
}

/// 2026-11-22T07:30:00Z
pub(crate) const START: u64 = 1_795_332_600;

impl Farm {
    pub(crate) fn new(name: &str) -> Self {
        let start = UnixTime::since_unix_epoch(Duration::from_secs(START));
        let (clock, hand) = Clock::manual(start);
        Self::with_clock(name, clock, hand)
    }

    /// One whose certificates are valid now, for those who look at the machine's clock.
    pub(crate) fn of_today(name: &str) -> Self {
        let clock = Clock::system();
        let hand = ManualClock::new(clock.now());
        Self::with_clock(name, clock, hand)
    }

    fn with_clock(name: &str, clock: Clock, hand: ManualClock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let farm = FarmName::parse(name).unwrap();
        pki::init_ca(&dir.path().join("ca"), &farm, &clock).unwrap();
        Self {
            clock,
            hand,
            name: name.to_owned(),
            dir,
        }
    }

    /// The directory with the files of a new member.
    pub(crate) fn files(&self, role: Role, node: &str) -> PathBuf {
        let request = IssueRequest::new(role, NodeName::parse(node).unwrap());
        let out: PathBuf = self.dir.path().join(format!("{role}-{node}"));
        pki::issue(&self.dir.path().join("ca"), &request, &out, &self.clock).unwrap();
        out
    }

    pub(crate) fn member(&self, role: Role, node: &str) -> Identity {
        pki::load_identity(&self.files(role, node), &self.clock).unwrap()
    }

    /// Where replicas look for the authservice.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join(format!("{}.socket", self.name))
    }

    pub(crate) fn replica(&self, node: &str) -> Replica {
        let (_publisher, identity) = IdentityPublisher::new(self.member(Role::Broker, node));
        let socket = self.socket();
        Authenticator::new(identity, self.clock.clone(), &socket, Audit::off())
    }
}

/// One of several that let the same users in.
pub(crate) type Replica = Authenticator;

/// Speaks as the authservice. Takes new passwords of at least four characters; `odd` is an old version of itself.
pub(crate) async fn serve_passwords(listener: UnixListener, password: Arc<Mutex<Vec<u8>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        let mut message = vec![0; proto::pam_message_length(head).unwrap()];
        stream.read_exact(&mut message).await.unwrap();
        let question = PamQuestion::read(&message).unwrap();
        let verdict = {
            let mut password = password.lock().unwrap();
            match &question.new_password {
                _ if *question.password != *password => PamVerdict::Refused,
                Some(new) if question.user != "odd" && new.len() > 3 => {
                    password.clone_from(new);
                    PamVerdict::Changed
                }
                Some(_) if question.user != "odd" => PamVerdict::NewPasswordRefused,
                _ => PamVerdict::Granted,
            }
        };
        stream.write_all(&verdict.to_frame()).await.unwrap();
    }
}
