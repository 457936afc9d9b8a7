//! How do the other parts of a daemon talk to the gossip?

use std::sync::Arc;
use std::time::Duration;

use proto::{KEY_READINESS, Readiness};
use tokio::sync::watch;

use crate::own::OwnKeys;
use crate::{AdvertiseError, Members};

/// Says things about this node and shows the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterHandle {
    own: Arc<watch::Sender<OwnKeys>>,
    members: watch::Receiver<Arc<Members>>,
    pushed: watch::Receiver<u64>,
}

impl ClusterHandle {
    pub(crate) fn new(
        own: Arc<watch::Sender<OwnKeys>>,
        members: watch::Receiver<Arc<Members>>,
        pushed: watch::Receiver<u64>,
    ) -> Self {
        Self {
            own,
            members,
            pushed,
        }
    }

    /// Sets a key of our advert; all members see it within about two rounds. Never blocks.
    ///
    /// # Errors
    /// When the key is not one of the advert's, or the value too long to be gossiped. Then
    /// the former value stays.
    pub fn advertise(&self, key: &'static str, value: String) -> Result<(), AdvertiseError> {
        self.set(key, value).map(|_changed| ())
    }

    /// Sets a key as [`ClusterHandle::advertise`] does, and pushes it at once to every live
    /// broker and a few others. For readiness. Never blocks; pushes that come in a burst
    /// become one.
    ///
    /// # Errors
    /// As [`ClusterHandle::advertise`].
    pub fn advertise_now(&self, key: &'static str, value: String) -> Result<(), AdvertiseError> {
        if self.set(key, value)? {
            self.ask_for_push();
        }
        Ok(())
    }

    /// The members as they change, from a few milliseconds after the news has arrived.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.members.clone()
    }

    /// Says that this node is leaving, and waits until the members that it is pushed to
    /// have been told, at most `limit`. Then stop the cluster.
    pub async fn leave(&self, limit: Duration) {
        // Can't fail: the key is known and the value short.
        let _ = self.set(KEY_READINESS, Readiness::Leaving.to_value());
        let number = self.ask_for_push();
        let mut pushed = self.pushed.clone();
        let told = async {
            // An error means that the cluster has ended: there is nobody left to tell.
            let _ = pushed.wait_for(|done| *done >= number).await;
            tokio::time::sleep(LINGER).await;
        };
        if tokio::time::timeout(limit, told).await.is_err() {
            tracing::warn!("not all members could be told that this node is leaving");
        }
    }

    fn set(&self, key: &'static str, value: String) -> Result<bool, AdvertiseError> {
        let mut outcome = Ok(false);
        self.own.send_if_modified(|own| {
            outcome = own.set(key, value);
            outcome == Ok(true)
        });
        outcome
    }

    fn ask_for_push(&self) -> u64 {
        let mut number = 0;
        self.own.send_modify(|own| number = own.ask_for_push());
        number
    }
}

/// The last messages are handed to the connections when the wait ends; this is for the way
/// from there to the network.
const LINGER: Duration = Duration::from_millis(50);
