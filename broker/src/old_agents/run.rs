//! Starts one program and takes what it says, within bounds.

use std::io;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// What a program said until it ended. Not for logs: session cookies are in it.
#[derive(Default)]
pub(super) struct Said {
    pub(super) stdout: String,
    /// The start of its standard error.
    pub(super) stderr: String,
    /// None when a signal ended it.
    pub(super) code: Option<i32>,
    /// It said more than is taken.
    pub(super) too_much: bool,
}

/// Starts `program` with nothing of this process's surroundings. Dropped, it is killed. It
/// starts no programs of its own but in `LOCAL` mode, where they end with it.
#[expect(
    clippy::disallowed_methods,
    reason = "old agents have no other way in: the OpenSSH client, or the program itself"
)]
pub(super) fn start(program: &str, operands: &[String]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(operands)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn()
}

/// Takes what it says until it ends.
pub(super) async fn talk(child: &mut Child) -> io::Result<Said> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(
        bounded(stdout, MAX_OUTPUT_BYTES),
        bounded(stderr, MAX_ERROR_BYTES)
    );
    let ((stdout, more), (stderr, _)) = (stdout?, stderr?);
    let status = child.wait().await?;
    Ok(Said {
        stdout,
        stderr: stderr.trim().to_owned(),
        code: status.code(),
        too_much: more,
    })
}

/// The start of what is said, and whether there was more. The rest is thrown away, so that
/// whoever talks can end.
async fn bounded(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<(String, bool)> {
    let Some(mut from) = from else {
        return Ok((String::new(), false));
    };
    let mut bytes = Vec::new();
    (&mut from).take(most).read_to_end(&mut bytes).await?;
    let n_more = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), n_more > 0))
}

/// Reads the start of what a program said that has ended.
pub(super) async fn last_words(child: &mut Child) -> String {
    let words = bounded(child.stderr.take(), MAX_ERROR_BYTES).await;
    words.map_or_else(|_| String::new(), |(text, _)| text.trim().to_owned())
}

/// Some thousand sessions.
const MAX_OUTPUT_BYTES: u64 = 512 << 10;
/// For the log.
const MAX_ERROR_BYTES: u64 = 1 << 10;

#[cfg(test)]
mod tests {
    use super::{MAX_OUTPUT_BYTES, start, talk};

    async fn said(script: &str) -> super::Said {
        let words = ["-c", script].map(str::to_owned);
        let mut child = start("/bin/sh", &words).unwrap();
        talk(&mut child).await.unwrap()
    }

    #[tokio::test]
    async fn output_errors_and_code_come_back() {
        let said = said("echo OK; echo bad >&2; exit 3").await;
        assert_eq!(
            (said.stdout.as_str(), said.stderr.as_str()),
            ("OK\n", "bad")
        );
        assert_eq!((said.code, said.too_much), (Some(3), false));
    }

    #[tokio::test]
    async fn one_that_never_stops_talking_is_cut_short() {
        let said = said("head -c 2000000 /dev/zero; head -c 100000 /dev/zero >&2").await;
        assert_eq!(said.stdout.len() as u64, MAX_OUTPUT_BYTES);
        assert!(said.too_much && said.stderr.len() <= 1024);
    }

    #[tokio::test]
    async fn nothing_of_our_surroundings_is_passed_on() {
        let said = said("env | cut -d= -f1 | sort | tr '\\n' ' '").await;
        // The shell itself adds the last two.
        let known = ["LANG", "PATH", "PWD", "_", "SHLVL", "OLDPWD"];
        let others: Vec<_> = said.stdout.split_whitespace().collect();
        assert!(others.iter().all(|name| known.contains(name)), "{others:?}");
    }
}
