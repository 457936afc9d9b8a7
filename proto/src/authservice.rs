//! How do the broker and the authservice speak over the unix socket between them?
//!
//! A password may hold any byte, so messages stand behind their length instead of between
//! marks.

use std::fmt;

use prost::Message as _;
use zeroize::{Zeroize, Zeroizing};

use crate::v1;

/// A question to PAM: may this user log in with this password? Or a wish: may they have
/// another?
#[derive(Clone, PartialEq, Eq)]
pub struct PamQuestion {
    /// The user.
    pub user: String,
    /// What was typed; wiped when dropped.
    pub password: Zeroizing<Vec<u8>>,
    /// The address of the client; may be empty.
    pub client: String,
    /// The password to have from now on, if it is to be changed; wiped when dropped.
    pub new_password: Option<Zeroizing<Vec<u8>>>,
}

/// What PAM says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PamVerdict {
    /// The password is right and the account may be used.
    Granted,
    /// It is wrong, or there is no such user, or the account is closed or has run out.
    Refused,
    /// The password is right and has run out.
    PasswordExpired,
    /// Too many ask at this moment.
    Busy,
    /// PAM did not answer in time, or could not be asked.
    Unavailable,
    /// The password was right, and is changed.
    Changed,
    /// The password is right and stays: PAM does not take the new one.
    NewPasswordRefused,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PamMessageError {
    /// Longer than any that is sent.
    #[error("a message of {length} bytes; the most are {MAX_PAM_MESSAGE}")]
    TooLong {
        /// What its head announces.
        length: usize,
    },
    /// Not of the form of a message.
    #[error("the bytes are no message")]
    Form(#[source] prost::DecodeError),
    /// A verdict that this version does not know.
    #[error("the verdict {0} is not known")]
    Verdict(i32),
}

/// The bytes in front of each message that tell its length.
pub const PAM_HEAD_BYTES: usize = 4;

/// The longest message. Linux-PAM itself takes no password over 512 bytes; modules of
/// others may.
pub const MAX_PAM_MESSAGE: usize = 8 * 1024;

/// The length of the message behind this head.
///
/// # Errors
/// When it is longer than [`MAX_PAM_MESSAGE`].
pub fn pam_message_length(head: [u8; PAM_HEAD_BYTES]) -> Result<usize, PamMessageError> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > MAX_PAM_MESSAGE {
        return Err(PamMessageError::TooLong { length });
    }
    Ok(length)
}

impl PamQuestion {
    /// Head and message.
    ///
    /// # Errors
    /// When it is too long to be sent.
    pub fn to_frame(&self) -> Result<Zeroizing<Vec<u8>>, PamMessageError> {
        let mut message = v1::PamQuestion {
            user: self.user.clone(),
            password: self.password.to_vec(),
            client: self.client.clone(),
            new_password: self.new_password.as_ref().map(|new| new.to_vec()),
        };
        let framed = frame(&message);
        message.password.zeroize();
        message.new_password.zeroize();
        framed
    }

    /// Reads the message behind a head.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, PamMessageError> {
        let message = v1::PamQuestion::decode(bytes).map_err(PamMessageError::Form)?;
        Ok(Self {
            user: message.user,
            password: Zeroizing::new(message.password),
            client: message.client,
            new_password: message.new_password.map(Zeroizing::new),
        })
    }
}

/// Shows no password.
impl fmt::Debug for PamQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PamQuestion")
            .field("user", &self.user)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl PamVerdict {
    /// Head and message.
    #[must_use]
    pub fn to_frame(self) -> Vec<u8> {
        let verdict = match self {
            Self::Granted => v1::PamVerdict::Granted,
            Self::Refused => v1::PamVerdict::Refused,
            Self::PasswordExpired => v1::PamVerdict::PasswordExpired,
            Self::Busy => v1::PamVerdict::Busy,
            Self::Unavailable => v1::PamVerdict::Unavailable,
            Self::Changed => v1::PamVerdict::Changed,
            Self::NewPasswordRefused => v1::PamVerdict::NewPasswordRefused,
        };
        let message = v1::PamAnswer {
            verdict: verdict.into(),
        };
        // A message of one number is never too long.
        frame(&message)
            .map(|frame| frame.to_vec())
            .unwrap_or_default()
    }

    /// Reads the message behind a head.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, PamMessageError> {
        let message = v1::PamAnswer::decode(bytes).map_err(PamMessageError::Form)?;
        let unknown = PamMessageError::Verdict(message.verdict);
        match v1::PamVerdict::try_from(message.verdict) {
            Ok(v1::PamVerdict::Granted) => Ok(Self::Granted),
            Ok(v1::PamVerdict::Refused) => Ok(Self::Refused),
            Ok(v1::PamVerdict::PasswordExpired) => Ok(Self::PasswordExpired),
            Ok(v1::PamVerdict::Busy) => Ok(Self::Busy),
            Ok(v1::PamVerdict::Unavailable) => Ok(Self::Unavailable),
            Ok(v1::PamVerdict::Changed) => Ok(Self::Changed),
            Ok(v1::PamVerdict::NewPasswordRefused) => Ok(Self::NewPasswordRefused),
            Ok(v1::PamVerdict::Unspecified) | Err(_) => Err(unknown),
        }
    }
}

fn frame(message: &impl prost::Message) -> Result<Zeroizing<Vec<u8>>, PamMessageError> {
    let length = message.encoded_len();
    let head = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_PAM_MESSAGE);
    let head = head.ok_or(PamMessageError::TooLong { length })?;
    // Never grows, so no copy with the password is left behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(PAM_HEAD_BYTES + length));
    frame.extend_from_slice(&head.to_be_bytes());
    // There is room for all of it.
    let _ = message.encode(&mut *frame);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::{
        MAX_PAM_MESSAGE, PAM_HEAD_BYTES, PamMessageError, PamQuestion, PamVerdict,
        pam_message_length,
    };

    fn question(password: &[u8]) -> PamQuestion {
        PamQuestion {
            user: "alice".to_owned(),
            password: Zeroizing::new(password.to_vec()),
            client: "10.77.0.20".to_owned(),
            new_password: None,
        }
    }

    fn behind_its_head(frame: &[u8]) -> &[u8] {
        let (head, message) = frame.split_first_chunk::<PAM_HEAD_BYTES>().unwrap();
        assert_eq!(pam_message_length(*head), Ok(message.len()));
        message
    }

    #[test]
    fn every_byte_of_a_password_arrives() {
        let all: Vec<u8> = (0..=255).collect();
        let mut sent = question(&all);
        for new in [None, Some(Zeroizing::new(all)), Some(Zeroizing::default())] {
            sent.new_password = new;
            let frame = sent.to_frame().unwrap();
            let read = PamQuestion::read(behind_its_head(&frame));
            assert_eq!(read.as_ref(), Ok(&sent));
        }
    }

    #[test]
    fn every_verdict_arrives() {
        use PamVerdict::{
            Busy, Changed, Granted, NewPasswordRefused, PasswordExpired, Refused, Unavailable,
        };
        for verdict in [
            Granted,
            Refused,
            PasswordExpired,
            Busy,
            Unavailable,
            Changed,
            NewPasswordRefused,
        ] {
            let frame = verdict.to_frame();
            assert_eq!(PamVerdict::read(behind_its_head(&frame)), Ok(verdict));
        }
        // An empty message, and numbers of later versions, never mean granted.
        assert_eq!(PamVerdict::read(&[]), Err(PamMessageError::Verdict(0)));
        assert_eq!(
            PamVerdict::read(&[8, 99]),
            Err(PamMessageError::Verdict(99))
        );
    }

    #[test]
    fn a_message_that_is_too_long_is_neither_sent_nor_read() {
        let long = question(&[b'x'; MAX_PAM_MESSAGE]).to_frame();
        assert!(matches!(long, Err(PamMessageError::TooLong { .. })));
        let length = u32::MAX.to_be_bytes();
        assert!(matches!(
            pam_message_length(length),
            Err(PamMessageError::TooLong { .. })
        ));
    }

    #[test]
    fn no_password_is_shown() {
        let shown = format!("{:?}", question(b"hunter2"));
        assert!(
            !shown.contains("hunter2") && !shown.contains("104"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = PamQuestion::read(&bytes);
            let _ = PamVerdict::read(&bytes);
        }
    }
}
