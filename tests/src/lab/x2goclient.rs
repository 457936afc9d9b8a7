//! How does a person log in with the real x2goclient? By typing into its windows, on a
//! screen that nobody sees.

mod labels;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::accounts::DESK;
use super::{CLIENT_HOST, Lab, ListedSession};
use crate::process::{Process, run};
use crate::wait::{Progress, now, wait_for};
use labels::Bus;

/// Who logs in where, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The broker's URL without the user, `http://broker1:8080/plain/`.
    pub broker_url: &'a str,
    /// The user, at the broker and on the X2Go server.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The name of the session profile to start, as the list shows it; empty for none.
    pub profile: &'a str,
}

/// A running x2goclient with a screen of its own. It is gone when this is dropped, as if its
/// machine had been switched off; the session stays as it is.
#[derive(Debug)]
pub struct Desktop<'a> {
    lab: &'a Lab,
    display: String,
    home: String,
    pressed: Option<Instant>,
    // The client leaves before its screen.
    client: Process,
    _screen: Process,
    bus: Option<Bus>,
}

impl<'a> Desktop<'a> {
    /// Starts a screen and x2goclient, types the password, and returns when the broker has
    /// given its list; the client then starts the profile by itself.
    ///
    /// `number` makes the display, the home folder and the logs of this client its own.
    ///
    /// # Errors
    /// When it does not get there; the text carries the client's log and open windows.
    pub fn log_in(lab: &'a Lab, number: u32, login: Login<'_>) -> anyhow::Result<Self> {
        Self::open(lab, number, login, |_, _| Ok(None))
    }

    /// As [`Self::log_in`], on a screen of which [`Self::texts`] can be read.
    ///
    /// # Errors
    /// As [`Self::log_in`].
    pub fn log_in_readably(lab: &'a Lab, number: u32, login: Login<'_>) -> anyhow::Result<Self> {
        Self::open(lab, number, login, |display, home| {
            Bus::start(lab, number, display, home).map(Some)
        })
    }

    fn open(
        lab: &'a Lab,
        number: u32,
        login: Login<'_>,
        start_bus: impl FnOnce(&str, &str) -> anyhow::Result<Option<Bus>>,
    ) -> anyhow::Result<Self> {
        let display = format!(":{}", 20 + number);
        let home = format!("/home/{DESK}/client{number}");
        lab.exec(CLIENT_HOST, DESK, &["mkdir", "-p", &home])?;
        let xvfb = [
            "Xvfb",
            &display,
            "-screen",
            "0",
            "1024x768x24",
            "-nolisten",
            "tcp",
        ];
        let screen = lab.start(CLIENT_HOST, DESK, &format!("screen{number}"), &xvfb)?;
        wait_for(SCREEN_LIMIT, || {
            let size = in_screen(lab, &display, &home, &["xdotool", "getdisplaygeometry"]);
            // Without a screen xdotool complains, but ends with 0.
            Progress::when(
                size.as_ref().is_ok_and(|size| size.contains("1024")),
                || format!("no screen yet: {size:?}"),
            )
        })
        .with_context(|| screen.story())?;
        let bus = start_bus(&display, &home)?;
        let client = start_client(lab, number, (&display, &home), login, bus.as_ref())?;
        let mut desktop = Self {
            lab,
            display,
            home,
            pressed: None,
            client,
            _screen: screen,
            bus,
        };
        desktop.type_password(login.password)?;
        Ok(desktop)
    }

    /// Returns all texts that the client shows on its screen, in no order.
    ///
    /// # Errors
    /// When they can't be read, as without [`Self::log_in_readably`].
    pub fn texts(&self) -> anyhow::Result<Vec<String>> {
        let bus = self.bus.as_ref().context("this screen can't be read")?;
        bus.texts((self.lab, &self.display, &self.home))
    }

    /// Waits until a session of the user runs on one of the servers, and says which.
    ///
    /// # Errors
    /// When `limit` passes, or the client shows a message or ends.
    pub fn wait_until_running(
        &mut self,
        limit: Duration,
        user: &str,
    ) -> anyhow::Result<ListedSession> {
        let mut seen = Vec::new();
        let running = wait_for(limit, || {
            match self.press_resume_when_asked() {
                Ok(()) => {}
                Err(error) => return Progress::Failed(format!("{error:#}")),
            }
            seen.clear();
            for server in self.lab.servers() {
                match self.lab.sessions(server, user) {
                    Ok(listed) => seen.extend(listed),
                    // A host that is cut off or down does not matter here.
                    Err(error) => return Progress::NotYet(format!("{error:#}")),
                }
            }
            match seen
                .iter()
                .find(|session| session.started && session.state == "R")
            {
                Some(session) => Progress::Ready(session.clone()),
                None => Progress::NotYet(format!("listed: {seen:?}")),
            }
        });
        running.with_context(|| self.story())
    }

    /// Waits until a window of the X program class `class` is on the screen: the person sees
    /// the session. A session that is offered is resumed.
    ///
    /// # Errors
    /// When `limit` passes, or the client shows a message or ends.
    pub fn wait_until_seen(&mut self, limit: Duration, class: &str) -> anyhow::Result<()> {
        let seen = wait_for(limit, || {
            if let Err(error) = self.press_resume_when_asked() {
                return Progress::Failed(format!("{error:#}"));
            }
            Progress::retry(self.xdotool(&["search", "--onlyvisible", "--class", class]))
        });
        seen.with_context(|| self.story())
    }

    /// Returns the client's log and open windows, for the text of an error.
    #[must_use]
    pub fn story(&self) -> String {
        let windows = self.windows().unwrap_or_default();
        format!("open windows: {windows:?}\n{}", self.client.story())
    }

    /// Types the password into the login form, until the broker's list is there.
    fn type_password(&mut self, password: &str) -> anyhow::Result<()> {
        let form = wait_for(FORM_LIMIT, || {
            if !self.client.is_running() {
                return Progress::Failed("x2goclient ended by itself".to_owned());
            }
            let windows = self.windows().unwrap_or_default();
            let initialised = !self.client.log_lines(&[STARTED]).is_empty();
            match main_window(&windows).filter(|_| initialised) {
                Some(id) => Progress::Ready(id),
                None => Progress::NotYet(format!("no login form among {windows:?}")),
            }
        });
        let form = form.with_context(|| self.story())?;
        let begun = now();
        // Keys can be lost while the form is being drawn; what counts is the list.
        while begun.elapsed() < FORM_LIMIT {
            self.xdotool(&["windowfocus", "--sync", &form])?;
            self.xdotool(&["key", "ctrl+a"])?;
            self.xdotool(&["type", "--delay", "10", password])?;
            self.xdotool(&["key", "Return"])?;
            let listed = wait_for(TYPED_LIMIT, || {
                Progress::when(!self.client.log_lines(&LISTED).is_empty(), String::new)
            });
            if listed.is_ok() {
                return Ok(());
            }
            self.refuse_messages()?;
        }
        bail!("the broker's list did not come\n{}", self.story());
    }

    /// Presses "Resume" when the client asks what to do with a session that was found.
    fn press_resume_when_asked(&mut self) -> anyhow::Result<()> {
        self.refuse_messages()?;
        let asked = !self.client.log_lines(&[FOUND]).is_empty();
        let resuming = !self.client.log_lines(&[RESUMING]).is_empty();
        // A click can be lost while the box is being drawn.
        let waited = self
            .pressed
            .is_none_or(|pressed| pressed.elapsed() > CLICK_LIMIT);
        if asked && !resuming && waited {
            let id = main_window(&self.windows()?).context("no main window")?;
            let place = [
                "mousemove",
                "--window",
                &id,
                RESUME_AT[0],
                RESUME_AT[1],
                "click",
                "1",
            ];
            self.xdotool(&place)?;
            self.pressed = Some(now());
        }
        Ok(())
    }

    /// Fails when the client has ended or shows a message box.
    fn refuse_messages(&mut self) -> anyhow::Result<()> {
        ensure!(self.client.is_running(), "x2goclient ended by itself");
        let windows = self.windows()?;
        let message = windows.iter().find(|(_, title)| {
            !title.is_empty() && !title.ends_with("X2Go Client") && title != "x2goclient"
        });
        match message {
            Some((_, title)) => bail!("x2goclient shows a message: {title}"),
            None => Ok(()),
        }
    }

    /// Returns the ids and titles of the client's windows.
    fn windows(&self) -> anyhow::Result<Vec<(String, String)>> {
        let script = "for id in $(xdotool search --onlyvisible --class x2goclient); do \
                      echo \"$id $(xdotool getwindowname $id)\"; done 2>/dev/null";
        let lines = in_screen(self.lab, &self.display, &self.home, &["sh", "-c", script])?;
        let split = |line: &str| {
            let (id, title) = line.split_once(' ').unwrap_or((line, ""));
            (id.to_owned(), title.trim().to_owned())
        };
        Ok(lines.lines().map(split).collect())
    }

    fn xdotool(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let argv: Vec<&str> = ["xdotool"].iter().chain(arguments).copied().collect();
        in_screen(self.lab, &self.display, &self.home, &argv).map(drop)
    }
}

fn start_client(
    lab: &Lab,
    number: u32,
    (display, home): (&str, &str),
    login: Login<'_>,
    bus: Option<&Bus>,
) -> anyhow::Result<Process> {
    // x2goclient(lab): the login name is taken from the URL, so that only the password is typed.
    let with_user = format!("://{}@", login.user);
    let url = format!(
        "--broker-url={}",
        login.broker_url.replacen("://", &with_user, 1)
    );
    let profile = format!("--session={}", login.profile);
    let options = [
        "--debug",
        "--no-menu",
        "--no-session-edit",
        "--add-to-known-hosts",
    ];
    let argv: Vec<&str> = ["x2goclient"]
        .into_iter()
        .chain(options)
        .chain([url.as_str()])
        .chain((!login.profile.is_empty()).then_some(profile.as_str()))
        .collect();
    let mut command = lab.command(CLIENT_HOST, DESK, &argv)?;
    command.envs([
        ("DISPLAY", display),
        ("HOME", home),
        ("XDG_RUNTIME_DIR", home),
    ]);
    command.envs(bus.iter().flat_map(|bus| bus.environment()));
    lab.start_command(CLIENT_HOST, &format!("x2goclient{number}"), &mut command)
}

fn in_screen(lab: &Lab, display: &str, home: &str, argv: &[&str]) -> anyhow::Result<String> {
    let mut command = lab.command(CLIENT_HOST, DESK, argv)?;
    run(command.envs([("DISPLAY", display), ("HOME", home)]))
}

fn main_window(windows: &[(String, String)]) -> Option<String> {
    windows
        .iter()
        .find(|(_, title)| title.ends_with("X2Go Client"))
        .map(|(id, _)| id.clone())
}

/// x2goclient says this when its main window is built.
const STARTED: &str = "X2Go Client";
/// x2goclient says "Reading N sessions from config file" when it has the broker's list.
const LISTED: [&str; 2] = ["Reading ", " sessions from config file"];
/// x2goclient says this for each session that the broker offers for resuming.
const FOUND: &str = "Decoding session string";
/// x2goclient says which command it runs on the server.
const RESUMING: &str = "x2goresume-session";
/// Where the button "Resume" is in the main window.
const RESUME_AT: [&str; 2] = ["285", "384"];
/// An X server starts in a fraction of a second.
const SCREEN_LIMIT: Duration = Duration::from_secs(20);
/// The client answers a click within a second, unless it was too early.
const CLICK_LIMIT: Duration = Duration::from_secs(3);
/// x2goclient takes a few seconds to show its form on a busy machine.
const FORM_LIMIT: Duration = Duration::from_secs(60);
/// A broker answers within a second; typing again too early would spoil the form.
const TYPED_LIMIT: Duration = Duration::from_secs(8);
