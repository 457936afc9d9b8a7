//! Which addresses do the clients have that ACLs mention by name?
//!
//! A task looks the names up and publishes what it found as a snapshot, so that no request
//! waits for a name server. Only the way from name to address counts: what an address is
//! called is up to whoever owns it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::acl::{ClientName, ClientNames};
use crate::settings::{Settings, SettingsWatch};

/// What is known of the clients' names now.
pub type ClientNamesWatch = watch::Receiver<Arc<ClientNames>>;

/// Looks up the names that the session profiles mention.
#[derive(Debug)]
pub struct ClientNamesResolver {
    settings: SettingsWatch,
    published: watch::Sender<Arc<ClientNames>>,
    names: HashMap<ClientName, Finding>,
    next: VecDeque<ClientName>,
    running: JoinSet<io::Result<Vec<IpAddr>>>,
    subjects: HashMap<Id, ClientName>,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Finding {
    /// The last good answer, and when it came.
    found: Option<(Vec<IpAddr>, Instant)>,
    fails: bool,
    is_asked: bool,
}

impl ClientNamesResolver {
    /// Sets the task up. Until it has run, no name has an address.
    #[must_use]
    pub fn new(settings: SettingsWatch) -> (Self, ClientNamesWatch) {
        let (published, names) = watch::channel(Arc::default());
        let resolver = Self {
            settings,
            published,
            names: HashMap::new(),
            next: VecDeque::new(),
            running: JoinSet::new(),
            subjects: HashMap::new(),
        };
        (resolver, names)
    }

    /// Looks names up, anew every minute and when the profiles change, until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.want_those_of_the_profiles();
                }
                _ = every.tick() => {
                    self.want_those_of_the_profiles();
                    self.want_all();
                }
                Some(done) = self.running.join_next_with_id() => match done {
                    Ok((id, result)) => self.take(id, result),
                    Err(panic) => {
                        error!(error = %panic, "looking up a client's name ended in a panic");
                        self.take(panic.id(), Err(io::ErrorKind::Other.into()));
                    }
                },
            }
            self.start();
            self.publish();
        }
    }

    /// Forgets names that no profile mentions any more, and asks for new ones.
    fn want_those_of_the_profiles(&mut self) {
        let mentioned = mentioned(&self.settings.borrow_and_update());
        self.names.retain(|name, _| mentioned.contains(name));
        for name in mentioned {
            if self.names.contains_key(&name) {
                continue;
            }
            if self.names.len() >= MAX_NAMES {
                error!(
                    "ACLs mention more than {MAX_NAMES} client names; the others are not looked \
                     up, so that they match nobody in an allow list and everybody in a deny list"
                );
                return;
            }
            self.names.insert(name.clone(), Finding::asked());
            self.next.push_back(name);
        }
    }

    fn want_all(&mut self) {
        for (name, finding) in &mut self.names {
            if !std::mem::replace(&mut finding.is_asked, true) {
                self.next.push_back(name.clone());
            }
        }
    }

    /// A look-up can't be cut short: it keeps its place until the resolver gives up, so
    /// that a name server that is silent can't take all threads.
    fn start(&mut self) {
        while self.running.len() < MAX_AT_ONCE
            && let Some(name) = self.next.pop_front()
        {
            if !self.names.contains_key(&name) {
                continue;
            }
            let host = name.to_string();
            let look_up = async move {
                let addresses = tokio::net::lookup_host((host, 0)).await?;
                let addresses = addresses.map(|address| address.ip());
                Ok(addresses.take(MAX_ADDRESSES).collect())
            };
            self.subjects.insert(self.running.spawn(look_up).id(), name);
        }
    }

    fn take(&mut self, id: Id, result: io::Result<Vec<IpAddr>>) {
        let Some(name) = self.subjects.remove(&id) else {
            return;
        };
        if let Some(finding) = self.names.get_mut(&name) {
            finding.take(&name, result);
        }
    }

    fn publish(&mut self) {
        let known = self.names.iter_mut().filter_map(|(name, finding)| {
            let addresses = finding.addresses()?;
            Some((name.clone(), addresses.to_vec()))
        });
        let names: ClientNames = known.collect();
        self.published.send_if_modified(|published| {
            let differs = **published != names;
            if differs {
                *published = Arc::new(names);
            }
            differs
        });
    }
}

impl Finding {
    fn asked() -> Self {
        Self {
            is_asked: true,
            ..Self::default()
        }
    }

    fn take(&mut self, name: &ClientName, result: io::Result<Vec<IpAddr>>) {
        self.is_asked = false;
        match result {
            Ok(mut addresses) => {
                if std::mem::take(&mut self.fails) {
                    info!(%name, "the address of a client is known again");
                }
                // Name servers turn the order round; that is no change.
                addresses.sort_unstable();
                addresses.dedup();
                self.found = Some((addresses, Instant::now()));
            }
            Err(error) => {
                if !std::mem::replace(&mut self.fails, true) {
                    warn!(
                        %name, error = %error,
                        "a client that ACLs mention has no address now; after {} minutes it \
                         matches nobody in an allow list and everybody in a deny list",
                        KEEP.as_secs() / 60
                    );
                }
            }
        }
    }

    /// What was found, while it counts.
    fn addresses(&mut self) -> Option<&[IpAddr]> {
        if let Some((_, since)) = &self.found
            && since.elapsed() > KEEP
        {
            self.found = None;
        }
        let (addresses, _) = self.found.as_ref()?;
        Some(addresses)
    }
}

fn mentioned(settings: &Settings) -> BTreeSet<ClientName> {
    let profiles = settings.profiles().into_iter();
    let profiles = profiles.flat_map(|profiles| profiles.iter());
    profiles
        .flat_map(|profile| profile.acl.client_names().cloned())
        .collect()
}

/// A client that moves is let in again soon; a name server is asked little.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long an answer outlives its name server. Long enough to restart one, too short for
/// an address to change hands unseen.
const KEEP: Duration = Duration::from_secs(15 * 60);

/// Each is a thread.
const MAX_AT_ONCE: usize = 8;

/// One minute is enough for so many; a larger room of clients is better named as a network.
const MAX_NAMES: usize = 1024;

/// No client has more.
const MAX_ADDRESSES: usize = 64;

#[cfg(test)]
mod tests;
