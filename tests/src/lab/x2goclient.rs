//! How does a person log in with the real x2goclient? By typing into its windows, on a
//! screen that nobody sees.

mod labels;
mod windows;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::screen::Screen;
use super::{Lab, ListedSession};
use crate::process::Process;
use crate::wait::{Progress, WaitError, now, wait_for};
use labels::Bus;
use windows::main_window;

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
    pressed: Option<Instant>,
    // The client leaves before its screen.
    client: Process,
    screen: Screen<'a>,
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
        let mut desktop = Self::start(
            lab,
            Screen::start(lab, number)?,
            None,
            login,
            &["--no-menu"],
        )?;
        desktop.type_password(login.password)?;
        Ok(desktop)
    }

    /// As [`Self::log_in`], on a screen of which [`Self::texts`] can be read.
    ///
    /// # Errors
    /// As [`Self::log_in`].
    pub fn log_in_readably(lab: &'a Lab, number: u32, login: Login<'_>) -> anyhow::Result<Self> {
        let mut desktop = Self::open(lab, number, login, &["--no-menu"])?;
        desktop.type_password(login.password)?;
        Ok(desktop)
    }

    /// Starts a screen of which [`Self::texts`] can be read, and x2goclient with more
    /// `options`; it will show its login form, and nothing is typed yet.
    ///
    /// # Errors
    /// When they can't be started.
    pub fn open(
        lab: &'a Lab,
        number: u32,
        login: Login<'_>,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let screen = Screen::start(lab, number)?;
        let bus = Bus::start(&screen)?;
        Self::start(lab, screen, Some(bus), login, options)
    }

    fn start(
        lab: &'a Lab,
        screen: Screen<'a>,
        bus: Option<Bus>,
        login: Login<'_>,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let client = start_client(&screen, bus.as_ref(), login, options)?;
        Ok(Self {
            lab,
            pressed: None,
            client,
            screen,
            bus,
        })
    }

    /// Returns all texts that the client shows on its screen, in no order.
    ///
    /// # Errors
    /// When they can't be read, as without [`Self::log_in_readably`].
    pub fn texts(&self) -> anyhow::Result<Vec<String>> {
        let bus = self.bus.as_ref().context("this screen can't be read")?;
        bus.texts(&self.screen)
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
    ///
    /// # Errors
    /// When it does not come, or the client shows a message or ends.
    pub fn type_password(&mut self, password: &str) -> anyhow::Result<()> {
        self.type_until(password, |desktop| {
            if !desktop.client.log_lines(&LISTED).is_empty() {
                return Ok(true);
            }
            desktop.refuse_messages().map(|()| false)
        })
    }

    /// Types a password into the login form, until the client shows a message, and returns
    /// its title.
    ///
    /// # Errors
    /// When there is no message, or the client ends.
    pub fn type_password_for_message(&mut self, password: &str) -> anyhow::Result<String> {
        self.type_until(password, |desktop| Ok(desktop.message()?.is_some()))?;
        let (_, title) = self.message()?.context("the message has gone")?;
        Ok(title)
    }

    /// Waits until x2goclient has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait_until_ended(&mut self, limit: Duration) -> anyhow::Result<()> {
        let ended = self.client.wait_exit(limit).map(drop);
        ended.with_context(|| self.story())
    }

    /// Returns the lines of the client's log that hold all of `words`.
    #[must_use]
    pub fn log_lines(&self, words: &[&str]) -> Vec<String> {
        self.client.log_lines(words)
    }

    /// Waits until the login form is there, and returns the window that it is in.
    fn form(&mut self) -> anyhow::Result<String> {
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
        form.with_context(|| self.story())
    }

    fn type_until(
        &mut self,
        password: &str,
        mut done: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let form = self.form()?;
        let begun = now();
        // Keys can be lost while the form is being drawn; what counts is the answer.
        while begun.elapsed() < FORM_LIMIT {
            self.xdotool(&["windowfocus", "--sync", &form])?;
            self.xdotool(&["key", "ctrl+a"])?;
            self.xdotool(&["type", "--delay", "10", password])?;
            self.xdotool(&["key", "Return"])?;
            let answered = wait_for(TYPED_LIMIT, || match done(self) {
                Ok(true) => Progress::Ready(()),
                Ok(false) => Progress::NotYet("no answer".to_owned()),
                Err(error) => Progress::Failed(format!("{error:#}")),
            });
            match answered {
                Ok(()) => return Ok(()),
                Err(WaitError::TimedOut { .. }) => {}
                Err(error) => return Err(error).with_context(|| self.story()),
            }
        }
        bail!("nothing came of the password\n{}", self.story());
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
            self.click(&id, RESUME_AT)?;
            self.pressed = Some(now());
        }
        Ok(())
    }
}

fn start_client(
    screen: &Screen<'_>,
    bus: Option<&Bus>,
    login: Login<'_>,
    more: &[&str],
) -> anyhow::Result<Process> {
    // x2goclient(lab): the login name is taken from the URL, so that only the password is typed.
    let with_user = format!("://{}@", login.user);
    let url = format!(
        "--broker-url={}",
        login.broker_url.replacen("://", &with_user, 1)
    );
    let profile = format!("--session={}", login.profile);
    let options = ["--debug", "--no-session-edit", "--add-to-known-hosts"];
    let argv: Vec<&str> = ["x2goclient"]
        .into_iter()
        .chain(options)
        .chain(more.iter().copied())
        .chain([url.as_str()])
        .chain((!login.profile.is_empty()).then_some(profile.as_str()))
        .collect();
    let mut command = screen.command(&argv)?;
    command.envs(bus.iter().flat_map(|bus| bus.environment()));
    screen.start_program("x2goclient", command)
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
/// The client answers a click within a second, unless it was too early.
const CLICK_LIMIT: Duration = Duration::from_secs(3);
/// x2goclient takes a few seconds to show its form on a busy machine.
const FORM_LIMIT: Duration = Duration::from_secs(60);
/// A broker answers within a second; typing again too early would spoil the form.
const TYPED_LIMIT: Duration = Duration::from_secs(8);
