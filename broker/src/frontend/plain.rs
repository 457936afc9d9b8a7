//! What does the plain front end answer, byte for byte?
//!
//! Lines end with LF alone, since X2Go Client finds nothing behind CR LF. An answer to
//! `selectsession` always has a `SERVER:` line with a port: without it the client ends.

use proto::{ClientOrder, SessionId, Username};

use crate::config::ClientEvents;
use crate::frontend::hosts::ShownHosts;
use crate::names::ServerAddress;
use crate::profiles::Gap;
use crate::task::list_sessions::{HostsShown, Listed, SessionCounts};
use crate::task::select_session::{GivenKey, Selected};
use crate::task::{Answer, Reply};

/// The whole answer to a request that was let in.
#[must_use]
pub fn answer(reply: &Reply<'_>, shown: HostsShown) -> String {
    let authid = reply.authid.as_ref().map(proto::Secret::expose);
    match &reply.answer {
        Answer::Granted => granted(authid),
        Answer::PasswordKept(_) => PASSWORD_KEPT.to_owned(),
        Answer::TestConnection => TEST_CONNECTION.to_owned(),
        Answer::Order(order, session) => client_order(authid, *order, session),
        Answer::Profiles { profiles, events } => {
            let mut answer = list_sessions(authid, reply.who.account(), shown, profiles);
            if let Some(events) = events {
                write_client_config(&mut answer, *events);
            }
            answer
        }
        Answer::Selected(selected) => select_session(authid, selected),
        Answer::NoSuchProfile => no_such_profile(authid),
        Answer::NoServer { sshport } => no_server(authid, *sshport),
    }
}

/// The answer to `testcon`.
pub const TEST_CONNECTION: &str = "OK";

/// The answer to somebody who is not let in, where that is not a status: X2Go Client shows
/// its login form again for whatever lacks "Access granted".
pub const DENIED: &str = "Access denied\n";

/// The answer to `setpass` when the password is the old one. With "Access granted" X2Go
/// Client would use the new one from now on.
pub const PASSWORD_KEPT: &str = "Password not changed\n";

/// What stands for a key that will come with the answer to `selectsession`.
pub const KEY_PROMISE: &str = "<will-be-exchanged-during-session-selection>";

/// The server that a client is told when it asks for a profile that it can't have.
pub const NO_SUCH_PROFILE: &str = "no-server-available";

/// The server that a client is told when no X2Go server of the profile takes it.
pub const NO_SERVER: &str = "no-X2Go-Server-available";

/// The credentials are good, and there is nothing else to say: for unknown tasks, and
/// before anything else. `authid` is the value for the client's next request.
#[must_use]
pub fn granted(authid: Option<&str>) -> String {
    let mut answer = String::with_capacity(HEAD_BYTES);
    write_head(&mut answer, authid);
    answer
}

/// The answer to `listsessions`. Profiles must come sorted by ID. Without profiles it is
/// [`granted`] alone.
#[must_use]
pub fn list_sessions(
    authid: Option<&str>,
    user: Option<&Username>,
    shown: HostsShown,
    profiles: &[Listed<'_>],
) -> String {
    let per_profile = profiles.iter().map(|listed| {
        let profile = listed.profile;
        profile.rendered.len() + profile.host_names.len() + PROFILE_EXTRA_BYTES
    });
    let mut answer = String::with_capacity(HEAD_BYTES + per_profile.sum::<usize>());
    write_head(&mut answer, authid);
    if profiles.is_empty() {
        return answer;
    }
    answer.push_str("START_USER_SESSIONS\n\n");
    let user = user.map_or("", Username::as_str);
    for listed in profiles {
        write_profile(&mut answer, listed, user, shown);
    }
    answer.push_str("END_USER_SESSIONS\n");
    answer
}

/// The answer to a `clientevent` when the client is to do something. X2Go Client 4.1.2
/// does it as soon as it reads the line.
#[must_use]
pub fn client_order(authid: Option<&str>, order: ClientOrder, session: &SessionId) -> String {
    let mut answer = granted(authid);
    let word = match order {
        ClientOrder::Suspend => "SUSPEND ",
        ClientOrder::Terminate => "TERMINATE ",
    };
    write_line(&mut answer, word, session);
    answer
}

/// The answer to `selectsession` with a server, and the records of the sessions to resume,
/// the best one first. Each record names the address that is handed out for its server:
/// X2Go Client resumes there, at the port of `server`. The private key stands between them;
/// of a client's own key nothing is said.
#[must_use]
pub fn select_session(authid: Option<&str>, selected: &Selected) -> String {
    let Selected {
        server,
        resume,
        key,
    } = selected;
    let mut answer = String::with_capacity(HEAD_BYTES + SELECT_BYTES);
    write_head(&mut answer, authid);
    write_line(&mut answer, "SERVER:", server);
    match key {
        GivenKey::Nothing | GivenKey::OfClient => {}
        GivenKey::Private(key) => answer.push_str(key.expose()),
    }
    // One label for all: X2Go Client takes the lines behind it for further sessions.
    let mut label = "SESSION_INFO:";
    for record in resume {
        write_line(&mut answer, label, &record.line_for(&record.server));
        label = "";
    }
    answer
}

/// The answer to `selectsession` for a profile that does not exist or is not for this
/// user.
#[must_use]
pub fn no_such_profile(authid: Option<&str>) -> String {
    nowhere(authid, NO_SUCH_PROFILE, crate::profiles::DEFAULT_SSH_PORT)
}

/// The answer to `selectsession` when no server takes the user.
#[must_use]
pub fn no_server(authid: Option<&str>, sshport: u16) -> String {
    nowhere(authid, NO_SERVER, sshport)
}

fn nowhere(authid: Option<&str>, host: &str, port: u16) -> String {
    let host = host.to_owned();
    let server = ServerAddress { host, port };
    select_session(authid, &Selected::unasked(server))
}

/// The body of an error answer; its content type is [`ERROR_CONTENT_TYPE`].
#[must_use]
pub fn error_body(status: u16, reason: &str) -> String {
    format!("<html><title>{status}: {reason}</title><body>{status}: {reason}</body></html>")
}

/// The type of every other answer.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// The type of error answers.
pub const ERROR_CONTENT_TYPE: &str = "text/html; charset=UTF-8";

fn write_profile(answer: &mut String, listed: &Listed<'_>, user: &str, shown: HostsShown) {
    listed.profile.rendered.write(answer, |gap, answer| {
        answer.push_str(match gap {
            Gap::User => user,
            Gap::Host => ShownHosts::of(listed, shown).joined(),
        });
    });
    if listed.autologin {
        answer.push_str("autologin=1\n");
        write_line(answer, "key=", &KEY_PROMISE);
    }
    if let Some(SessionCounts { running, suspended }) = listed.counts {
        write_line(answer, "running=", &running);
        write_line(answer, "suspended=", &suspended);
    }
    if let Some(session) = &listed.session {
        answer.push_str("status=");
        answer.push(session.state.letter());
        answer.push('\n');
    }
    answer.push('\n');
}

/// Follows the list at once.
fn write_client_config(answer: &mut String, events: ClientEvents) {
    answer.push_str("START_CLIENT_CONFIG\nevents=true\n");
    write_line(answer, "liveevent=", &events.live.as_secs());
    answer.push_str("END_CLIENT_CONFIG\n");
}

fn write_head(answer: &mut String, authid: Option<&str>) {
    if let Some(authid) = authid {
        write_line(answer, "AUTHID:", &authid);
    }
    answer.push_str("Access granted\n");
}

fn write_line(answer: &mut String, label: &str, value: &dyn std::fmt::Display) {
    use std::fmt::Write;
    // Writing to a String can't fail.
    let _ = writeln!(answer, "{label}{value}");
}

/// `AUTHID:` with a value of 36 characters or a token, `Access granted`, and the frame of
/// the profile list.
const HEAD_BYTES: usize = 512;

/// `SERVER:`, a session record and a private key of 1.7 KB.
const SELECT_BYTES: usize = 2304;

/// User, status and empty line.
const PROFILE_EXTRA_BYTES: usize = 96;

#[cfg(test)]
mod tests;
