//! What do the options of x2gobroker-ssh ask?
//!
//! They are those of x2gobroker 0.0.4.3, with those that X2Go Client sends and the original
//! refused. What follows an option that takes a value is its value, whatever it looks like.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use proto::{LocalEvent, LocalRequest, Secret};

/// Options that were read; the last one counts where one is repeated.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<Value, String>,
    without_effect: Vec<&'static str>,
    wants: Option<Wants>,
}

/// A text about the program, instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Help,
    Version,
}

/// Whose options they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenBy {
    /// Of the command line.
    CommandLine,
    /// Of a command that sshd did not run. The socket is for the administrator to choose.
    Client,
}

/// An option with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Value {
    Task,
    User,
    Login,
    AuthId,
    Sid,
    Backend,
    Event,
    Server,
    Client,
    Command,
    Display,
    Started,
    Elapsed,
    NewPassword,
    Socket,
}

/// Why options can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// None of ours.
    #[error("unrecognized arguments: {}", .0.escape_debug())]
    Unknown(String),
    /// The beginning of several.
    #[error("ambiguous option: {0}")]
    Ambiguous(String),
    /// Nothing follows it.
    #[error("argument {0}: expected one argument")]
    NoValue(String),
    /// It takes none.
    #[error("argument {0}: expected no argument")]
    Value(String),
    /// Longer than any that clients send.
    #[error("argument {0}: longer than {MAX_VALUE} bytes")]
    TooLong(String),
    /// More than clients send.
    #[error("more than {MAX_ARGS} arguments")]
    TooMany,
    /// This program is not a daemon.
    #[error("argument --mode: this program answers one request; x2gobroker-daemon serves HTTP")]
    Mode,
}

impl Options {
    /// Reads the words behind the name of the program.
    ///
    /// # Errors
    /// At the first word that is no option.
    pub(super) fn parse(args: &[String], given_by: GivenBy) -> Result<Self, OptionsError> {
        if args.len() > MAX_ARGS {
            return Err(OptionsError::TooMany);
        }
        let mut options = Self::default();
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
                options.take_long(long, &mut args, given_by)?;
            } else if let Some(short) = arg.strip_prefix('-').filter(|short| !short.is_empty()) {
                options.take_short(short, &mut args)?;
            } else {
                return Err(OptionsError::Unknown(arg.to_owned()));
            }
        }
        Ok(options)
    }

    /// Values that were read in another way.
    pub(in crate::cli) fn of(
        values: impl IntoIterator<Item = (Value, Option<String>)>,
        without_effect: Vec<&'static str>,
    ) -> Self {
        let values = values.into_iter();
        let given = values.filter_map(|(option, value)| Some((option, value?)));
        Self {
            values: given.collect(),
            without_effect,
            wants: None,
        }
    }

    /// These, and of `others` what is not set here.
    pub(super) fn over(mut self, others: Self) -> Self {
        for (option, value) in others.values {
            self.values.entry(option).or_insert(value);
        }
        self.without_effect.extend(others.without_effect);
        self.wants = self.wants.or(others.wants);
        self
    }

    fn take_long<'a>(
        &mut self,
        long: &'a str,
        args: &mut impl Iterator<Item = &'a str>,
        given_by: GivenBy,
    ) -> Result<(), OptionsError> {
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let (full, kind) = find(name, given_by)?;
        let shown = format!("--{full}");
        self.take(kind, shown, attached, args)
    }

    /// `-C FILE`, `-CFILE`, `-d`, `-di`.
    fn take_short<'a>(
        &mut self,
        mut short: &'a str,
        args: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), OptionsError> {
        while let Some(letter) = short.chars().next() {
            let rest = short.get(letter.len_utf8()..).unwrap_or_default();
            let found = SHORT.iter().find(|(known, _)| *known == letter);
            let long = found.map(|(_, long)| *long);
            let option = long.and_then(|long| LONG.iter().find(|(name, _)| *name == long));
            let shown = format!("-{letter}");
            let Some(&(_, kind)) = option else {
                return Err(OptionsError::Unknown(shown));
            };
            match kind {
                Kind::Flag(_) | Kind::Text(_) => {
                    self.take(kind, shown, None, args)?;
                    short = rest;
                }
                Kind::Value(_) | Kind::Ignored(_) | Kind::Mode => {
                    let attached = (!rest.is_empty()).then_some(rest);
                    return self.take(kind, shown, attached, args);
                }
            }
        }
        Ok(())
    }

    fn take<'a>(
        &mut self,
        kind: Kind,
        shown: String,
        attached: Option<&'a str>,
        args: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), OptionsError> {
        let mut value = || match attached.or_else(|| args.next()) {
            None => Err(OptionsError::NoValue(shown.clone())),
            Some(value) if value.len() > MAX_VALUE => Err(OptionsError::TooLong(shown.clone())),
            Some(value) => Ok(value),
        };
        match kind {
            Kind::Value(option) => {
                let value = value()?.to_owned();
                self.values.insert(option, value);
            }
            Kind::Ignored(name) => {
                value()?;
                self.without_effect.push(name);
            }
            Kind::Mode if value()?.eq_ignore_ascii_case("ssh") => {}
            Kind::Mode => return Err(OptionsError::Mode),
            Kind::Flag(_) | Kind::Text(_) if attached.is_some() => {
                return Err(OptionsError::Value(shown));
            }
            Kind::Flag(name) => self.without_effect.push(name),
            Kind::Text(wants) => self.wants = Some(wants),
        }
        Ok(())
    }

    /// Whether they say by themselves what to do.
    pub(super) fn are_a_call(&self) -> bool {
        let says = [Value::Task, Value::Event];
        self.wants.is_some() || says.iter().any(|option| self.values.contains_key(option))
    }

    pub(super) fn wants(&self) -> Option<Wants> {
        self.wants
    }

    /// Whether there is a task; without one the original only takes events, in silence.
    pub(super) fn has_task(&self) -> bool {
        !self.value(Value::Task).is_empty()
    }

    pub(super) fn has_event(&self) -> bool {
        !self.value(Value::Event).is_empty()
    }

    /// Where to ask, if not at the usual place.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        self.values.get(&Value::Socket).map(PathBuf::from)
    }

    /// The options that are there because the original has them.
    pub(super) fn without_effect(&self) -> &[&'static str] {
        &self.without_effect
    }

    /// The request, of a client at this address.
    pub(super) fn request(&self, client_address: &str) -> LocalRequest {
        let text = |option| self.value(option).to_owned();
        LocalRequest {
            task: text(Value::Task),
            user: text(Value::User),
            login: text(Value::Login),
            authid: Secret::new(text(Value::AuthId)),
            sid: text(Value::Sid),
            backend: text(Value::Backend),
            client_address: client_address.to_owned(),
            new_password: Secret::new(text(Value::NewPassword)),
            event: LocalEvent {
                event: text(Value::Event),
                server: text(Value::Server),
                client: text(Value::Client),
                command: text(Value::Command),
                display: text(Value::Display),
                started: text(Value::Started),
                elapsed: text(Value::Elapsed),
            },
        }
    }

    fn value(&self, option: Value) -> &str {
        self.values.get(&option).map_or("", String::as_str)
    }
}

/// Shows which options there are, and no values: an AUTHID or a password may be among them.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("given", &self.values.keys())
            .finish_non_exhaustive()
    }
}

/// What an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Value(Value),
    /// Of a daemon; has a value.
    Ignored(&'static str),
    /// Of a daemon; has none.
    Flag(&'static str),
    Text(Wants),
    Mode,
}

/// By its name, or by the beginning of it if that is enough.
fn find(name: &str, given_by: GivenBy) -> Result<(&'static str, Kind), OptionsError> {
    let may_give = |kind| match given_by {
        GivenBy::CommandLine => true,
        GivenBy::Client => kind != Kind::Value(Value::Socket),
    };
    let known = LONG.iter().filter(|(_, kind)| may_give(*kind));
    if let Some(exact) = known.clone().find(|(full, _)| *full == name) {
        return Ok(*exact);
    }
    let mut begun: Vec<_> = known.filter(|(full, _)| full.starts_with(name)).collect();
    begun.dedup_by_key(|(_, kind)| *kind);
    match begun.as_slice() {
        [] => Err(OptionsError::Unknown(format!("--{name}"))),
        [one] => Ok(**one),
        _ => Err(OptionsError::Ambiguous(format!("--{name}"))),
    }
}

/// Names of the same option stand together.
const LONG: &[(&str, Kind)] = &[
    ("task", Kind::Value(Value::Task)),
    ("user", Kind::Value(Value::User)),
    ("login", Kind::Value(Value::Login)),
    ("authid", Kind::Value(Value::AuthId)),
    ("auth-id", Kind::Value(Value::AuthId)),
    ("auth-cookie", Kind::Value(Value::AuthId)),
    ("next-authid", Kind::Value(Value::AuthId)),
    ("sid", Kind::Value(Value::Sid)),
    ("profile-id", Kind::Value(Value::Sid)),
    ("backend", Kind::Value(Value::Backend)),
    ("event", Kind::Value(Value::Event)),
    ("server", Kind::Value(Value::Server)),
    ("client", Kind::Value(Value::Client)),
    ("cmd", Kind::Value(Value::Command)),
    ("display", Kind::Value(Value::Display)),
    ("start", Kind::Value(Value::Started)),
    ("elapsed", Kind::Value(Value::Elapsed)),
    ("newpass", Kind::Value(Value::NewPassword)),
    ("socket", Kind::Value(Value::Socket)),
    ("mode", Kind::Mode),
    ("config-file", Kind::Ignored("--config-file")),
    ("bind", Kind::Ignored("--bind")),
    ("pidfile", Kind::Ignored("--pidfile")),
    ("logdir", Kind::Ignored("--logdir")),
    ("debug", Kind::Flag("--debug")),
    ("debug-interactively", Kind::Flag("--debug-interactively")),
    ("daemonize", Kind::Flag("--daemonize")),
    ("help", Kind::Text(Wants::Help)),
    ("version", Kind::Text(Wants::Version)),
];

const SHORT: &[(char, &str)] = &[
    ('h', "help"),
    ('M', "mode"),
    ('C', "config-file"),
    ('d', "debug"),
    ('i', "debug-interactively"),
    ('b', "bind"),
    ('D', "daemonize"),
    ('P', "pidfile"),
    ('L', "logdir"),
];

/// X2Go Client sends 26.
const MAX_ARGS: usize = 128;

/// An AUTHID has at most 2 KB; some passwords are long.
const MAX_VALUE: usize = 4096;

#[cfg(test)]
mod tests;
