//! Which command line is a call of an old agent?
//!
//! Over SSH the command is one text that a shell of the other side reads: the login shell of
//! the broker's account there, or that of a forced command. So each operand comes from a
//! type that was checked, holds nothing but characters that are plain to shells, and stands
//! in single quotes all the same.

use proto::{KeyFile, PublicKey, SessionId, Username};

/// What an agent of x2gobroker 0.0.4.3 is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Is it there?
    Ping,
    /// What can it do?
    AvailableTasks,
    /// How loaded is the server?
    CheckLoad,
    /// Which share of all sessions does each server have?
    FindBusyServers(Username),
    /// Which sessions does the user have?
    ListSessions(Username),
    /// Which servers does the session database know, with how many sessions? The user must
    /// be one of the server.
    GetServers(Username),
    /// A session of the user is to be suspended.
    Suspend(Username, SessionId),
    /// A session of the user is to be ended.
    Terminate(Username, SessionId),
    /// A key is to open the user's account.
    AddKey(Username, PublicKey, KeyFile),
    /// It is to open it no more.
    RemoveKey(Username, PublicKey, KeyFile),
}

/// An operand holds a character that could mean something to a shell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} can't stand in a command for an old agent; allowed are letters, digits, blanks and _ . , : @ % + = / -"
)]
pub struct OperandError(String);

impl Call {
    /// The operands behind the program's path.
    #[must_use]
    pub fn operands(&self) -> Vec<&str> {
        match self {
            Self::Ping => vec![ANYBODY, "ping"],
            Self::AvailableTasks => vec![ANYBODY, "availabletasks"],
            Self::CheckLoad => vec![ANYBODY, "checkload"],
            Self::FindBusyServers(user) => vec![user.as_str(), "findbusyservers"],
            Self::ListSessions(user) => vec![user.as_str(), "listsessions"],
            Self::GetServers(user) => vec![user.as_str(), "getservers"],
            Self::Suspend(user, id) => vec![user.as_str(), "suspendsession", id.as_str()],
            Self::Terminate(user, id) => vec![user.as_str(), "terminatesession", id.as_str()],
            Self::AddKey(user, key, file) => {
                vec![user.as_str(), "addauthkey", key.as_str(), file.as_str()]
            }
            Self::RemoveKey(user, key, file) => {
                vec![user.as_str(), "delauthkey", key.as_str(), file.as_str()]
            }
        }
    }

    /// Whose home and sessions it is about, if it is about anybody's.
    #[must_use]
    pub fn user(&self) -> Option<&Username> {
        match self {
            Self::Ping | Self::AvailableTasks | Self::CheckLoad => None,
            Self::FindBusyServers(user)
            | Self::ListSessions(user)
            | Self::GetServers(user)
            | Self::Suspend(user, _)
            | Self::Terminate(user, _)
            | Self::AddKey(user, ..)
            | Self::RemoveKey(user, ..) => Some(user),
        }
    }

    /// The operands, each of them harmless.
    ///
    /// # Errors
    /// When one could mean something to a shell.
    pub fn checked_operands(&self) -> Result<Vec<&str>, OperandError> {
        let operands = self.operands();
        match operands.iter().find(|operand| !is_plain(operand)) {
            None => Ok(operands),
            Some(bad) => Err(OperandError(bad.chars().take(MAX_SHOWN_CHARS).collect())),
        }
    }

    /// The text that an SSH server is given. `program` is a full path without any character
    /// that means something to a shell; the agent of 0.0.4.3 knows its own path as a forced
    /// command only without quotes.
    ///
    /// # Errors
    /// When an operand could mean something to a shell.
    pub fn remote(&self, program: &str) -> Result<String, OperandError> {
        let mut text = program.to_owned();
        for operand in self.checked_operands()? {
            text.push_str(" '");
            text.push_str(operand);
            text.push('\'');
        }
        Ok(text)
    }
}

/// Whether the operand means itself to every shell, in quotes and without.
fn is_plain(operand: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" _.,:@%+=/-".contains(&b);
    !operand.is_empty() && !operand.starts_with(['-', ' ']) && operand.bytes().all(plain)
}

/// The load is nobody's: the original names a user that need not exist.
const ANYBODY: &str = "foo";

/// How much of a broken operand an error shows.
const MAX_SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proto::{KeyFile, PublicKey, SessionId, Username};

    use super::{Call, is_plain};

    const PROGRAM: &str = "/usr/lib/x2go/x2gobroker-agent";
    const KEY: &str = "no-user-rc ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    fn check(call: &Call, expected: &str) {
        assert_eq!(
            call.remote(PROGRAM).unwrap(),
            format!("{PROGRAM} {expected}")
        );
    }

    #[test]
    fn each_call_is_a_command_line_of_the_original() {
        // The tasks of x2gobroker-agent 0.0.4.3, as its `availabletasks` names them.
        let id = SessionId::parse("alice-50-1795323502_stRTERMINAL_dp24").unwrap();
        let (key, file) = (PublicKey::parse(KEY).unwrap(), KeyFile::default());
        check(&Call::Ping, "'foo' 'ping'");
        check(&Call::AvailableTasks, "'foo' 'availabletasks'");
        check(&Call::CheckLoad, "'foo' 'checkload'");
        check(&Call::FindBusyServers(alice()), "'alice' 'findbusyservers'");
        check(&Call::ListSessions(alice()), "'alice' 'listsessions'");
        check(&Call::GetServers(alice()), "'alice' 'getservers'");
        let suspend = "'alice' 'suspendsession' 'alice-50-1795323502_stRTERMINAL_dp24'";
        check(&Call::Suspend(alice(), id.clone()), suspend);
        let terminate = "'alice' 'terminatesession' 'alice-50-1795323502_stRTERMINAL_dp24'";
        check(&Call::Terminate(alice(), id), terminate);
        let add = format!("'alice' 'addauthkey' '{KEY}' '%h/.x2go/authorized_keys'");
        check(&Call::AddKey(alice(), key.clone(), file.clone()), &add);
        let remove = format!("'alice' 'delauthkey' '{KEY}' '%h/.x2go/authorized_keys'");
        check(&Call::RemoveKey(alice(), key, file), &remove);
    }

    #[test]
    fn a_file_whose_name_a_shell_would_read_is_refused() {
        let key = PublicKey::parse(KEY).unwrap();
        for name in [
            "/a'b", "/a;id", "/$HOME/x", "/a`id`", "/a\\b", "/a|b", "/é", "/a!b",
        ] {
            let file = KeyFile::parse(name).unwrap();
            let call = Call::AddKey(alice(), key.clone(), file);
            assert!(call.remote(PROGRAM).is_err(), "{name}");
            assert!(call.checked_operands().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_shell_takes_each_operand_as_it_is(text in any::<String>()) {
            let Ok(user) = Username::parse(&text) else { return Ok(()) };
            let command = Call::ListSessions(user).remote(PROGRAM).unwrap();
            prop_assert_eq!(command, format!("{PROGRAM} '{text}' 'listsessions'"));
        }

        #[test]
        fn nothing_plain_ends_a_quote_or_a_command(text in any::<String>()) {
            let special = |c: char| "'\"\\;&|<>()$`!*?[]{}~#^\n\t".contains(c);
            prop_assert!(!(is_plain(&text) && text.chars().any(special)));
        }
    }
}
