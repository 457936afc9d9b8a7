//! As whom does the daemon run, and how much does it say?

use super::raw::RawConfig;
use crate::ini::flag;

/// As whom the daemon runs, and how much it says. None of it changes while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Whom `--drop-privileges` becomes.
    pub user: String,
    /// With which group.
    pub group: String,
    /// `X2GOBROKER_DEBUG`: say more in the log.
    pub debug: bool,
}

impl ProcessConfig {
    pub(super) fn build(raw: &mut RawConfig<'_>) -> Self {
        // Asked for by the command line, before there is a configuration.
        let _ = raw.setting("X2GOBROKER_CONFIG");
        let text = |raw: &RawConfig<'_>, name| {
            let setting = raw.setting(name);
            setting
                .map_or("x2gobroker", |setting| setting.value)
                .to_owned()
        };
        Self {
            user: text(raw, "X2GOBROKER_DAEMON_USER"),
            group: text(raw, "X2GOBROKER_DAEMON_GROUP"),
            debug: debug(raw),
        }
    }
}

fn debug(raw: &mut RawConfig<'_>) -> bool {
    let Some(setting) = raw.setting("X2GOBROKER_DEBUG") else {
        return false;
    };
    flag(setting.value).unwrap_or_else(|| {
        raw.setting_error(setting, "this is neither 0 nor 1; write one of them");
        false
    })
}
