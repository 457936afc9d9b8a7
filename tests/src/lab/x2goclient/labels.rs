//! What does x2goclient show on its screen? Its texts, as a screen reader gets them.
//!
//! Qt tells screen readers what each widget shows, over a message bus of the desktop
//! (AT-SPI). So a test reads the very texts that are painted.

use anyhow::Context as _;

use crate::lab::screen::{SCREEN_LIMIT, Screen};
use crate::process::Process;
use crate::wait::{Progress, wait_for};

/// The message bus of one desktop.
#[derive(Debug)]
pub(super) struct Bus {
    address: String,
    _daemon: Process,
}

impl Bus {
    /// Starts the bus; programs of the desktop must be given [`Self::environment`].
    pub(super) fn start(screen: &Screen<'_>) -> anyhow::Result<Self> {
        let address = format!("unix:path={}/bus", screen.home());
        let listen = format!("--address={address}");
        let argv = [
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            &listen,
        ];
        // It starts the bus of screen readers, which keeps its socket in the home folder.
        let daemon = screen.start_program("bus", screen.command(&argv)?)?;
        let bus = Self {
            address,
            _daemon: daemon,
        };
        wait_for(SCREEN_LIMIT, || {
            Progress::retry(ask(screen, &bus.address, BUS, "ListNames", &[]).map(drop))
        })?;
        Ok(bus)
    }

    /// With these a Qt program tells what it shows.
    pub(super) fn environment(&self) -> [(&str, &str); 2] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", &self.address),
            ("QT_LINUX_ACCESSIBILITY_ALWAYS_ON", "1"),
        ]
    }

    /// All texts of x2goclient's windows: labels, buttons, fields.
    pub(super) fn texts(&self, screen: &Screen<'_>) -> anyhow::Result<Vec<String>> {
        let service = ("org.a11y.Bus", "/org/a11y/bus", "org.a11y.Bus");
        let readers = ask(screen, &self.address, service, "GetAddress", &[])?;
        let readers = readers.trim();
        let names = ask(screen, readers, BUS, "ListNames", &[])?;
        let mut clients = names
            .split_whitespace()
            .filter(|name| name.starts_with(':'));
        let is_client = |name: &&str| {
            let shown = name_of(screen, readers, name, ROOT);
            shown.is_ok_and(|shown| shown == "x2goclient")
        };
        let client = clients
            .find(is_client)
            .context("x2goclient shows nothing")?;
        let mut texts = Vec::new();
        let mut open = vec![(ROOT.to_owned(), 0)];
        while let Some((path, depth)) = open.pop() {
            let text = name_of(screen, readers, client, &path)?;
            // The program and its window have names, and all the others below them.
            if depth > 1 && !text.is_empty() {
                texts.push(text);
                continue;
            }
            let widget = (client, path.as_str(), ACCESSIBLE);
            let children = ask(screen, readers, widget, "GetChildren", &[])?;
            let children = children.split_whitespace();
            let paths = children.filter(|word| word.starts_with("/org/a11y/atspi/accessible/"));
            open.extend(paths.map(|path| (path.to_owned(), depth + 1)));
        }
        Ok(texts)
    }
}

/// The text that a widget shows.
fn name_of(screen: &Screen<'_>, bus: &str, client: &str, path: &str) -> anyhow::Result<String> {
    let widget = (client, path, "org.freedesktop.DBus.Properties");
    let property = [format!("string:{ACCESSIBLE}"), "string:Name".to_owned()];
    let answer = ask(screen, bus, widget, "Get", &property)?;
    // dbus-send(1): the value stands behind its type, as it is.
    let text = answer.strip_prefix("   variant       ");
    let text = text.with_context(|| format!("no text in {answer:?}"))?;
    Ok(text.to_owned())
}

/// Calls a method of (name, object, interface) and returns what it answers as text.
fn ask(
    screen: &Screen<'_>,
    bus: &str,
    (name, object, interface): (&str, &str, &str),
    method: &str,
    arguments: &[String],
) -> anyhow::Result<String> {
    let (bus, to) = (format!("--bus={bus}"), format!("--dest={name}"));
    let method = format!("{interface}.{method}");
    let start = [
        "dbus-send",
        &bus,
        "--print-reply=literal",
        &to,
        object,
        &method,
    ];
    let arguments = arguments.iter().map(String::as_str);
    let argv: Vec<&str> = start.into_iter().chain(arguments).collect();
    screen.run(&argv)
}

/// Every bus has this service.
const BUS: (&str, &str, &str) = (
    "org.freedesktop.DBus",
    "/org/freedesktop/DBus",
    "org.freedesktop.DBus",
);
const ROOT: &str = "/org/a11y/atspi/accessible/root";
const ACCESSIBLE: &str = "org.a11y.atspi.Accessible";
