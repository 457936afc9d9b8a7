//! How do x2gobroker-ssh and the daemon of its host speak over the unix socket between them?
//!
//! One request and one answer for each connection, each behind its length.

use std::fmt;

use prost::Message as _;
use zeroize::{Zeroize, Zeroizing};

use crate::{Secret, v1};

/// What a client that came by SSH asks. Who asks is not in it: the kernel tells the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRequest {
    /// The word that clients send.
    pub task: String,
    /// For whom; empty for who asks. Only the daemon's own account may name somebody else.
    pub user: String,
    /// The account on the X2Go servers; empty for the user.
    pub login: String,
    /// The AUTHID of the last answer.
    pub authid: Secret,
    /// The session profile, or the session of an event.
    pub sid: String,
    /// Empty for the default one.
    pub backend: String,
    /// The address of the client, as sshd tells it.
    pub client_address: String,
    /// Of `setpass`.
    pub new_password: Secret,
    /// What a `clientevent` tells.
    pub event: LocalEvent,
}

/// What a `clientevent` tells, as the client wrote it; each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEvent {
    /// `CONNECTING`, …
    pub event: String,
    /// The X2Go server, as the client was told it.
    pub server: String,
    /// The name of the client.
    pub client: String,
    /// What the session runs.
    pub command: String,
    /// The number of the display.
    pub display: String,
    /// When the client began, in its own clock.
    pub started: String,
    /// Seconds since then.
    pub elapsed: String,
}

/// What the daemon answers.
#[derive(Clone, PartialEq, Eq)]
pub enum LocalAnswer {
    /// The request was let in.
    Answered {
        /// What the client reads, byte for byte.
        text: String,
        /// What a person is told beside it; may be empty.
        notice: String,
    },
    /// The credentials are not good.
    Refused {
        /// What a person is told; may be empty.
        notice: String,
    },
    /// There is no such backend.
    UnknownBackend,
    /// The backend is switched off.
    BackendOff,
    /// Who asks has no account that can be told.
    NoAccount,
    /// Too many ask at this moment.
    Busy,
    /// The daemon can't answer now.
    Unavailable,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalMessageError {
    /// Longer than any that is sent.
    #[error("a message of {length} bytes; the most are {most}")]
    TooLong {
        /// What it has.
        length: usize,
        /// What it may have.
        most: usize,
    },
    /// Not of the form of a message.
    #[error("the bytes are no message")]
    Form(#[source] prost::DecodeError),
    /// An outcome that this version does not know.
    #[error("the outcome {0} is not known")]
    Outcome(i32),
}

/// The bytes in front of each message that tell its length.
pub const LOCAL_HEAD_BYTES: usize = 4;

/// The longest request: longer than the command lines that clients write.
pub const MAX_LOCAL_REQUEST: usize = 64 * 1024;

/// The longest answer: more than ten thousand session profiles.
pub const MAX_LOCAL_ANSWER: usize = 8 * 1024 * 1024;

/// The length of the message behind this head, which may have at most `most` bytes.
///
/// # Errors
/// When it is longer.
pub fn local_message_length(
    head: [u8; LOCAL_HEAD_BYTES],
    most: usize,
) -> Result<usize, LocalMessageError> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > most {
        return Err(LocalMessageError::TooLong { length, most });
    }
    Ok(length)
}

impl LocalRequest {
    /// Head and message.
    ///
    /// # Errors
    /// When it is too long to be sent.
    pub fn to_frame(&self) -> Result<Zeroizing<Vec<u8>>, LocalMessageError> {
        let event = self.event.clone();
        let mut message = v1::LocalRequest {
            task: self.task.clone(),
            user: self.user.clone(),
            login: self.login.clone(),
            authid: self.authid.expose().to_owned(),
            sid: self.sid.clone(),
            backend: self.backend.clone(),
            client_address: self.client_address.clone(),
            new_password: self.new_password.expose().to_owned(),
            event: Some(v1::LocalEvent {
                event: event.event,
                server: event.server,
                client: event.client,
                command: event.command,
                display: event.display,
                started: event.started,
                elapsed: event.elapsed,
            }),
        };
        let framed = frame(&message, MAX_LOCAL_REQUEST);
        message.authid.zeroize();
        message.new_password.zeroize();
        framed
    }

    /// Reads the message behind a head.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, LocalMessageError> {
        let message = v1::LocalRequest::decode(bytes).map_err(LocalMessageError::Form)?;
        let event = message.event.unwrap_or_default();
        Ok(Self {
            task: message.task,
            user: message.user,
            login: message.login,
            authid: Secret::new(message.authid),
            sid: message.sid,
            backend: message.backend,
            client_address: message.client_address,
            new_password: Secret::new(message.new_password),
            event: LocalEvent {
                event: event.event,
                server: event.server,
                client: event.client,
                command: event.command,
                display: event.display,
                started: event.started,
                elapsed: event.elapsed,
            },
        })
    }
}

impl LocalAnswer {
    /// Head and message.
    ///
    /// # Errors
    /// When it is too long to be sent.
    pub fn to_frame(&self) -> Result<Zeroizing<Vec<u8>>, LocalMessageError> {
        let (outcome, text, notice) = match self {
            Self::Answered { text, notice } => {
                (v1::LocalOutcome::Answered, text.as_str(), notice.as_str())
            }
            Self::Refused { notice } => (v1::LocalOutcome::Refused, "", notice.as_str()),
            Self::UnknownBackend => (v1::LocalOutcome::UnknownBackend, "", ""),
            Self::BackendOff => (v1::LocalOutcome::BackendOff, "", ""),
            Self::NoAccount => (v1::LocalOutcome::NoAccount, "", ""),
            Self::Busy => (v1::LocalOutcome::Busy, "", ""),
            Self::Unavailable => (v1::LocalOutcome::Unavailable, "", ""),
        };
        let mut message = v1::LocalAnswer {
            outcome: outcome.into(),
            text: text.to_owned(),
            notice: notice.to_owned(),
        };
        let framed = frame(&message, MAX_LOCAL_ANSWER);
        message.text.zeroize();
        framed
    }

    /// Reads the message behind a head.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, LocalMessageError> {
        let v1::LocalAnswer {
            outcome,
            text,
            notice,
        } = v1::LocalAnswer::decode(bytes).map_err(LocalMessageError::Form)?;
        match v1::LocalOutcome::try_from(outcome) {
            Ok(v1::LocalOutcome::Answered) => Ok(Self::Answered { text, notice }),
            Ok(v1::LocalOutcome::Refused) => Ok(Self::Refused { notice }),
            Ok(v1::LocalOutcome::UnknownBackend) => Ok(Self::UnknownBackend),
            Ok(v1::LocalOutcome::BackendOff) => Ok(Self::BackendOff),
            Ok(v1::LocalOutcome::NoAccount) => Ok(Self::NoAccount),
            Ok(v1::LocalOutcome::Busy) => Ok(Self::Busy),
            Ok(v1::LocalOutcome::Unavailable) => Ok(Self::Unavailable),
            Ok(v1::LocalOutcome::Unspecified) | Err(_) => Err(LocalMessageError::Outcome(outcome)),
        }
    }
}

/// Shows no text: AUTHIDs and the cookies of sessions stand in it.
impl fmt::Debug for LocalAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { text, notice } => f
                .debug_struct("Answered")
                .field("text_bytes", &text.len())
                .field("notice", notice)
                .finish(),
            Self::Refused { notice } => f.debug_struct("Refused").field("notice", notice).finish(),
            Self::UnknownBackend => f.write_str("UnknownBackend"),
            Self::BackendOff => f.write_str("BackendOff"),
            Self::NoAccount => f.write_str("NoAccount"),
            Self::Busy => f.write_str("Busy"),
            Self::Unavailable => f.write_str("Unavailable"),
        }
    }
}

fn frame(
    message: &impl prost::Message,
    most: usize,
) -> Result<Zeroizing<Vec<u8>>, LocalMessageError> {
    let length = message.encoded_len();
    let head = u32::try_from(length).ok().filter(|_| length <= most);
    let head = head.ok_or(LocalMessageError::TooLong { length, most })?;
    // Never grows, so no copy with a secret is left behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(LOCAL_HEAD_BYTES + length));
    frame.extend_from_slice(&head.to_be_bytes());
    // There is room for all of it.
    let _ = message.encode(&mut *frame);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        LOCAL_HEAD_BYTES, LocalAnswer, LocalEvent, LocalMessageError, LocalRequest,
        MAX_LOCAL_ANSWER, MAX_LOCAL_REQUEST, local_message_length,
    };
    use crate::Secret;

    fn request(new_password: &str) -> LocalRequest {
        LocalRequest {
            task: "setpass".to_owned(),
            user: "alice".to_owned(),
            login: "kiosk".to_owned(),
            authid: Secret::new("a.b.c".to_owned()),
            sid: "farm".to_owned(),
            backend: "inifile".to_owned(),
            client_address: "10.77.0.20".to_owned(),
            new_password: Secret::new(new_password.to_owned()),
            event: LocalEvent {
                event: "ALIVE".to_owned(),
                server: "s1".to_owned(),
                client: "desk".to_owned(),
                command: "TERMINAL".to_owned(),
                display: "50".to_owned(),
                started: "22.11.26 05:17:28".to_owned(),
                elapsed: "4".to_owned(),
            },
        }
    }

    fn behind_its_head(frame: &[u8], most: usize) -> &[u8] {
        let (head, message) = frame.split_first_chunk::<LOCAL_HEAD_BYTES>().unwrap();
        assert_eq!(local_message_length(*head, most), Ok(message.len()));
        message
    }

    #[test]
    fn a_request_arrives_with_all_its_fields() {
        let sent = request("pass word'\"$");
        let frame = sent.to_frame().unwrap();
        let read = LocalRequest::read(behind_its_head(&frame, MAX_LOCAL_REQUEST));
        assert_eq!(read, Ok(sent));
    }

    #[test]
    fn every_answer_arrives() {
        let notice = "a word".to_owned();
        let answers = [
            LocalAnswer::Answered {
                text: "Access granted\n".to_owned(),
                notice: notice.clone(),
            },
            LocalAnswer::Refused { notice },
            LocalAnswer::UnknownBackend,
            LocalAnswer::BackendOff,
            LocalAnswer::NoAccount,
            LocalAnswer::Busy,
            LocalAnswer::Unavailable,
        ];
        for sent in answers {
            let frame = sent.to_frame().unwrap();
            let read = LocalAnswer::read(behind_its_head(&frame, MAX_LOCAL_ANSWER));
            assert_eq!(read, Ok(sent));
        }
        // An empty message, and numbers of later versions, are never an answer.
        assert_eq!(LocalAnswer::read(&[]), Err(LocalMessageError::Outcome(0)));
        assert_eq!(
            LocalAnswer::read(&[8, 99]),
            Err(LocalMessageError::Outcome(99))
        );
    }

    #[test]
    fn a_message_that_is_too_long_is_neither_sent_nor_read() {
        let long = request(&"x".repeat(MAX_LOCAL_REQUEST)).to_frame();
        assert!(matches!(long, Err(LocalMessageError::TooLong { .. })));
        let length = local_message_length(u32::MAX.to_be_bytes(), MAX_LOCAL_ANSWER);
        assert!(matches!(length, Err(LocalMessageError::TooLong { .. })));
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", request("hunter2"));
        assert!(!shown.contains("hunter2") && !shown.contains("a.b.c"));
        let answer = LocalAnswer::Answered {
            text: "AUTHID:hunter2".to_owned(),
            notice: String::new(),
        };
        assert!(!format!("{answer:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = LocalRequest::read(&bytes);
            let _ = LocalAnswer::read(&bytes);
        }
    }
}
