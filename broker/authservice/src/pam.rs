//! What does PAM say about a user and a password?
//!
//! Runs in a process of its own, for one question. A broker's client can send one
//! password and no more, so that is the answer to each prompt with hidden input; a prompt
//! with visible input, for a code say, can't be answered and the login is refused. A
//! password that has run out can't be changed in between either.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nonstick::items::ItemsMut;
use nonstick::{
    AuthnFlags, ConversationAdapter, ErrorCode, PamShared, Transaction, TransactionBuilder,
};
use proto::{BrokerUser, PamQuestion, PamVerdict};
use zeroize::Zeroizing;

/// Asks the PAM service whether the password is right and the account may be used.
#[must_use]
pub fn ask(service: &str, question: &PamQuestion) -> PamVerdict {
    // PAM's texts end at a zero byte; there is no such user or password.
    let texts = [
        question.user.as_bytes(),
        &question.password,
        question.client.as_bytes(),
    ];
    if texts.iter().any(|text| text.contains(&0)) {
        return PamVerdict::Refused;
    }
    if BrokerUser::parse(&question.user).is_err() || question.password.is_empty() {
        return PamVerdict::Refused;
    }
    match converse(service, question) {
        Ok(()) => PamVerdict::Granted,
        Err(error) => verdict(error),
    }
}

fn converse(service: &str, question: &PamQuestion) -> nonstick::Result<()> {
    let answers = Answers(question.password.clone());
    let mut transaction = TransactionBuilder::new_with_service(service)
        .username(&question.user)
        .build(answers.into_conversation())?;
    if !question.client.is_empty() {
        let client = Some(OsStr::new(&question.client));
        transaction.items_mut().set_remote_host(client)?;
    }
    let flags = AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK;
    transaction.authenticate(flags)?;
    transaction.account_management(flags)
}

/// What the broker is told. What can't be told apart is refused, never granted.
fn verdict(error: ErrorCode) -> PamVerdict {
    match error {
        ErrorCode::NewAuthTokRequired | ErrorCode::AuthTokExpired => PamVerdict::PasswordExpired,
        ErrorCode::OpenError
        | ErrorCode::SymbolError
        | ErrorCode::ServiceError
        | ErrorCode::SystemError
        | ErrorCode::BufferError
        | ErrorCode::AuthInfoUnavailable
        | ErrorCode::Abort => PamVerdict::Unavailable,
        _ => PamVerdict::Refused,
    }
}

/// What is answered to the modules' prompts.
struct Answers(Zeroizing<Vec<u8>>);

impl ConversationAdapter for Answers {
    fn prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Err(ErrorCode::ConversationError)
    }

    fn masked_prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Ok(OsStr::from_bytes(&self.0).to_owned())
    }

    fn error_msg(&self, _: impl AsRef<OsStr>) {}

    fn info_msg(&self, _: impl AsRef<OsStr>) {}
}

#[cfg(test)]
mod tests {
    use nonstick::ErrorCode;
    use proto::{PamQuestion, PamVerdict};
    use zeroize::Zeroizing;

    use super::{ask, verdict};

    #[test]
    fn what_pam_can_not_be_asked_is_refused() {
        for (user, password) in [
            ("alice", &b"a\0b"[..]),
            ("alice", b""),
            ("", b"pw"),
            ("../alice", b"pw"),
            ("a\0b", b"pw"),
        ] {
            let question = PamQuestion {
                user: user.to_owned(),
                password: Zeroizing::new(password.to_vec()),
                client: String::new(),
            };
            assert_eq!(
                ask("x2gobroker", &question),
                PamVerdict::Refused,
                "{user:?}"
            );
        }
    }

    #[test]
    fn no_error_means_granted() {
        for (error, expected) in [
            (ErrorCode::AuthenticationError, PamVerdict::Refused),
            (ErrorCode::UserUnknown, PamVerdict::Refused),
            (ErrorCode::AccountExpired, PamVerdict::Refused),
            (ErrorCode::MaxTries, PamVerdict::Refused),
            (ErrorCode::ConversationError, PamVerdict::Refused),
            (ErrorCode::NewAuthTokRequired, PamVerdict::PasswordExpired),
            (ErrorCode::AuthInfoUnavailable, PamVerdict::Unavailable),
            (ErrorCode::SystemError, PamVerdict::Unavailable),
        ] {
            assert_eq!(verdict(error), expected, "{error:?}");
        }
    }
}
