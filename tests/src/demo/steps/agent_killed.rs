//! Step: an agent is killed, and logins go on.

use std::time::Duration;

use super::story::{BOTH, Login, Story, count_at, spread};
use crate::demo::config::{REPLICAS, SERVERS, server_name};
use crate::wait::{Progress, now};

/// Returns the number of the server whose agent was killed.
pub(super) fn show(story: &mut Story<'_>) -> anyhow::Result<usize> {
    let killed_idx = victim(story)?;
    let killed = server_name(killed_idx);
    let n_sessions = story
        .sessions
        .iter()
        .filter(|session| session.server_idx == killed_idx)
        .count();
    story.report.step(
        &format!("The agent of {killed} is killed (kill -9)"),
        &format!(
            "The {n_sessions} sessions on {killed} run on, but nobody can vouch for that server now. New users log\n\
             in all the time, from the first moment until both replicas have dropped it."
        ),
    );
    story.farm.server_mut(killed_idx)?.agent.kill()?;
    let (logins, dropped) = log_in_until_dropped(story, killed)?;
    let shown = logins.get(..N_SHOWN).unwrap_or(&logins);
    let note = format!(
        "These are the first {} of {}: {}. The replicas see at once that the agent's\n\
         connection broke, and pass it over; gossip takes a little longer to be sure that it is dead.",
        shown.len(),
        logins.len(),
        spread(&logins)
    );
    story.print_logins(shown, &note);
    story.check_logins("meanwhile", &logins);
    let none = count_at(&logins, killed_idx) == 0;
    let text = format!("none was sent to {killed}");
    story.report.check(&REPLICAS, none, &text);
    let text = format!("{killed} left the view of both replicas");
    story.report.check_wait(&REPLICAS, dropped, &text)?;
    story.log_out(&logins)?;
    Ok(killed_idx)
}

/// Any server but the one where the first user's session is suspended, since that one is
/// needed in the next steps; better one with sessions.
fn victim(story: &Story<'_>) -> anyhow::Result<usize> {
    let needed = story.first_session()?.server_idx;
    let others = story.sessions.iter().map(|session| session.server_idx);
    let other = others.into_iter().find(|server_idx| *server_idx != needed);
    Ok(other.unwrap_or((needed + 1) % SERVERS.len()))
}

/// Logs visitors in until both replicas have dropped the server; the second part is how
/// long that took.
fn log_in_until_dropped(
    story: &mut Story<'_>,
    killed: &str,
) -> anyhow::Result<(Vec<Login>, anyhow::Result<Duration>)> {
    let begun = now();
    let mut logins = Vec::new();
    let mut broken = None;
    let interrupt = story.farm.interrupt.clone();
    let dropped = interrupt.wait_for(DROP_LIMIT, || {
        match story.log_in_by_turns() {
            Ok(login) => logins.push(login),
            Err(error) => {
                broken = Some(error);
                return Progress::Failed("a login could not be made".to_owned());
            }
        }
        match story.farm.view_differs(&BOTH, &[killed], false) {
            None => Progress::Ready(()),
            Some((replica, _)) => Progress::NotYet(format!("{replica} still sees {killed}")),
        }
    });
    match broken {
        Some(error) => Err(error),
        None => Ok((logins, dropped.map(|()| begun.elapsed()))),
    }
}

/// Enough to see the first replica find out.
const N_SHOWN: usize = 4;
/// The failure detector needs some rounds of silence; a busy machine makes it patient.
const DROP_LIMIT: Duration = Duration::from_secs(45);
