//! In which groups is a user?
//!
//! The system knows (NSS), and it may take its time: it may ask a directory. So one task
//! owns all that is known, asks off the async threads, about one user once at a time and
//! about a few users at once, and remembers answers for a while. Where the system hangs,
//! only those wait who need to know, and not for long.

mod nss;
mod owner;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::BrokerUser;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::acl::GroupName;
pub use nss::look_up;
pub use owner::GroupsOwner;

/// The groups of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserGroups {
    /// The primary group last, unless the user is named as its member.
    names: Box<[GroupName]>,
    n_named: usize,
}

/// The groups of a user could not be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the groups of the user are not known")]
pub struct GroupsUnknown;

/// Why the system told no groups.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The system could not say who the user is.
    #[error("the system can't look up the user")]
    User(#[source] nix::Error),
    /// The system could not say which groups the user is in.
    #[error("the system can't list the groups of the user")]
    List(#[source] nix::Error),
    /// The system could not name one of the groups.
    #[error("the system can't name the group {gid}")]
    Name {
        /// Its number.
        gid: u32,
        /// Why.
        source: nix::Error,
    },
    /// Nobody is in so many groups.
    #[error("the user is in more than {MAX_GROUPS} groups")]
    TooMany,
}

/// Bounds of what is asked and remembered.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// How long somebody waits for an answer.
    pub deadline: Duration,
    /// How long an answer counts.
    pub remember: Duration,
    /// How many users are asked about at once.
    pub at_once: usize,
}

/// Where to ask for groups. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GroupsHandle {
    asks: mpsc::Sender<Ask>,
    deadline: Duration,
    hangs: Arc<AtomicBool>,
}

type Answer = Result<Arc<UserGroups>, GroupsUnknown>;

/// A question on its way to the owner.
#[derive(Debug)]
struct Ask {
    user: BrokerUser,
    answer: oneshot::Sender<Answer>,
}

impl UserGroups {
    /// Takes the groups that name the user as a member, and the primary group if that one
    /// does not.
    #[must_use]
    pub fn new(named: Vec<GroupName>, primary: Option<GroupName>) -> Self {
        let n_named = named.len();
        let names = named.into_iter().chain(primary);
        Self {
            names: names.collect(),
            n_named,
        }
    }

    /// All groups, the primary one included.
    #[must_use]
    pub fn all(&self) -> &[GroupName] {
        &self.names
    }

    /// Those that count by `ignore-primary-group-memberships`: with it, a primary group
    /// counts only if it names the user as a member, too.
    #[must_use]
    pub fn counting(&self, ignore_primary: bool) -> &[GroupName] {
        if ignore_primary {
            self.names.get(..self.n_named).unwrap_or_default()
        } else {
            &self.names
        }
    }
}

impl GroupsHandle {
    /// The groups of this user. Safe to drop at any time.
    ///
    /// # Errors
    /// When they can't be found out before the deadline.
    pub async fn of(&self, user: &BrokerUser) -> Answer {
        let (answer, answered) = oneshot::channel();
        let user = user.clone();
        // A full queue means that many wait already.
        let sent = self.asks.try_send(Ask { user, answer });
        sent.or(Err(GroupsUnknown))?;
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(answer)) => {
                if answer.is_ok() && self.hangs.swap(false, Ordering::Relaxed) {
                    info!("the system tells the groups of users again");
                }
                answer
            }
            Ok(Err(_gone)) => Err(GroupsUnknown),
            Err(_elapsed) => {
                if !self.hangs.swap(true, Ordering::Relaxed) {
                    warn!(
                        limit = ?self.deadline,
                        "the system does not tell the groups of users in time; profiles that \
                         groups decide are hidden until it does"
                    );
                }
                Err(GroupsUnknown)
            }
        }
    }
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            // A directory answers within milliseconds; x2goclient waits much longer.
            deadline: Duration::from_secs(2),
            // A log-in asks several times; a new member of a group tries again soon.
            remember: Duration::from_secs(30),
            // Each is a thread that the system may hold for ever.
            at_once: 8,
        }
    }
}

/// Directories have users in a thousand groups, and each group is looked up.
const MAX_GROUPS: usize = 4096;

#[cfg(test)]
mod tests;
