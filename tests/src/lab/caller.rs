//! How does a test outside of the lab ask a broker inside, and measure as a client would?

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::http::HttpResponse;
use crate::plain::PlainAnswer;

/// A program `plain-client` on the client host: it asks when it is told to, one request
/// after the other, each on a new connection, and measures each.
#[derive(Debug)]
pub struct Caller {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What came of one request.
#[derive(Clone, Debug)]
pub struct Call {
    /// From the start of connecting to the end of the answer.
    pub took: Duration,
    /// The answer, or why there is none.
    pub answer: Result<PlainAnswer, String>,
}

impl Caller {
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).context("opening the log of plain-client")?;
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = piped.spawn().context("starting plain-client")?;
        let requests = child.stdin.take().context("plain-client has an input")?;
        let answers = BufReader::new(child.stdout.take().context("plain-client has an output")?);
        Ok(Self {
            child,
            requests,
            answers,
        })
    }

    /// Asks `broker` for the session profiles of `user`.
    ///
    /// # Errors
    /// When the program itself fails; that the broker does not answer is no error.
    pub fn list(&mut self, broker: SocketAddr, user: &str) -> anyhow::Result<Call> {
        self.call(&format!("{broker} listsessions {user} -"))
    }

    /// Asks `broker` for a session of `user` in `profile`.
    ///
    /// # Errors
    /// When the program itself fails; that the broker does not answer is no error.
    pub fn select(
        &mut self,
        broker: SocketAddr,
        user: &str,
        profile: &str,
    ) -> anyhow::Result<Call> {
        self.call(&format!("{broker} selectsession {user} {profile}"))
    }

    fn call(&mut self, request: &str) -> anyhow::Result<Call> {
        writeln!(self.requests, "{request}").context("telling plain-client")?;
        let mut line = String::new();
        let count = self
            .answers
            .read_line(&mut line)
            .context("hearing plain-client")?;
        ensure!(count > 0, "plain-client has ended");
        Call::from_line(line.trim_end()).with_context(|| format!("reading {line:?}"))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Its input ends with this value; until then it is in no request.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Call {
    /// Composes the line that plain-client prints for one request.
    #[must_use]
    pub fn to_line(took: Duration, response: &Result<HttpResponse, String>) -> String {
        let (status, text) = match response {
            Ok(response) => (response.status, response.text()),
            Err(error) => (0, error.clone()),
        };
        let text = text.replace('\\', "\\\\").replace('\n', "\\n");
        format!("{} {status} {text}", took.as_micros())
    }

    pub(super) fn from_line(line: &str) -> anyhow::Result<Self> {
        let mut parts = line.splitn(3, ' ');
        let mut part = || parts.next().context("three parts");
        let took = Duration::from_micros(part()?.parse().context("microseconds")?);
        let status: u16 = part()?.parse().context("status")?;
        let text = unescape(part()?)?;
        let answer = match status {
            0 => Err(text),
            _ => Ok(PlainAnswer::parse(&HttpResponse {
                status,
                headers: vec![],
                body: text.into(),
            })),
        };
        Ok(Self { took, answer })
    }

    /// Returns the X2Go server that was given.
    ///
    /// # Errors
    /// When there is no answer, or it grants nothing or names no server.
    pub fn server(&self) -> anyhow::Result<&str> {
        let answer = match &self.answer {
            Ok(answer) => answer,
            Err(error) => bail!("no answer after {:?}: {error}", self.took),
        };
        let server = answer
            .server
            .as_ref()
            .filter(|_| answer.granted && answer.status == 200);
        let (server, port) = server.with_context(|| format!("not granted: {answer:?}"))?;
        ensure!(*port == 22, "a server without its port: {answer:?}");
        Ok(server)
    }
}

fn unescape(text: &str) -> anyhow::Result<String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('\\') => '\\',
                other => bail!("not an escape: {other:?}"),
            },
            other => other,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(response: &Result<HttpResponse, String>) -> Call {
        let line = Call::to_line(Duration::from_micros(1234), response);
        assert!(!line.contains('\n'));
        Call::from_line(&line).unwrap()
    }

    #[test]
    fn an_answer_survives_the_line() {
        let body = b"Access granted\nSERVER:s1:22\n\\n\\".to_vec();
        let call = there_and_back(&Ok(HttpResponse {
            status: 200,
            headers: vec![],
            body,
        }));
        assert_eq!(call.took, Duration::from_micros(1234));
        assert_eq!(call.server().unwrap(), "s1");
        assert_eq!(
            call.answer.unwrap().text,
            "Access granted\nSERVER:s1:22\n\\n\\"
        );
    }

    #[test]
    fn an_error_survives_the_line() {
        let call = there_and_back(&Err("no connection\n".to_owned()));
        assert_eq!(call.answer.unwrap_err(), "no connection\n");
    }

    #[test]
    fn only_a_granted_server_with_its_port_counts() {
        for body in [
            "SERVER:s1:22\n",
            "Access granted\n",
            "Access granted\nSERVER:s1\n",
        ] {
            let body = body.as_bytes().to_vec();
            let call = there_and_back(&Ok(HttpResponse {
                status: 200,
                headers: vec![],
                body,
            }));
            assert!(call.server().is_err());
        }
    }
}
