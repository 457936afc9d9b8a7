//! Which windows does x2goclient show, and how does a person answer them?

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::{CLICK_LIMIT, Desktop, FORM_LIMIT};
use crate::wait::{Progress, now, wait_for};

impl Desktop<'_> {
    /// Waits for a message window, and returns its title.
    ///
    /// # Errors
    /// When there is none after `limit`, or the client ends.
    pub fn wait_for_message(&mut self, limit: Duration) -> anyhow::Result<String> {
        let seen = wait_for(limit, || match self.message() {
            Ok(Some((_, title))) => Progress::Ready(title),
            Ok(None) => Progress::NotYet("no message is shown".to_owned()),
            Err(error) => Progress::Failed(format!("{error:#}")),
        });
        seen.with_context(|| self.story())
    }

    /// Waits until a text that holds `part` is on the screen of [`Desktop::open`], and returns
    /// all texts.
    ///
    /// # Errors
    /// When `limit` passes; the text carries what is there instead.
    pub fn wait_for_text(&self, limit: Duration, part: &str) -> anyhow::Result<Vec<String>> {
        let seen = wait_for(limit, || match self.texts() {
            Ok(texts) if texts.iter().any(|text| text.contains(part)) => Progress::Ready(texts),
            Ok(texts) => Progress::NotYet(format!("{part:?} is not among {texts:?}")),
            // A window that comes or goes can't be read.
            Err(error) => Progress::NotYet(format!("{error:#}")),
        });
        seen.with_context(|| self.story())
    }

    /// Answers the message that is shown by pressing `key`, until it is gone.
    ///
    /// # Errors
    /// When it stays.
    pub fn answer_message(&mut self, key: &str) -> anyhow::Result<()> {
        let begun = now();
        while begun.elapsed() < FORM_LIMIT {
            // The key may be what ends the client.
            let Ok(Some((shown, _))) = self.message() else {
                return Ok(());
            };
            // The window may go between the two.
            let _ = self.xdotool(&["windowfocus", "--sync", &shown, "key", key]);
            let _ = wait_for(CLICK_LIMIT, || {
                let gone = self.message().map_or(true, |message| message.is_none());
                Progress::when(gone, String::new)
            });
        }
        bail!("the message stays\n{}", self.story());
    }

    /// Types a text into the message that is shown, and Return, until the message is gone.
    ///
    /// # Errors
    /// When it stays, or the client ends.
    pub fn type_into_message(&mut self, text: &str) -> anyhow::Result<()> {
        let begun = now();
        while begun.elapsed() < FORM_LIMIT {
            let Some((shown, _)) = self.message()? else {
                return Ok(());
            };
            // Keys can be lost while the window is being drawn, and it may go meanwhile.
            let _ = self.xdotool(&["windowfocus", "--sync", &shown, "key", "ctrl+a"]);
            let _ = self.xdotool(&["type", "--delay", "10", text]);
            let _ = self.xdotool(&["key", "Return"]);
            let _ = wait_for(CLICK_LIMIT, || {
                let gone = self.message().map_or(true, |message| message.is_none());
                Progress::when(gone, String::new)
            });
        }
        bail!("the message stays\n{}", self.story());
    }

    /// Clicks at a place of the main window until there is a message window, and returns its
    /// title.
    ///
    /// # Errors
    /// When none comes.
    pub fn click_for_message(&mut self, place: [&str; 2]) -> anyhow::Result<String> {
        let window = self.form()?;
        let begun = now();
        while begun.elapsed() < FORM_LIMIT {
            self.click(&window, place)?;
            if let Ok(title) = self.wait_for_message(CLICK_LIMIT) {
                return Ok(title);
            }
        }
        bail!("nothing is shown\n{}", self.story());
    }

    /// Fails when the client has ended or shows a message box.
    pub(super) fn refuse_messages(&mut self) -> anyhow::Result<()> {
        match self.message()? {
            Some((_, title)) => bail!("x2goclient shows a message: {title}"),
            None => Ok(()),
        }
    }

    /// Returns the window and the title of the message that the client shows, if any. Fails
    /// when the client has ended.
    pub(super) fn message(&mut self) -> anyhow::Result<Option<(String, String)>> {
        ensure!(self.client.is_running(), "x2goclient ended by itself");
        let windows = self.windows()?;
        Ok(windows.into_iter().find(|(_, title)| {
            !title.is_empty() && !title.ends_with("X2Go Client") && title != "x2goclient"
        }))
    }

    /// Returns the ids and titles of the client's windows.
    pub(super) fn windows(&self) -> anyhow::Result<Vec<(String, String)>> {
        let script = "for id in $(xdotool search --onlyvisible --class x2goclient); do \
                      echo \"$id $(xdotool getwindowname $id)\"; done 2>/dev/null";
        let lines = self.screen.run(&["sh", "-c", script])?;
        let split = |line: &str| {
            let (id, title) = line.split_once(' ').unwrap_or((line, ""));
            (id.to_owned(), title.trim().to_owned())
        };
        Ok(lines.lines().map(split).collect())
    }

    pub(super) fn click(&self, window: &str, [x, y]: [&str; 2]) -> anyhow::Result<()> {
        self.xdotool(&["mousemove", "--window", window, x, y, "click", "1"])
    }

    pub(super) fn xdotool(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let argv: Vec<&str> = ["xdotool"].iter().chain(arguments).copied().collect();
        self.screen.run(&argv).map(drop)
    }
}

/// The window of the login form and of the list.
pub(super) fn main_window(windows: &[(String, String)]) -> Option<String> {
    windows
        .iter()
        .find(|(_, title)| title.ends_with("X2Go Client"))
        .map(|(id, _)| id.clone())
}
