//! `clientevent`: what happened to a session, as its client tells it, and what is the
//! client to do?
//!
//! What a client tells is logged and changes nothing: the session's own agent sees each
//! change in the session database, sooner and for certain. Orders come from operators,
//! through the agent of the session's server, and only the client of the user whose
//! session it is gets to know them.

use std::fmt;

use proto::{ClientOrder, SessionId, SessionState, Username};
use tracing::{debug, info};

use super::Answer;
use super::request::{EventFields, Request};
use crate::auth::Authenticated;
use crate::settings::Backend;
use crate::view::FarmView;

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client starts or resumes it.
    Connecting,
    /// Its window is there.
    Connected,
    /// It still is.
    Alive,
    /// The client suspends it.
    Suspending,
    /// The client ends it.
    Terminating,
    /// The connection is gone.
    Finished,
}

/// An event whose fields can stand in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEvent<'a> {
    /// What happened.
    pub event: Event,
    /// To which session.
    pub session: SessionId,
    /// The X2Go server, as the client knows it.
    pub server: &'a str,
    /// What the session runs.
    pub command: &'a str,
    /// Seconds since the client began.
    pub elapsed: Option<u64>,
}

/// What was sent is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OddEvent {
    /// The word is none of the six.
    #[error("the event is none that clients tell of")]
    Event,
    /// The session ID can't be one.
    #[error("the session ID can't be one")]
    Session,
}

impl<'a> ClientEvent<'a> {
    /// Reads the fields. Only the word and the session ID must be right; other fields
    /// that can't be are taken for empty.
    ///
    /// # Errors
    /// When one of those two is not.
    pub fn parse(sid: &str, fields: &'a EventFields) -> Result<Self, OddEvent> {
        Ok(Self {
            event: Event::parse(&fields.event).ok_or(OddEvent::Event)?,
            session: SessionId::parse(sid).or(Err(OddEvent::Session))?,
            server: plain(&fields.server),
            command: plain(&fields.command),
            elapsed: fields.elapsed.parse().ok(),
        })
    }
}

/// Answers what a client told. One that was not asked for events is let in, as the
/// original does, and no more.
pub(super) fn told(
    view: &FarmView,
    backend: &Backend,
    who: &Authenticated,
    request: &Request,
) -> Answer<'static> {
    let (Some(_), Some(user)) = (backend.clients.events, who.account()) else {
        return Answer::Granted;
    };
    let event = match ClientEvent::parse(&request.sid, &request.event) {
        Ok(event) => event,
        Err(odd) => {
            debug!(%user, why = %odd, "what a client told was left out");
            return Answer::Granted;
        }
    };
    match client_event(view, user, &event) {
        Some(order) => Answer::Order(order, event.session),
        None => Answer::Granted,
    }
}

/// Logs the event, and returns what the client is to do with its session.
#[must_use]
pub fn client_event(
    view: &FarmView,
    user: &Username,
    told: &ClientEvent<'_>,
) -> Option<ClientOrder> {
    let ClientEvent {
        event,
        session,
        server,
        command,
        elapsed,
    } = told;
    let mut theirs = view.of_user(user).sessions.iter();
    let placed = theirs.find(|placed| placed.session.id == *session);
    let node = placed.map(|placed| placed.node.as_str());
    match event {
        // Each session tells this again and again.
        Event::Alive => {
            debug!(%user, %session, %event, node, server, command, elapsed, "client event");
        }
        _ => info!(%user, %session, %event, node, server, command, elapsed, "client event"),
    }
    let session = &placed?.session;
    if session.state != SessionState::Running || !event.can_obey() {
        return None;
    }
    let order = session.client_order?;
    info!(%user, session = %session.id, ?order, "the client is told what to do");
    Some(order)
}

impl Event {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "CONNECTING" => Self::Connecting,
            "CONNECTED" => Self::Connected,
            "ALIVE" => Self::Alive,
            "SUSPENDING" => Self::Suspending,
            "TERMINATING" => Self::Terminating,
            "FINISHED" => Self::Finished,
            _ => return None,
        })
    }

    /// Whether there is a session on the screen that the client could do something with.
    fn can_obey(self) -> bool {
        match self {
            Self::Connected | Self::Alive => true,
            Self::Connecting | Self::Suspending | Self::Terminating | Self::Finished => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::Alive => "ALIVE",
            Self::Suspending => "SUSPENDING",
            Self::Terminating => "TERMINATING",
            Self::Finished => "FINISHED",
        })
    }
}

/// The text, if it is short and can't be taken for a second line of a log.
fn plain(text: &str) -> &str {
    let fits = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    if fits { text } else { "" }
}

/// A host name, or the command of a session.
const MAX_TEXT: usize = 255;

#[cfg(test)]
mod tests {
    use super::{ClientEvent, Event, OddEvent};
    use crate::task::request::EventFields;

    const SESSION: &str = "alice-50-1795323740_stRTERMINAL_dp24";

    fn fields(event: &str) -> EventFields {
        // golden/client-clientevent: as X2Go Client 4.1.2 sends it.
        EventFields {
            event: event.to_owned(),
            server: "s2".to_owned(),
            client: String::new(),
            command: "TERMINAL".to_owned(),
            display: "50".to_owned(),
            started: "22.11.26 05:02:23".to_owned(),
            elapsed: "80".to_owned(),
        }
    }

    #[test]
    fn the_six_events_of_the_client_are_read_and_no_other_word() {
        let words = [
            ("CONNECTING", Event::Connecting),
            ("CONNECTED", Event::Connected),
            ("ALIVE", Event::Alive),
            ("SUSPENDING", Event::Suspending),
            ("TERMINATING", Event::Terminating),
            ("FINISHED", Event::Finished),
        ];
        for (word, expected) in words {
            let fields = fields(word);
            let event = ClientEvent::parse(SESSION, &fields).unwrap();
            assert_eq!(event.event, expected);
            assert_eq!(event.event.to_string(), word);
            assert_eq!((event.server, event.command), ("s2", "TERMINAL"));
            assert_eq!(event.elapsed, Some(80));
        }
        for word in ["", "alive", "ALIVE ", "RESUMED"] {
            let odd = ClientEvent::parse(SESSION, &fields(word)).unwrap_err();
            assert_eq!(odd, OddEvent::Event, "{word:?}");
        }
    }

    #[test]
    fn an_event_of_something_that_is_no_session_is_refused() {
        for sid in ["", "a|b", "a\nSUSPEND b", "../x", "$(id)"] {
            let odd = ClientEvent::parse(sid, &fields("ALIVE")).unwrap_err();
            assert_eq!(odd, OddEvent::Session, "{sid:?}");
        }
    }

    #[test]
    fn fields_that_would_break_the_log_count_as_empty() {
        let long = "x".repeat(256);
        for odd in ["s2\nuser=root", "\u{1b}[2J", &long] {
            let fields = EventFields {
                server: odd.to_owned(),
                command: odd.to_owned(),
                elapsed: odd.to_owned(),
                ..fields("ALIVE")
            };
            let event = ClientEvent::parse(SESSION, &fields).unwrap();
            assert_eq!((event.server, event.command, event.elapsed), ("", "", None));
        }
    }
}
