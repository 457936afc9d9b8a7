//! What does a client ask that came by SSH, in the words of the tasks?

use std::net::IpAddr;

use proto::{LocalEvent, LocalRequest, Secret};

use super::THIS_HOST;
use crate::auth::{Credentials, LocalPeer};
use crate::frontend::form::cleaned;
use crate::task::request::{EventFields, Request, Task};

/// A request, and where the client is.
#[derive(Debug)]
pub(super) struct FromSsh {
    pub(super) task: Request,
    pub(super) client: IpAddr,
}

/// Reads a request of this user.
pub(super) fn request(sent: &LocalRequest, peer: &LocalPeer) -> FromSsh {
    let task_word = cleaned(&sent.task);
    let task = Request {
        task: Task::parse(&task_word),
        task_word,
        credentials: Credentials {
            user: peer.user().as_str().to_owned(),
            password: Secret::new(String::new()),
            login: cleaned(&sent.login),
            authid: Secret::new(cleaned(sent.authid.expose())),
        },
        sid: cleaned(&sent.sid),
        pubkey: None,
        new_password: sent.new_password.clone(),
        event: event(&sent.event),
    };
    FromSsh {
        task,
        client: client(&sent.client_address),
    }
}

fn event(sent: &LocalEvent) -> EventFields {
    EventFields {
        event: cleaned(&sent.event),
        server: cleaned(&sent.server),
        client: cleaned(&sent.client),
        command: cleaned(&sent.command),
        display: cleaned(&sent.display),
        started: cleaned(&sent.started),
        elapsed: cleaned(&sent.elapsed),
    }
}

/// A link-local address comes with the name of an interface, `fe80::1%eth0`.
fn client(text: &str) -> IpAddr {
    let address = text.split('%').next().unwrap_or_default();
    address
        .parse()
        .map_or(THIS_HOST, |address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proto::{LocalEvent, LocalRequest, Secret};

    use super::{client, request};
    use crate::auth::LocalPeer;
    use crate::task::request::Task;

    #[test]
    fn the_address_is_what_sshd_tells_or_this_host() {
        for (text, expected) in [
            ("10.77.0.20", "10.77.0.20"),
            ("::ffff:10.77.0.20", "10.77.0.20"),
            ("fe80::1%eth0", "fe80::1"),
            ("2001:db8::7", "2001:db8::7"),
            ("", "127.0.0.1"),
            ("UNKNOWN", "127.0.0.1"),
        ] {
            assert_eq!(client(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn fields_are_cleaned_as_those_of_forms_and_the_user_is_the_one_of_the_socket() {
        let sent = LocalRequest {
            task: " setpass ".to_owned(),
            user: "bob".to_owned(),
            login: "kiosk\u{1}".to_owned(),
            authid: Secret::new(" a.b.c\n".to_owned()),
            sid: "farm".to_owned(),
            backend: String::new(),
            client_address: "10.77.0.20".to_owned(),
            new_password: Secret::new(" spaces count ".to_owned()),
            event: LocalEvent::default(),
        };
        let peer = LocalPeer::new("alice", "bob", "x2gobroker").unwrap();
        let read = request(&sent, &peer).task;
        assert_eq!(read.task, Task::SetPassword);
        assert_eq!(read.credentials.user, "alice");
        assert_eq!(read.credentials.login, "kiosk");
        assert_eq!(read.credentials.authid.expose(), "a.b.c");
        assert_eq!(read.credentials.password.expose(), "");
        assert_eq!(read.new_password.expose(), " spaces count ");
    }
}
