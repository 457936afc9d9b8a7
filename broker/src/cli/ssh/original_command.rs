//! What did the client want to run, where sshd runs x2gobroker-ssh instead (a forced
//! command)? `SSH_ORIGINAL_COMMAND` holds it.

use super::words::{WordsError, commands};

/// What a client runs on an SSH broker.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// X2Go Client's first command, which shows that the login works.
    Greeting,
    /// The broker.
    Broker {
        /// What stands behind the name of the program.
        args: Vec<String>,
        /// What X2Go Client wants around the answer.
        frame: Option<Frame>,
    },
}

/// The lines around an answer, by which X2Go Client finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(String);

/// Why it is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginalCommandError {
    /// It can't be read.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// Something else.
    #[error("only the session broker can be run here")]
    Other,
}

impl Frame {
    /// The line before the answer, without its end.
    #[must_use]
    pub fn begin(&self) -> String {
        format!("{BEGIN}{}", self.0)
    }

    /// The line behind it.
    #[must_use]
    pub fn end(&self) -> String {
        format!("{END}{}", self.0)
    }
}

/// Reads a command. Nothing of it is run.
///
/// # Errors
/// When it is not one of those that clients run on an SSH broker.
pub(super) fn parse(text: &str) -> Result<Asked, OriginalCommandError> {
    let commands = commands(text)?;
    let [command] = commands.as_slice() else {
        return Err(OriginalCommandError::Other);
    };
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", "LOGIN OK"] => Ok(Asked::Greeting),
        ["bash", "-l", "-c", script] => script_of_client(script),
        _ => broker(command, None),
    }
}

/// X2Go Client 4.1.2: `echo "X2GODATABEGIN:UUID"; export PATH="…";export TERM="dumb";
/// PROGRAM ARGS; echo "X2GODATAEND:UUID";`
fn script_of_client(script: &str) -> Result<Asked, OriginalCommandError> {
    let commands = commands(script)?;
    let [begin, exports @ .., call, end] = commands.as_slice() else {
        return Err(OriginalCommandError::Other);
    };
    let mark = echoed(begin, BEGIN).filter(|mark| is_uuid(mark));
    let mark = mark.ok_or(OriginalCommandError::Other)?;
    // What is exported is for a shell that is not there.
    let is_export = |words: &Vec<String>| matches!(words.as_slice(), [word, _] if word == "export");
    if echoed(end, END) != Some(mark) || !exports.iter().all(is_export) {
        return Err(OriginalCommandError::Other);
    }
    broker(call, Some(Frame(mark.to_owned())))
}

/// What `echo` says behind `begin`.
fn echoed<'a>(words: &'a [String], begin: &str) -> Option<&'a str> {
    match words {
        [echo, text] if echo == "echo" => text.strip_prefix(begin),
        _ => None,
    }
}

/// A call of the program, wherever the client believes it to be.
fn broker(words: &[String], frame: Option<Frame>) -> Result<Asked, OriginalCommandError> {
    let Some((program, args)) = words.split_first() else {
        return Err(OriginalCommandError::Other);
    };
    let name = program.rsplit('/').next().unwrap_or_default();
    if !PROGRAMS.contains(&name) {
        return Err(OriginalCommandError::Other);
    }
    Ok(Asked::Broker {
        args: args.to_vec(),
        frame,
    })
}

/// Of 32 hexadecimal digits, in groups.
fn is_uuid(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// The names of the program.
const PROGRAMS: [&str; 2] = ["x2gobroker-ssh", "x2gobroker"];

const BEGIN: &str = "X2GODATABEGIN:";
const END: &str = "X2GODATAEND:";

#[cfg(test)]
mod tests {
    use super::{Asked, OriginalCommandError, parse};

    const UUID: &str = "832d4325-b16c-4d38-a7e4-b1ef5aea707b";

    fn script(call: &str) -> String {
        format!(
            "bash -l -c 'echo \"X2GODATABEGIN:{UUID}\"; export \
             PATH=\"/usr/local/bin:/usr/bin:/bin\";export TERM=\"dumb\"; {call}; echo \
             \"X2GODATAEND:{UUID}\";'"
        )
    }

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(Asked::Greeting) => "greeting".to_owned(),
            Ok(Asked::Broker { args, frame: None }) => args.join(" "),
            Ok(Asked::Broker {
                args,
                frame: Some(frame),
            }) => {
                assert_eq!(frame.begin(), format!("X2GODATABEGIN:{UUID}"));
                assert_eq!(frame.end(), format!("X2GODATAEND:{UUID}"));
                format!("framed {}", args.join(" "))
            }
            Err(OriginalCommandError::Other) => "other".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// golden/client-ssh: what X2Go Client 4.1.2 sent to a forced command.
    #[test]
    fn each_recorded_command_of_the_client_is_read() {
        let recorded = include_str!("../../../../tests/golden/client-ssh/ssh-original-command.txt");
        let commands = recorded
            .lines()
            .map(|line| line.split_once(" cmd=").unwrap());
        let mut n_calls = 0;
        for (_tty, command) in commands {
            let command = command.replace("/srv/fakessh", "/usr/bin/x2gobroker-ssh");
            match parse(&command).unwrap() {
                Asked::Greeting => assert_eq!(command, "echo \"LOGIN OK\""),
                Asked::Broker { args, frame } => {
                    assert!(frame.is_some(), "{command}");
                    assert_eq!(args[..2], ["--user", "alice"], "{command}");
                    n_calls += 1;
                }
            }
        }
        assert_eq!(n_calls, 7);
    }

    #[test]
    fn only_the_broker_is_run() {
        let ssh = "/usr/bin/x2gobroker-ssh";
        for (text, expected) in [
            ("echo \"LOGIN OK\"", "greeting".to_owned()),
            (
                &script(&format!("{ssh} --task testcon")),
                "framed --task testcon".to_owned(),
            ),
            (
                &format!("{ssh} --task testcon"),
                "--task testcon".to_owned(),
            ),
            ("x2gobroker --sid \"a b\"", "--sid a b".to_owned()),
            ("", "other".to_owned()),
            ("echo x", "other".to_owned()),
            ("bash", "other".to_owned()),
            ("bash -c 'x2gobroker-ssh'", "other".to_owned()),
            ("/bin/sh", "other".to_owned()),
            ("x2gobroker-ssh; id", "other".to_owned()),
            ("/usr/bin/x2gobroker-ssh.sh", "other".to_owned()),
            (&script("id"), "other".to_owned()),
            (&script(&format!("id; {ssh}")), "other".to_owned()),
            (&script(ssh).replacen("832d", "932d", 1), "other".to_owned()),
            (&script(ssh).replace("832d", "x32d"), "other".to_owned()),
            (
                &script(ssh).replace("export TERM", "unset TERM"),
                "other".to_owned(),
            ),
            (
                &script(&format!("{ssh} --sid $(id)")),
                "the command holds '$', which only a shell could read".to_owned(),
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
