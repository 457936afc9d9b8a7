//! What does the JSON front end answer, byte for byte? pyhoca and python-x2go ask it.

mod value;

pub(super) use value::{Object, Value};

use crate::frontend::hosts::ShownHosts;
use crate::frontend::plain::{KEY_PROMISE, NO_SERVER, NO_SUCH_PROFILE};
use crate::names::ServerAddress;
use crate::profiles::{DEFAULT_SSH_PORT, Gap, OptionValue};
use crate::task::list_sessions::{HostsShown, Listed};
use crate::task::request::{Request, Task};
use crate::task::select_session::{GivenKey, Selected};
use crate::task::{Answer, Reply};

/// The whole answer to a request that was let in.
#[must_use]
pub fn answer(reply: &Reply<'_>, request: &Request, shown: HostsShown) -> String {
    let mut document = Object::from([
        ("auth-status", "Access granted".into()),
        ("task", task_word(request).into()),
    ]);
    if let Some(authid) = &reply.authid {
        document.insert("next-authid", authid.expose().into());
    }
    let user = reply.who.account().map_or("", proto::Username::as_str);
    match &reply.answer {
        Answer::TestConnection => return String::new(),
        // What a client is to do with its session only X2Go Client understands.
        Answer::Granted | Answer::Order(..) => {}
        Answer::PasswordKept(_) => {
            document.insert("error", "password not changed".into());
        }
        Answer::Profiles { profiles, .. } => {
            document.insert("profiles", list_profiles(profiles, user, shown));
        }
        Answer::Selected(selected) => {
            document.insert("selected_session", selected_session(selected));
        }
        Answer::NoSuchProfile if request.sid.is_empty() => {
            document.insert("selected_session", Value::Object(Object::new()));
        }
        Answer::NoSuchProfile => {
            let server = nowhere(NO_SUCH_PROFILE, DEFAULT_SSH_PORT);
            document.insert("selected_session", Value::Object(server));
        }
        Answer::NoServer { sshport } => {
            let server = nowhere(NO_SERVER, *sshport);
            document.insert("selected_session", Value::Object(server));
        }
    }
    Value::Object(document).to_text(INDENT)
}

/// The type of answers; python-x2go insists on it.
pub const CONTENT_TYPE: &str = "text/json; charset=utf-8";

/// The task as it was asked for, but for one that has two names.
fn task_word(request: &Request) -> &str {
    match request.task {
        Task::ListSessions => "listprofiles",
        Task::SelectSession
        | Task::SetPassword
        | Task::TestConnection
        | Task::ClientEvent
        | Task::Other => &request.task_word,
    }
}

fn list_profiles<'a>(profiles: &'a [Listed<'_>], user: &'a str, shown: HostsShown) -> Value<'a> {
    let profiles = profiles.iter().map(|listed| {
        let id = listed.profile.id.as_str();
        (id, Value::Object(profile(listed, user, shown)))
    });
    Value::Object(profiles.collect())
}

fn profile<'a>(listed: &'a Listed<'_>, user: &'a str, shown: HostsShown) -> Object<'a> {
    let options = listed.profile.options();
    let mut members: Object<'a> = options
        .map(|(key, value)| {
            let value = match value {
                OptionValue::Flag(flag) => Value::Flag(*flag),
                OptionValue::Number(number) => Value::Number(*number),
                OptionValue::List(items) => list(items.iter().map(String::as_str)),
                OptionValue::Text(text) => text.as_str().into(),
                OptionValue::Gap(Gap::User) => user.into(),
                OptionValue::Gap(Gap::Host) => list(ShownHosts::of(listed, shown).names()),
            };
            (key, value)
        })
        .collect();
    if listed.autologin {
        members.insert("autologin", Value::Flag(true));
        members.insert("key", KEY_PROMISE.into());
    }
    if let Some(counts) = listed.counts {
        members.insert("running", Value::Number(counts.running.into()));
        members.insert("suspended", Value::Number(counts.suspended.into()));
    }
    if let Some(session) = &listed.session {
        let letter = session.state.letter();
        members.insert("status", letter.to_string().into());
    }
    members
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> Value<'a> {
    Value::List(items.map(Value::from).collect())
}

fn selected_session(selected: &Selected) -> Value<'_> {
    let mut members = server(&selected.server);
    match &selected.key {
        GivenKey::Nothing => {}
        GivenKey::OfClient => {
            members.insert("authentication_pubkey", "ACCEPTED".into());
        }
        GivenKey::Private(key) => {
            members.insert("key", key.expose().into());
        }
    }
    if let Some(record) = selected.resume.first() {
        let line = record.line_for(&record.server).to_string();
        members.insert("session_info", line.into());
    }
    Value::Object(members)
}

fn server(server: &ServerAddress) -> Object<'_> {
    Object::from([
        ("server", server.host.as_str().into()),
        ("port", server.port.to_string().into()),
    ])
}

fn nowhere(name: &'static str, port: u16) -> Object<'static> {
    Object::from([("server", name.into()), ("port", port.to_string().into())])
}

const INDENT: usize = 4;

#[cfg(test)]
mod tests;
