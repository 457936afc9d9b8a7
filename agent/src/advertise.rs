//! What does the agent gossip about its server, and when?
//!
//! Names and version once; readiness, and whether keys can be had, pushed the moment they
//! change; load and counts once a second if they have changed.

use std::time::Duration;

use gossip::{AdvertiseError, ClusterHandle};
use proto::{
    Advert, HostNames, KEY_KEYS, KEY_LOAD, KEY_NAMES, KEY_READINESS, KEY_SOFTWARE, NodeState,
    Readiness,
};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::keys::KeysState;

/// Gossips `states`, and what `keys` says, until `stop`.
///
/// # Errors
/// When a value can't be gossiped: our own fault.
pub async fn run(
    cluster: ClusterHandle,
    names: HostNames,
    mut states: watch::Receiver<NodeState>,
    mut keys: watch::Receiver<KeysState>,
    stop: CancellationToken,
) -> Result<(), AdvertiseError> {
    cluster.advertise(KEY_SOFTWARE, env!("CARGO_PKG_VERSION").to_owned())?;
    cluster.advertise(KEY_NAMES, names.to_value())?;
    let mut told: Option<Readiness> = None;
    let mut told_keys: Option<bool> = None;
    let mut ticks = tokio::time::interval(LOAD_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let readiness = states.borrow_and_update().readiness.clone();
        if told.as_ref() != Some(&readiness) {
            // The load's version is newer than that of the readiness before.
            advertise_load(&cluster, &states)?;
            cluster.advertise_now(KEY_READINESS, readiness.to_value())?;
            told = Some(readiness);
        }
        let installs = keys.borrow_and_update().installs;
        if told_keys != Some(installs) {
            cluster.advertise_now(KEY_KEYS, Advert::keys_to_value(installs).to_owned())?;
            told_keys = Some(installs);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => advertise_load(&cluster, &states)?,
            changed = states.changed() => if changed.is_err() {
                return Ok(());
            },
            changed = keys.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}

/// The same value again costs nothing.
fn advertise_load(
    cluster: &ClusterHandle,
    states: &watch::Receiver<NodeState>,
) -> Result<(), AdvertiseError> {
    let value = states.borrow().load_to_value();
    value.map_or(Ok(()), |value| cluster.advertise(KEY_LOAD, value))
}

/// One round of the gossip.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);
