//! Step: twelve users log in, and are spread over the servers.

use super::story::{BOTH, Login, Story, count_at, spread};
use crate::demo::config::{MEMBERS, REPLICAS, SERVERS};
use crate::demo::table::duration;

pub(super) fn show(story: &mut Story<'_>) -> anyhow::Result<()> {
    story.report.step(
        "Twelve users log in",
        "Six through each replica. The replica ranks the servers by what it has heard of them, and\n\
         asks the best one to admit the session; only then the client is told where to go.",
    );
    let mut logins = Vec::new();
    for (user, replica_idx) in USERS.iter().zip(BOTH.into_iter().cycle()) {
        logins.push(story.log_in(replica_idx, user)?);
    }
    story.print_logins(&logins, &score_note(&logins));
    check_spread(story, &logins);
    let mut took: Vec<_> = logins.iter().map(|login| login.ask.took).collect();
    took.sort();
    story.usual = took.get(took.len() / 2).copied().unwrap_or_default();
    story.sessions = logins
        .into_iter()
        .filter_map(|login| login.session)
        .collect();

    let users: Vec<String> = USERS.map(str::to_owned).to_vec();
    let listed = story.await_listed(&BOTH, &users, "R");
    let text = "both replicas list all twelve sessions as running (status=R)";
    story.report.check_wait(&MEMBERS, listed, text)?;
    check_agreement(story)
}

fn score_note(logins: &[Login]) -> String {
    let mut note = "The first number is the score: how full the server will be with this session. 0 is idle, 1\n\
                    is full; logins on their way count. The server with the lowest one is asked first."
        .to_owned();
    if logins.iter().any(|login| login.why.contains("hot")) {
        note +=
            "\nhot adds 10: tasks wait for CPU or memory there. (All three share this machine.)";
    }
    note
}

fn check_spread(story: &mut Story<'_>, logins: &[Login]) {
    let n_placed = logins
        .iter()
        .filter(|login| login.ask.outcome.is_ok())
        .count();
    let slowest = logins
        .iter()
        .map(|login| login.ask.took)
        .max()
        .unwrap_or_default();
    let text = format!(
        "{n_placed} of {} got a server, the slowest after {}",
        logins.len(),
        duration(slowest)
    );
    story
        .report
        .check(&REPLICAS, n_placed == logins.len(), &text);
    let counts = (0..SERVERS.len()).map(|server_idx| count_at(logins, server_idx));
    let even = counts.max().unwrap_or(0) <= MOST_ON_ONE;
    let text = format!("they are spread over the servers: {}", spread(logins));
    story.report.check(&REPLICAS, even, &text);
}

/// Each user asks again, through the replica that has not placed the session.
fn check_agreement(story: &mut Story<'_>) -> anyhow::Result<()> {
    let mut odd = None;
    for (session, replica_idx) in story.sessions.iter().zip(BOTH.into_iter().rev().cycle()) {
        let ask = story.clients.select(replica_idx, &session.user)?;
        if ask.server_idx() != Some(session.server_idx) {
            odd = Some(format!("{} is sent to {}", session.user, ask.server()));
        }
    }
    let text = match &odd {
        None => "asked again through the other replica, each is sent to the same server".to_owned(),
        Some(odd) => format!("asked again through the other replica, {odd}"),
    };
    story.report.check(&REPLICAS, odd.is_none(), &text);
    Ok(())
}

/// Four are to be expected. But the servers of the demo look at the load of one machine, each
/// at another moment; when that is busy with other things, one may seem worse than it is.
const MOST_ON_ONE: usize = 8;
const USERS: [&str; 12] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "ken",
    "laura",
];
