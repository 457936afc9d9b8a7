//! Where do programs with windows run? On the client host, on a screen that nobody sees.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::accounts::DESK;
use super::{CLIENT_HOST, Lab};
use crate::process::{Process, run};
use crate::wait::{Progress, wait_for};

/// A screen with a home folder of its own.
#[derive(Debug)]
pub(super) struct Screen<'a> {
    lab: &'a Lab,
    number: u32,
    display: String,
    home: String,
    _server: Process,
}

impl<'a> Screen<'a> {
    /// Starts a screen; `number` tells it from others.
    pub(super) fn start(lab: &'a Lab, number: u32) -> anyhow::Result<Self> {
        let display = format!(":{}", 20 + number);
        let home = format!("/home/{DESK}/client{number}");
        lab.exec(CLIENT_HOST, DESK, &["mkdir", "-p", &home])?;
        // Without -noreset it begins anew when its last client leaves, as the one below does
        // that looks whether it is there, and refuses who comes at that moment.
        let options = ["-screen", "0", SIZE, "-nolisten", "tcp", "-noreset"];
        let xvfb = [&["Xvfb", display.as_str()], &options[..]].concat();
        let server = lab.start(CLIENT_HOST, DESK, &format!("screen{number}"), &xvfb)?;
        let screen = Self {
            lab,
            number,
            display,
            home,
            _server: server,
        };
        wait_for(SCREEN_LIMIT, || {
            let size = screen.run(&["xdotool", "getdisplaygeometry"]);
            // Without a screen xdotool complains, but ends with 0.
            Progress::when(
                size.as_ref().is_ok_and(|size| size.contains("1024")),
                || format!("no screen yet: {size:?}"),
            )
        })
        .with_context(|| screen._server.story())?;
        Ok(screen)
    }

    /// The home folder of the programs that run there.
    pub(super) fn home(&self) -> &str {
        &self.home
    }

    /// Prepares to run a program on this screen.
    pub(super) fn command(&self, argv: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.lab.command(CLIENT_HOST, DESK, argv)?;
        command.envs([
            ("DISPLAY", &self.display),
            ("HOME", &self.home),
            ("XDG_RUNTIME_DIR", &self.home),
        ]);
        Ok(command)
    }

    /// Runs a program on this screen to its end and returns its standard output.
    pub(super) fn run(&self, argv: &[&str]) -> anyhow::Result<String> {
        run(&mut self.command(argv)?)
    }

    /// Starts a program of [`Self::command`] that runs until it is dropped.
    pub(super) fn start_program(
        &self,
        name: &str,
        mut command: Command,
    ) -> anyhow::Result<Process> {
        let name = format!("{name}{}", self.number);
        self.lab.start_command(CLIENT_HOST, &name, &mut command)
    }
}

/// Wide, high and deep enough for x2goclient's window.
const SIZE: &str = "1024x768x24";
/// An X server starts in a fraction of a second.
pub(super) const SCREEN_LIMIT: Duration = Duration::from_secs(20);
