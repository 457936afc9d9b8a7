//! How does each member of the farm get its certificate?

use std::path::{Path, PathBuf};

use super::{CA, Farm};
use crate::demo::config::{OPERATOR, REPLICAS, SERVERS};
use crate::process::{command, run};

impl Farm {
    /// Makes a CA, and an identity for each member and for an operator.
    pub(super) fn enrol_all(&self) -> anyhow::Result<()> {
        self.ca(&["init", "--farm", "demo"], None)?;
        let servers = SERVERS.map(|name| (name, "agent"));
        let replicas = REPLICAS.map(|name| (name, "broker"));
        let members = servers.into_iter().chain(replicas);
        for (name, role) in members.chain([(OPERATOR, "operator")]) {
            self.interrupt.check()?;
            let issue = ["issue", "--role", role, "--node", name];
            self.ca(&issue, Some(&self.identity(name)))?;
        }
        Ok(())
    }

    /// The folder with certificate, key and trust bundle of a member or the operator.
    pub(in crate::demo) fn identity(&self, name: &str) -> PathBuf {
        self.path("identities").join(name)
    }

    fn ca(&self, arguments: &[&str], out: Option<&Path>) -> anyhow::Result<()> {
        let mut ca = command(self.program(CA));
        ca.args(arguments).arg("--dir").arg(self.path("ca"));
        if let Some(out) = out {
            ca.arg("--out").arg(out);
        }
        run(&mut ca).map(drop)
    }
}
