//! What is an X2Go server of the demo? An agent, and a session database that the demo
//! writes as x2goserver would.

use std::net::SocketAddr;

use anyhow::Context as _;

use super::{AGENT, CTL, Farm, write};
use crate::demo::config::{self, OPERATOR, SERVERS};
use crate::process::{Process, command, run};
use crate::session_db::{NewSession, SessionDatabase, StartedSession};

/// An X2Go server.
#[derive(Debug)]
pub(in crate::demo) struct Server {
    pub(in crate::demo) name: &'static str,
    pub(in crate::demo) agent: Process,
    /// Where members reach its agent.
    pub(in crate::demo) mesh: SocketAddr,
    pub(in crate::demo) database: SessionDatabase,
    n_sessions: u16,
}

impl Farm {
    /// Makes the session database of a server and starts its agent.
    pub(super) fn start_server(&self, name: &'static str) -> anyhow::Result<Server> {
        let home = self.path(name);
        self.make_folder(&home)?;
        let database = SessionDatabase::create(&config::session_database(&home), name)?;
        let (agent, mesh) = self.start_agent(name, config::ANY_PORT)?;
        Ok(Server {
            name,
            agent,
            mesh,
            database,
            n_sessions: 0,
        })
    }

    /// Starts the agent of a killed one again, on the port that it had.
    ///
    /// # Errors
    /// When it does not come up in time.
    pub(in crate::demo) fn restart_agent(&mut self, server_idx: usize) -> anyhow::Result<()> {
        let old = self.servers.get(server_idx).context(NO_SERVER)?;
        // Somebody else may have taken the port meanwhile: then any other will do.
        let (agent, mesh) = self
            .start_agent(old.name, old.mesh)
            .or_else(|_taken| self.start_agent(old.name, config::ANY_PORT))?;
        let server = self.server_mut(server_idx)?;
        (server.agent, server.mesh) = (agent, mesh);
        Ok(())
    }

    fn start_agent(&self, name: &str, listen: SocketAddr) -> anyhow::Result<(Process, SocketAddr)> {
        let home = self.path(name);
        let text = config::agent(name, &self.identity(name), &home, listen, &self.seeds());
        let path = home.join("x2gobroker-agentd.toml");
        write(&path, &text)?;
        let mut agent = command(self.program(AGENT));
        let mut process = self.start_program(name, agent.arg("--config").arg(path))?;
        let mesh = self.await_address(&mut process, "agent began", "address")?;
        Ok((process, mesh))
    }

    /// Does what x2goserver does when a client starts a session: writes the row of a
    /// session that is starting, then completes it. Returns the session ID.
    ///
    /// # Errors
    /// When the database can't be written.
    pub(in crate::demo) fn start_session(
        &mut self,
        server_idx: usize,
        user: &str,
    ) -> anyhow::Result<String> {
        let server = self.server_mut(server_idx)?;
        let number = server.n_sessions;
        server.n_sessions += 1;
        let session = NewSession {
            user: user.to_owned(),
            display: FIRST_DISPLAY + number,
            command: "XFCE".to_owned(),
            client: "127.0.0.1".to_owned(),
        };
        let id = server.database.begin(&session)?;
        let started = StartedSession {
            pid: 20_000 + u32::from(session.display),
            cookie: format!("{COOKIE_START}{number:020x}"),
            graphics_port: 30_001 + 3 * number,
        };
        server.database.complete(&id, &session.client, &started)?;
        Ok(id)
    }

    pub(in crate::demo) fn server(&self, server_idx: usize) -> anyhow::Result<&Server> {
        self.servers.get(server_idx).context(NO_SERVER)
    }

    pub(in crate::demo) fn server_mut(&mut self, server_idx: usize) -> anyhow::Result<&mut Server> {
        self.servers.get_mut(server_idx).context(NO_SERVER)
    }

    /// The arguments of x2gobrokerctl for one server.
    pub(in crate::demo) fn ctl_arguments(&self, server_idx: usize) -> anyhow::Result<Vec<String>> {
        let server = self.server(server_idx)?;
        let identity = self.identity(OPERATOR).display().to_string();
        let address = server.mesh.to_string();
        let arguments = [
            "--identity",
            &identity,
            "--node",
            server.name,
            "--address",
            &address,
        ];
        Ok(arguments.map(str::to_owned).to_vec())
    }

    /// Runs x2gobrokerctl for one server and returns what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub(in crate::demo) fn ctl(&self, server_idx: usize, words: &[&str]) -> anyhow::Result<String> {
        let mut ctl = command(self.program(CTL));
        let printed = run(ctl.args(self.ctl_arguments(server_idx)?).args(words))?;
        Ok(printed.trim_end().to_owned())
    }
}

/// Returns the number of the server with this name.
pub(in crate::demo) fn server_named(name: &str) -> Option<usize> {
    SERVERS.iter().position(|known| *known == name)
}

/// Every session cookie of the demo begins with these letters, so that a leak is found.
pub(in crate::demo) const COOKIE_START: &str = "c00c1ec00c1e";
const FIRST_DISPLAY: u16 = 50;
const NO_SERVER: &str = "a server of the demo";
