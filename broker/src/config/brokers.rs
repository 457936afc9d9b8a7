//! Which further brokers does this daemon serve?

use std::path::PathBuf;

use super::raw::RawConfig;

/// A broker beside the main one, with a configuration file of its own. Of that file all
/// counts but `[mesh]`, `[limits]`, `[brokers]`, `audit-log`, and what of `[http]` is about sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBroker {
    /// Its name in the log.
    pub name: String,
    /// Its `x2gobroker.conf`.
    pub config_file: PathBuf,
}

/// The keys of `[brokers]`: `NAME = FILE`.
pub(super) fn named(raw: &mut RawConfig<'_>) -> Vec<NamedBroker> {
    let mut brokers = Vec::new();
    for key in raw.keys_of("brokers") {
        let file = PathBuf::from(key.value());
        if !file.is_absolute() {
            raw.error(key, "write the whole path of the broker's x2gobroker.conf");
        }
        brokers.push(NamedBroker {
            name: key.name().to_owned(),
            config_file: file,
        });
    }
    if brokers.len() > MAX_BROKERS {
        raw.file_error("more than 100 brokers in [brokers]; run some of them in other daemons");
    }
    brokers
}

/// Each looks at its files every second.
const MAX_BROKERS: usize = 100;
