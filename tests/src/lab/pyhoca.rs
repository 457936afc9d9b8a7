//! How does a person log in with the real pyhoca-cli? On the command line of the client
//! host, with a screen for the session.

use super::accounts::DESK;
use super::screen::Screen;
use super::{CLIENT_HOST, Lab};
use crate::process::{Process, run};

/// pyhoca-cli on the client host, ready to be run, with a screen of its own.
#[derive(Debug)]
pub struct Pyhoca<'a> {
    screen: Screen<'a>,
    script: String,
    options: Vec<String>,
}

impl<'a> Pyhoca<'a> {
    /// Prepares pyhoca-cli for a user of a broker, whose URL is such as
    /// `http://broker1:8080/json/`.
    ///
    /// # Errors
    /// When the screen does not come up.
    pub fn new(
        lab: &'a Lab,
        number: u32,
        broker_url: &str,
        (user, password): (&str, &str),
    ) -> anyhow::Result<Self> {
        let mut pyhoca = Self::with_own_key(lab, number, broker_url, (user, password))?;
        let typed = ["--password", password, "--force-password"];
        pyhoca.options.extend(typed.map(str::to_owned));
        Ok(pyhoca)
    }

    /// As [`Self::new`], but the password is for the broker only: X2Go servers are shown a key
    /// that pyhoca-cli makes for itself and the broker has them take.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_own_key(
        lab: &'a Lab,
        number: u32,
        broker_url: &str,
        (user, password): (&str, &str),
    ) -> anyhow::Result<Self> {
        let screen = Screen::start(lab, number)?;
        let script = format!("{}/pyhoca_repaired.py", screen.home());
        lab.write(CLIENT_HOST, DESK, &script, SCRIPT)?;
        let with_user = format!("://{user}:{password}@");
        let options = [
            "--broker-url",
            &broker_url.replacen("://", &with_user, 1),
            "--username",
            user,
            "--add-to-known-hosts",
            "--sound",
            "none",
        ];
        Ok(Self {
            screen,
            script,
            options: options.map(str::to_owned).to_vec(),
        })
    }

    /// Runs it with more options to its end, and returns what it prints.
    ///
    /// # Errors
    /// When it fails; the text carries its output.
    pub fn run(&self, more: &[&str]) -> anyhow::Result<String> {
        run(&mut self.screen.command(&self.argv(more))?)
    }

    /// Starts it with more options; it runs as long as its session, and suspends that when
    /// it is sent SIGINT.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, more: &[&str]) -> anyhow::Result<Process> {
        let command = self.screen.command(&self.argv(more))?;
        self.screen.start_program("pyhoca-cli", command)
    }

    fn argv<'b>(&'b self, more: &[&'b str]) -> Vec<&'b str> {
        let options = self.options.iter().map(String::as_str);
        ["/usr/bin/python3", self.script.as_str()]
            .into_iter()
            .chain(options)
            .chain(more.iter().copied())
            .collect()
    }
}

const SCRIPT: &str = include_str!("../../farm/pyhoca_repaired.py");
