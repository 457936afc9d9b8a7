//! The SSH front end: answers x2gobroker-ssh, which sshd starts for each request of a
//! client, over a unix socket of this host.
//!
//! Who asks is what the kernel says of the other end of the socket, and nothing that is
//! sent. So there is no password; all else is as over HTTP.

mod accounts;
mod listen;
mod places;
mod refusals;
mod request;
mod socket;

use std::net::{IpAddr, Ipv4Addr};

use proto::{LocalAnswer, LocalRequest};
use tracing::{debug, info, warn};

pub use accounts::{AccountError, AccountLimits, Accounts};
pub use listen::SshListener;
pub use socket::{SshSocket, SshSocketError};

use crate::auth::{LocalPeer, Source};
use crate::frontend::{form, plain};
use crate::task::Broker;
use crate::task::list_sessions::HostsShown;

/// What the front end needs to answer.
#[derive(Clone, Debug)]
pub struct SshFrontend {
    /// Who answers.
    pub broker: Broker,
    /// Whose processes ask.
    pub accounts: Accounts,
    /// The account that may ask for others.
    pub magic_user: String,
}

impl SshFrontend {
    /// Answers the process of this user.
    async fn answer(&self, uid: u32, request: &LocalRequest) -> LocalAnswer {
        let account = match self.accounts.name_of(uid).await {
            Ok(Some(account)) => account,
            Ok(None) => {
                warn!(uid, "somebody without an account asked over SSH");
                return LocalAnswer::NoAccount;
            }
            Err(error) => {
                warn!(uid, error = %error, "it is not known who asked over SSH");
                return LocalAnswer::Unavailable;
            }
        };
        let wanted = form::cleaned(&request.user);
        let Ok(peer) = LocalPeer::new(&account, &wanted, &self.magic_user) else {
            warn!(
                uid,
                ?account,
                "this account can't be a user's who asks over SSH"
            );
            return LocalAnswer::NoAccount;
        };
        let notice = match wanted.as_str() {
            "" => String::new(),
            wanted if wanted == peer.user().as_str() => String::new(),
            wanted => {
                info!(user = %peer.user(), wanted, "nobody else may be named; answered as who asks");
                format!("you are {}, and are answered as that user", peer.user())
            }
        };
        self.answer_user(peer, request, notice).await
    }

    async fn answer_user(
        &self,
        peer: LocalPeer,
        request: &LocalRequest,
        notice: String,
    ) -> LocalAnswer {
        let settings = self.broker.settings();
        let name = form::cleaned(&request.backend);
        let Some(backend) = settings.backend(&name) else {
            return if settings.knows_backend(&name) {
                LocalAnswer::BackendOff
            } else {
                LocalAnswer::UnknownBackend
            };
        };
        let request = request::request(request, &peer);
        let source = Source {
            client: request.client,
            peer: Some(peer),
        };
        debug!(
            task = request.task.task_word,
            user = request.task.credentials.user,
            client = %request.client,
            "asked over SSH"
        );
        let reply = self.broker.answer(backend, &request.task, source).await;
        match reply {
            Ok(reply) => LocalAnswer::Answered {
                text: plain::answer(&reply, HostsShown::of(backend.query_mode)),
                notice,
            },
            Err(_denied) => LocalAnswer::Refused { notice },
        }
    }
}

/// As the original takes it where sshd tells nothing.
const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
