//! How is chitchat set up, and how does it get our keys?

use chitchat::{Chitchat, ChitchatConfig, ChitchatId, FailureDetectorConfig};
use proto::Generation;

use super::view::node_id;
use crate::ClusterConfig;
use crate::own::OwnKeys;

/// The configuration of one life.
pub(crate) fn chitchat_config(config: &ClusterConfig, generation: Generation) -> ChitchatConfig {
    let settings = &config.settings;
    let name = node_id(config.role, &config.node);
    ChitchatConfig {
        chitchat_id: ChitchatId::new(name, generation.0, config.advertise),
        cluster_id: config.farm.clone(),
        gossip_interval: settings.interval,
        listen_addr: config.advertise,
        // We resolve and contact them ourselves: chitchat would never retry within 60 s.
        seed_nodes: Vec::new(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: settings.phi,
            sampling_window_size: settings.window,
            max_interval: settings.max_interval,
            initial_interval: settings.initial_interval,
            dead_node_grace_period: settings.dead_grace,
        },
        marked_for_deletion_grace_period: settings.tombstone_grace,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

/// Our keys for the start.
pub(crate) fn initial_keys(keys: &OwnKeys) -> Vec<(String, String)> {
    keys.iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Sets our keys as they should be and deletes all others. False when that can't be done,
/// because the version of our state was forged to be near its end.
pub(crate) fn assert_keys(chitchat: &mut Chitchat, own: &OwnKeys) -> bool {
    let state = chitchat.self_node_state();
    // chitchat panics when it counts beyond the end.
    if state.max_version() > MAX_VERSION {
        return false;
    }
    let keys = state.key_values().map(|(key, _)| key.to_owned());
    let foreign: Vec<String> = keys.filter(|key| !own.contains(key)).collect();
    for key in foreign {
        tracing::warn!(%key, "another member gave us a key that is not ours; deleted");
        state.delete(&key);
    }
    for (key, value) in own.iter() {
        state.set(key, value);
    }
    true
}

/// Our own version counts our own changes, so it never comes here.
const MAX_VERSION: u64 = 1 << 62;
