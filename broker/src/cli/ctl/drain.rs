//! How does an operator drain a server, and see until when?

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pki::{Clock, UnixTime, rfc3339};
use proto::v1::SetDrainRequest;
use proto::v1::agent_client::AgentClient;
use proto::{AtDeadline, Deadline, Drain, NodeState, Readiness};
use tonic::transport::Channel;

use super::when::When;

/// Why, until when, and what then.
#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Why, for other operators.
    #[arg(long, default_value = "")]
    reason: String,

    /// When to wait no longer: after a time (90s, 30m, 2h, 1d), or at a moment of UTC
    /// (2026-12-01T18:00:00Z); at most 30 days ahead.
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    deadline: Option<When>,

    /// What happens at the deadline.
    #[arg(long, value_enum, requires = "deadline", default_value = "accept")]
    then: Then,
}

/// What happens at the deadline.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Then {
    /// The drain ends: new sessions are taken again.
    Accept,
    /// What still runs is suspended; the server stays drained, and nothing is resumed there.
    Suspend,
    /// All sessions are ended, suspended ones too; the server stays drained.
    Terminate,
}

/// Asks for it, and says what has come of it.
pub(super) async fn drain(
    agent: &mut AgentClient<Channel>,
    node: &str,
    options: &Options,
) -> Result<String> {
    let now = Clock::system().since_epoch();
    let drain = options.drain(now)?;
    let deadline = drain.deadline;
    let readiness = set(agent, drain.into()).await?;
    let told = describe(&readiness, now);
    match readiness {
        Readiness::Draining(drain) if drain.deadline == deadline => {
            Ok(format!("{node} is {told}\n"))
        }
        Readiness::Draining(_) => bail!(
            "{node} is {told}, without the deadline: its agent is of a version that knows of none"
        ),
        Readiness::Ready | Readiness::NotReady { .. } | Readiness::Leaving => {
            bail!("{node} answered that it is {told}")
        }
    }
}

/// Ends the drain, and says what has come of it.
pub(super) async fn undrain(agent: &mut AgentClient<Channel>, node: &str) -> Result<String> {
    let readiness = set(agent, SetDrainRequest::default()).await?;
    if matches!(readiness, Readiness::Draining(_)) {
        bail!("{node} answered that it is {readiness}");
    }
    Ok(format!("{node} is {readiness}\n"))
}

async fn set(agent: &mut AgentClient<Channel>, request: SetDrainRequest) -> Result<Readiness> {
    let state = agent.set_drain(request).await?.into_inner().state;
    let state = NodeState::try_from(state.context("the answer holds no state")?)?;
    Ok(state.readiness)
}

/// How a server is, with the deadline of its drain.
pub(super) fn describe(readiness: &Readiness, since_epoch: Duration) -> String {
    let Readiness::Draining(drain) = readiness else {
        return readiness.to_string();
    };
    let Some(Deadline { at, then }) = drain.deadline else {
        return readiness.to_string();
    };
    let date = rfc3339(UnixTime::since_unix_epoch(Duration::from_secs(at)));
    let mut text = match (drain.due(since_epoch), then) {
        (None, AtDeadline::Accept) => {
            format!("draining until {date}, then new sessions are taken again")
        }
        (None, AtDeadline::Suspend) => {
            format!("draining until {date}, then sessions are suspended")
        }
        (None, AtDeadline::Terminate) => format!("draining until {date}, then sessions are ended"),
        (Some(AtDeadline::Accept), _) => format!("draining until {date}"),
        (Some(AtDeadline::Suspend), _) => {
            format!("draining, sessions are suspended since {date}")
        }
        (Some(AtDeadline::Terminate), _) => format!("draining, sessions are ended since {date}"),
    };
    if !drain.reason.is_empty() {
        text += &format!(": {}", drain.reason);
    }
    text
}

impl Options {
    fn drain(&self, since_epoch: Duration) -> Result<Drain> {
        let then = self.then.into();
        let deadline = self.deadline.map(|when| {
            let at = when.at(since_epoch);
            Deadline { at, then }.check(since_epoch)
        });
        Ok(Drain {
            deadline: deadline.transpose()?,
            ..Drain::new(&self.reason)
        })
    }
}

impl From<Then> for AtDeadline {
    fn from(then: Then) -> Self {
        match then {
            Then::Accept => Self::Accept,
            Then::Suspend => Self::Suspend,
            Then::Terminate => Self::Terminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;
    use proto::{AtDeadline, Deadline, Drain, Readiness};

    use super::super::{Command, Ctl};
    use super::describe;

    /// 2026-11-28T17:00:00Z.
    const NOW: Duration = Duration::from_secs(1_795_885_200);
    const HOUR: u64 = 3600;

    fn drain(options: &[&str]) -> Result<Drain, String> {
        let begin = ["x2gobrokerctl", "--node", "s1", "drain"];
        let parsed = Ctl::try_parse_from([&begin, options].concat());
        match parsed.map_err(|error| error.to_string())?.command {
            Command::Drain(options) => options.drain(NOW).map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_says_why_until_when_and_what_then() {
        let at = NOW.as_secs() + HOUR;
        let with = |then| Drain {
            deadline: Some(Deadline { at, then }),
            ..Drain::new("disks")
        };
        let rows: [(&[&str], Drain); 5] = [
            (&[], Drain::default()),
            (&["--reason", "disks"], Drain::new("disks")),
            (
                &["--reason", "disks", "--deadline", "1h"],
                with(AtDeadline::Accept),
            ),
            (
                &["--reason=disks", "--deadline=60m", "--then=suspend"],
                with(AtDeadline::Suspend),
            ),
            (
                &[
                    "--reason=disks",
                    "--deadline=2026-11-28T18:00:00Z",
                    "--then=terminate",
                ],
                with(AtDeadline::Terminate),
            ),
        ];
        for (options, expected) in rows {
            assert_eq!(drain(options), Ok(expected), "{options:?}");
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_what_is_wrong() {
        let rows: [(&[&str], &str); 6] = [
            (&["--then", "suspend"], "--deadline <WHEN>"),
            (&["--then", "accept"], "--deadline <WHEN>"),
            (&["--deadline", "1h", "--then", "reboot"], "possible values"),
            (&["--deadline", "soon"], "2026-12-01T18:00:00Z"),
            (&["--deadline", "2026-11-28T16:59:59Z"], "not in the future"),
            (&["--deadline", "31d"], "more than 30 days ahead"),
        ];
        for (options, expected) in rows {
            let error = drain(options).unwrap_err();
            assert!(error.contains(expected), "{options:?}: {error}");
        }
    }

    #[test]
    fn status_says_until_when_and_what_then() {
        let (later, before) = (NOW.as_secs() + HOUR, NOW.as_secs() - HOUR);
        let rows = [
            (
                later,
                AtDeadline::Suspend,
                "draining until 2026-11-28T18:00:00Z, then sessions are suspended: disks",
            ),
            (
                later,
                AtDeadline::Terminate,
                "draining until 2026-11-28T18:00:00Z, then sessions are ended: disks",
            ),
            (
                later,
                AtDeadline::Accept,
                "draining until 2026-11-28T18:00:00Z, then new sessions are taken again: disks",
            ),
            (
                before,
                AtDeadline::Suspend,
                "draining, sessions are suspended since 2026-11-28T16:00:00Z: disks",
            ),
            (
                before,
                AtDeadline::Terminate,
                "draining, sessions are ended since 2026-11-28T16:00:00Z: disks",
            ),
        ];
        for (at, then, expected) in rows {
            let drain = Drain {
                deadline: Some(Deadline { at, then }),
                ..Drain::new("disks")
            };
            assert_eq!(describe(&Readiness::Draining(drain), NOW), expected);
        }
        let without = Readiness::Draining(Drain::new("disks"));
        assert_eq!(describe(&without, NOW), "draining: disks");
        assert_eq!(describe(&Readiness::Ready, NOW), "ready");
    }
}
