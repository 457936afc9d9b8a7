//! What does PAM say? Asks the authservice, which may.
//!
//! Each question has a connection of its own, so a service that was started again is
//! found by the next login.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::{
    BrokerUser, PAM_HEAD_BYTES, PamMessageError, PamQuestion, PamVerdict, Secret,
    pam_message_length,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// Asks the authservice behind a unix socket.
#[derive(Clone, Debug)]
pub struct Pam {
    socket: PathBuf,
    deadline: Duration,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum PamError {
    /// Nobody answers at the socket.
    #[error("the authservice can't be reached at {socket}; does x2gobroker-authservice run?")]
    Unreachable {
        /// Where it should be.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended before the answer came: the service was stopped, or this
    /// process may not ask.
    #[error("the authservice ended the connection")]
    Ended(#[source] io::Error),
    /// It took too long.
    #[error("the authservice did not answer within {0:?}")]
    TimedOut(Duration),
    /// One of both sides speaks another language.
    #[error("the authservice and this broker do not understand each other")]
    Message(#[from] PamMessageError),
    /// The answer belongs to another question.
    #[error("the authservice answers {0:?} to another question; is it of an older version?")]
    Beside(PamVerdict),
}

impl Pam {
    /// Asks at this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            deadline: DEADLINE,
        }
    }

    /// Waits so long for an answer.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks whether this user may log in with this password.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(
        &self,
        user: &BrokerUser,
        password: &Secret,
        client: &str,
    ) -> Result<PamVerdict, PamError> {
        let verdict = self.put(question(user, password, client)).await?;
        match verdict {
            PamVerdict::Changed | PamVerdict::NewPasswordRefused => Err(PamError::Beside(verdict)),
            PamVerdict::Granted
            | PamVerdict::Refused
            | PamVerdict::PasswordExpired
            | PamVerdict::Busy
            | PamVerdict::Unavailable => Ok(verdict),
        }
    }

    /// Asks for `new` as the password of this user, who has shown the old one.
    ///
    /// # Errors
    /// When there is no answer. The password may have been changed then.
    pub async fn change(
        &self,
        user: &BrokerUser,
        old: &Secret,
        new: &Secret,
        client: &str,
    ) -> Result<PamVerdict, PamError> {
        let mut wish = question(user, old, client);
        wish.new_password = Some(bytes(new));
        let verdict = self.put(wish).await?;
        match verdict {
            // An authservice of an older version has only looked at the old password.
            PamVerdict::Granted => Err(PamError::Beside(verdict)),
            PamVerdict::Refused
            | PamVerdict::PasswordExpired
            | PamVerdict::Busy
            | PamVerdict::Unavailable
            | PamVerdict::Changed
            | PamVerdict::NewPasswordRefused => Ok(verdict),
        }
    }

    async fn put(&self, question: PamQuestion) -> Result<PamVerdict, PamError> {
        let frame = match question.to_frame() {
            Ok(frame) => frame,
            // No password of PAM is so long.
            Err(PamMessageError::TooLong { .. }) => return Ok(PamVerdict::Refused),
            Err(error) => return Err(error.into()),
        };
        let asked = tokio::time::timeout(self.deadline, self.exchange(&frame));
        asked
            .await
            .unwrap_or(Err(PamError::TimedOut(self.deadline)))
    }

    async fn exchange(&self, frame: &[u8]) -> Result<PamVerdict, PamError> {
        let connected = UnixStream::connect(&self.socket).await;
        let mut stream = connected.map_err(|source| PamError::Unreachable {
            socket: self.socket.clone(),
            source,
        })?;
        stream.write_all(frame).await.map_err(PamError::Ended)?;
        let mut head = [0; PAM_HEAD_BYTES];
        stream
            .read_exact(&mut head)
            .await
            .map_err(PamError::Ended)?;
        let mut message = vec![0; pam_message_length(head)?];
        stream
            .read_exact(&mut message)
            .await
            .map_err(PamError::Ended)?;
        Ok(PamVerdict::read(&message)?)
    }
}

fn question(user: &BrokerUser, password: &Secret, client: &str) -> PamQuestion {
    PamQuestion {
        user: user.to_string(),
        password: bytes(password),
        client: client.to_owned(),
        new_password: None,
    }
}

fn bytes(secret: &Secret) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(secret.expose().as_bytes().to_vec())
}

/// Longer than the authservice gives PAM, so that its answer is heard; shorter than X2Go
/// Client waits.
const DEADLINE: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{BrokerUser, PamVerdict, Secret};
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixListener;

    use super::{Pam, PamError};

    fn alice() -> (BrokerUser, Secret) {
        (
            BrokerUser::parse("alice").unwrap(),
            Secret::new("pw".to_owned()),
        )
    }

    #[tokio::test]
    async fn an_authservice_that_is_away_is_told_at_once_and_found_when_it_is_back() {
        let here = tempfile::tempdir().unwrap();
        let socket = here.path().join("socket");
        let pam = Pam::new(&socket);
        let (user, password) = alice();
        let away = pam.ask(&user, &password, "").await;
        assert!(
            matches!(away, Err(PamError::Unreachable { .. })),
            "{away:?}"
        );
        let listener = UnixListener::bind(&socket).unwrap();
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).await.unwrap();
            let mut message = vec![0; u32::from_be_bytes(head) as usize];
            stream.read_exact(&mut message).await.unwrap();
            let granted = PamVerdict::Granted.to_frame();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &granted)
                .await
                .unwrap();
        };
        let (back, ()) = tokio::join!(pam.ask(&user, &password, ""), answer);
        assert_eq!(back.unwrap(), PamVerdict::Granted);
    }

    #[tokio::test]
    async fn an_authservice_that_is_silent_or_goes_away_grants_nothing() {
        let here = tempfile::tempdir().unwrap();
        let socket = here.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let pam = Pam::new(&socket).within(Duration::from_millis(50));
        let (user, password) = alice();
        let silent = pam.ask(&user, &password, "").await;
        assert!(matches!(silent, Err(PamError::TimedOut(_))), "{silent:?}");
        drop(listener.accept().await.unwrap());
        let leave = async { drop(listener.accept().await.unwrap()) };
        let (left, ()) = tokio::join!(pam.ask(&user, &password, ""), leave);
        assert!(matches!(left, Err(PamError::Ended(_))), "{left:?}");
    }

    #[tokio::test]
    async fn a_password_that_no_message_holds_is_refused_without_a_question() {
        let here = tempfile::tempdir().unwrap();
        let pam = Pam::new(&here.path().join("nobody"));
        let (user, _) = alice();
        let long = Secret::new("x".repeat(1 << 20));
        let refused = pam.ask(&user, &long, "").await;
        assert_eq!(refused.unwrap(), PamVerdict::Refused);
    }
}
