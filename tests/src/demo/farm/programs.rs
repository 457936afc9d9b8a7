//! Where are the programs that the demo shows?

use std::path::PathBuf;

use anyhow::ensure;

use crate::binaries::own_folder;

/// The folder of the product's programs; all that the demo needs are there.
#[derive(Debug)]
pub(in crate::demo) struct Programs(PathBuf);

impl Programs {
    /// Looks for the programs beside the demo, or where `X2GOBROKER_BIN_DIR` says.
    ///
    /// # Errors
    /// When one is missing; the text says how to build them.
    pub(in crate::demo) fn find() -> anyhow::Result<Self> {
        let folder = match std::env::var_os("X2GOBROKER_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => own_folder()?,
        };
        for name in [CA, AGENT, DAEMON, CTL] {
            ensure!(
                folder.join(name).is_file(),
                "there is no program {name} in {}.\n\
                 Build the programs first: cargo build -p pki -p agent -p broker --bins\n\
                 (cargo xtask demo does that by itself.)",
                folder.display()
            );
        }
        Ok(Self(folder))
    }

    pub(in crate::demo) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

pub(in crate::demo) const CA: &str = "x2gobroker-ca";
pub(in crate::demo) const AGENT: &str = "x2gobroker-agentd";
pub(in crate::demo) const DAEMON: &str = "x2gobroker-daemon";
pub(in crate::demo) const CTL: &str = "x2gobrokerctl";
