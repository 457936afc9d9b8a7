//! What stands in a record?

use std::net::IpAddr;

use pki::Clock;
use proto::{BrokerUser, ClientOrder};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::Audit;
use crate::auth::{Credentials, Denied, WhyDenied};
use crate::config::Mechanism;
use crate::task::request::{Request, Task};
use crate::task::select_session::GivenKey;
use crate::task::{Answer, Reply};

/// A record that is being made.
#[derive(Clone, Debug)]
pub struct Record(Map<String, Value>);

/// What let somebody in, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Nothing was looked at, or nothing is required.
    Nothing,
    /// The preset AUTHID.
    Preset,
    /// The password.
    Password,
    /// The AUTHID of a former answer.
    AuthId,
    /// The kernel, which says who is at the other end of a socket.
    Peer,
}

/// A decision on a task that is being made. It leaves one record, also when the client
/// hangs up before the end.
#[derive(Debug)]
pub struct Decision {
    audit: Audit,
    record: Option<Record>,
}

impl Record {
    /// Somebody shows credentials.
    pub(crate) fn authentication(
        site: &str,
        mechanism: &Mechanism,
        credentials: &Credentials,
        client: IpAddr,
    ) -> Self {
        let mechanism = match mechanism {
            Mechanism::Pam => "pam",
            Mechanism::None => "none",
            Mechanism::LocalPeer => "local peer",
            Mechanism::HttpsGet(_) => "https_get",
        };
        Self::of("authentication", site, credentials, client).with("mechanism", mechanism)
    }

    /// So many records could not be written.
    pub(super) fn lost(n_records: u64) -> Self {
        Self(Map::new())
            .with("record", "lost")
            .with("n_records", n_records)
    }

    fn of(kind: &str, site: &str, credentials: &Credentials, client: IpAddr) -> Self {
        let record = Self(Map::new())
            .with("record", kind)
            .with("broker", site)
            .with("client", client.to_canonical().to_string());
        record.of_user(credentials)
    }

    /// What is typed into the wrong field may be a password: only names are told.
    fn of_user(self, credentials: &Credentials) -> Self {
        let name = |text: &str| BrokerUser::parse(text).ok().map(|user| user.to_string());
        self.with("user", name(&credentials.user))
            .with("login", name(&credentials.login))
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(bounded(text)),
            value => value,
        };
        self.0.insert(key.to_owned(), value);
        self
    }

    /// How it ended.
    pub(crate) fn ended(self, by: By, checked: Result<(), WhyDenied>) -> Self {
        let by = match by {
            By::Nothing => "nothing",
            By::Preset => "preset AUTHID",
            By::Password => "password",
            By::AuthId => "AUTHID",
            By::Peer => "the kernel",
        };
        let record = self.with("by", by);
        match checked {
            Ok(()) => record.with("answer", "granted"),
            Err(why) => record.denied(why),
        }
    }

    fn denied(self, why: WhyDenied) -> Self {
        self.with("answer", "denied").with("why", why.to_string())
    }

    /// One line, without its end. Whatever the values are, all of it is printable ASCII.
    pub(super) fn into_line(self, replica: &str, clock: &Clock) -> String {
        let record = self.with("replica", replica).with(
            "time",
            rfc3339(OffsetDateTime::UNIX_EPOCH + clock.since_epoch()),
        );
        let text = Value::Object(record.0).to_string();
        let mut line = String::with_capacity(text.len());
        let mut units = [0; 2];
        for c in text.chars() {
            match c {
                ' '..='~' => line.push(c),
                c => {
                    for unit in c.encode_utf16(&mut units) {
                        line.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        line
    }
}

impl Decision {
    /// A request that is to be decided on.
    pub(crate) fn begin(audit: &Audit, site: &str, request: &Request, client: IpAddr) -> Self {
        let task = match request.task {
            Task::ListSessions => "listsessions",
            Task::SelectSession => "selectsession",
            Task::SetPassword => "setpass",
            Task::TestConnection => "testcon",
            Task::ClientEvent => "clientevent",
            Task::Other => "other",
        };
        let record = Record::of("decision", site, &request.credentials, client).with("task", task);
        let mut decision = Self {
            audit: audit.clone(),
            record: Some(record),
        };
        decision.is_on_profile(request.task, &request.sid);
        decision
    }

    /// Scripts have made another request of it, and that is what is decided.
    pub(crate) fn is_on(&mut self, request: &Request) {
        let record = self.record.take();
        self.record = record.map(|record| record.of_user(&request.credentials));
        self.is_on_profile(request.task, &request.sid);
    }

    /// It is on this profile, or for an event on this session.
    pub(crate) fn is_on_profile(&mut self, task: Task, sid: &str) {
        if matches!(task, Task::SelectSession | Task::ClientEvent) {
            self.record = self.record.take().map(|record| record.with("profile", sid));
        }
    }

    /// It is decided.
    pub(crate) fn end(mut self, task: Task, decided: &Result<Reply<'_>, Denied>) {
        let Some(record) = self.record.take() else {
            return;
        };
        let record = match decided {
            Err(denied) => record.denied(denied.why),
            Ok(reply) => {
                let account = reply.who.account().map(ToString::to_string);
                answered(record.with("account", account), task, &reply.answer)
            }
        };
        self.audit.take(record);
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            let why = "the client hung up, or its time was over";
            self.audit
                .take(record.with("answer", "none").with("why", why));
        }
    }
}

fn answered(record: Record, task: Task, answer: &Answer<'_>) -> Record {
    match answer {
        Answer::Granted if task == Task::SetPassword => record.with("answer", "password changed"),
        Answer::Granted => record.with("answer", "granted"),
        Answer::PasswordKept(why) => record
            .with("answer", "password not changed")
            .with("why", why.to_string()),
        Answer::TestConnection => record.with("answer", "the broker is there"),
        Answer::Order(order, session) => {
            let order = match order {
                ClientOrder::Suspend => "suspend",
                ClientOrder::Terminate => "terminate",
            };
            record
                .with("answer", order)
                .with("session", session.to_string())
        }
        Answer::Profiles { profiles, .. } => {
            let ids = profiles.iter().take(MOST_PROFILES);
            let ids: Vec<_> = ids.map(|listed| listed.profile.id.to_string()).collect();
            record
                .with("answer", "profiles")
                .with("n_profiles", profiles.len())
                .with("profiles", ids)
        }
        Answer::Selected(selected) => {
            let sessions = selected.resume.iter();
            let sessions: Vec<_> = sessions.map(|known| known.id.to_string()).collect();
            record
                .with("answer", "server")
                .with("server", selected.server.to_string())
                .with("key_given", selected.key != GivenKey::Nothing)
                .with("sessions", sessions)
        }
        Answer::NoSuchProfile => record.with("answer", "no such profile for this user"),
        Answer::NoServer { .. } => record.with("answer", "no server takes the session"),
    }
}

/// What is longer is nobody's name.
fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// With milliseconds, in UTC.
fn rfc3339(at: OffsetDateTime) -> Value {
    json!(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    ))
}

/// The longest user name with its domain has 129.
const MOST_CHARACTERS: usize = 256;

/// Of a list of profiles, the first ones stand for it.
const MOST_PROFILES: usize = 20;
