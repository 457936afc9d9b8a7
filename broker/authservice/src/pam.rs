//! What does PAM say about a user and a password, and does it take another password?
//!
//! Runs in a process of its own, for one question. What is answered to prompts is for
//! `answers`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::unistd::{Uid, User, setresuid};
use nonstick::items::{Items, ItemsMut};
use nonstick::{
    AuthnFlags, AuthtokFlags, ConversationAdapter, ErrorCode, PamShared, Transaction,
    TransactionBuilder,
};
use proto::{BrokerUser, PamQuestion, PamVerdict};
use tracing::{error, warn};

use crate::answers::{Answers, Prompt};

/// The PAM service that is asked, and how.
#[derive(Clone, Debug)]
pub struct PamOptions {
    /// A file of `/etc/pam.d`.
    pub service: String,
    /// What stands between the password and a code for a second prompt.
    pub code_separator: Option<char>,
}

/// Asks the PAM service whether the password is right and the account may be used, and
/// changes the password if the question says so.
#[must_use]
pub fn ask(options: &PamOptions, question: &PamQuestion) -> PamVerdict {
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
    converse(options, question).unwrap_or_else(verdict)
}

fn converse(options: &PamOptions, question: &PamQuestion) -> nonstick::Result<PamVerdict> {
    let answers = Answers::new(question, options.code_separator);
    let conversation = Telling(&answers).into_conversation();
    let mut transaction = TransactionBuilder::new_with_service(&options.service)
        .username(&question.user)
        .build(conversation)?;
    if !question.client.is_empty() {
        let client = Some(OsStr::new(&question.client));
        transaction.items_mut().set_remote_host(client)?;
    }
    let flags = AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK;
    transaction.authenticate(flags)?;
    let account = transaction.account_management(flags);
    match (account, &question.new_password) {
        (Ok(()), None) => Ok(PamVerdict::Granted),
        // A password that has run out is what people change.
        (Ok(()) | Err(ErrorCode::NewAuthTokRequired), Some(new)) => {
            answers.begin_change();
            Ok(change(&mut transaction, &question.user, new))
        }
        (Err(error), _) => Err(error),
    }
}

/// Changes the password of somebody who has shown the old one.
fn change(transaction: &mut impl Transaction, user: &str, new: &[u8]) -> PamVerdict {
    let can_be_one = (1..=MAX_NEW_PASSWORD).contains(&new.len()) && !new.contains(&0);
    let is_same = transaction.items().user().ok().flatten();
    if is_same.as_deref() != Some(OsStr::new(user)) {
        warn!(
            user,
            "a module of PAM made another user of this one; nothing is changed"
        );
        return PamVerdict::NewPasswordRefused;
    }
    if !can_be_one || !become_caller(user) {
        return PamVerdict::NewPasswordRefused;
    }
    match transaction.change_authtok(AuthtokFlags::empty()) {
        Ok(()) => PamVerdict::Changed,
        Err(error) => change_verdict(error),
    }
}

/// Makes the user the real user of this process, as passwd(1) has it: modules then ask for
/// the old password again, keep to the least age of a password, and refuse weak ones, which
/// they let root choose.
fn become_caller(user: &str) -> bool {
    let found = match User::from_name(user) {
        Ok(Some(found)) if !found.uid.is_root() => found,
        Ok(Some(_)) => {
            warn!(user, "the password of root is not changed here");
            return false;
        }
        Ok(None) => {
            warn!(user, "the system knows no such user; nothing is changed");
            return false;
        }
        Err(error) => {
            error!(user, error = %error, "the user can't be looked up");
            return false;
        }
    };
    let root = Uid::from_raw(0);
    let became = setresuid(found.uid, root, root);
    if let Err(error) = &became {
        error!(user, error = %error, "the process can't become the user's");
    }
    became.is_ok()
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

/// The old password was right, whatever is wrong now.
fn change_verdict(error: ErrorCode) -> PamVerdict {
    warn!(why = %error, "PAM changed no password");
    PamVerdict::NewPasswordRefused
}

/// Carries answers to modules.
struct Telling<'a>(&'a Answers);

impl Telling<'_> {
    fn tell(&self, prompt: Prompt<'_>) -> nonstick::Result<OsString> {
        let answer = self.0.to(prompt).ok_or(ErrorCode::ConversationError)?;
        Ok(OsStr::from_bytes(answer).to_owned())
    }
}

impl ConversationAdapter for Telling<'_> {
    fn prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        self.tell(Prompt::Visible)
    }

    fn masked_prompt(&self, text: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        self.tell(Prompt::Hidden(&text.as_ref().to_string_lossy()))
    }

    fn error_msg(&self, _: impl AsRef<OsStr>) {}

    fn info_msg(&self, _: impl AsRef<OsStr>) {}
}

/// Linux-PAM takes answers of 512 bytes, a zero byte at the end included.
const MAX_NEW_PASSWORD: usize = 511;

#[cfg(test)]
mod tests {
    use nonstick::ErrorCode;
    use proto::{PamQuestion, PamVerdict};
    use zeroize::Zeroizing;

    use super::{PamOptions, ask, verdict};

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
                new_password: Some(Zeroizing::new(b"next".to_vec())),
            };
            let options = PamOptions {
                service: "x2gobroker".to_owned(),
                code_separator: None,
            };
            assert_eq!(ask(&options, &question), PamVerdict::Refused, "{user:?}");
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
