//! Step: what was killed is started again, and finds its place.

use std::time::Duration;

use super::replica_killed::KILLED_IDX;
use super::story::{BOTH, Story};
use crate::demo::config::{REPLICAS, SERVERS, server_name};
use crate::wait::now;

pub(super) fn show(story: &mut Story<'_>, server_idx: usize) -> anyhow::Result<()> {
    let server = server_name(server_idx);
    let replica = REPLICAS[KILLED_IDX];
    story.report.step(
        &format!("{replica} and the agent of {server} are started again"),
        "As systemd would do. Nothing has to be restored: the replica learns the farm from its\n\
         members, the agent its sessions from the session database.",
    );
    let begun = now();
    story.farm.restart_replica(KILLED_IDX)?;
    story.clients = story.farm.clients();
    let seen = story
        .farm
        .await_view(BACK_LIMIT, &[KILLED_IDX], &others(server), true);
    let seen = seen.map(|()| begun.elapsed());
    let text = format!("{replica} sees the farm");
    story.report.check_wait(&[replica], seen, &text)?;

    let begun = now();
    story.farm.restart_agent(server_idx)?;
    let seen = story.farm.await_view(BACK_LIMIT, &BOTH, &SERVERS, true);
    let seen = seen.map(|()| begun.elapsed());
    let about = [REPLICAS[0], REPLICAS[1], server];
    story
        .report
        .check_wait(&about, seen, &format!("both replicas see {server}"))?;

    let there = story
        .sessions
        .iter()
        .filter(|session| session.server_idx == server_idx);
    let users: Vec<String> = there.map(|session| session.user.clone()).collect();
    let listed = story.await_listed(&BOTH, &users, "R");
    let text = format!("both list its {} sessions as running again", users.len());
    story
        .report
        .check_wait(&about, listed.map(|_| begun.elapsed()), &text)?;
    Ok(())
}

/// The servers whose agents were not killed.
fn others(server: &str) -> Vec<&'static str> {
    SERVERS
        .into_iter()
        .filter(|other| *other != server)
        .collect()
}

/// Gossip needs a few rounds of 0.2 s; a busy machine some more.
const BACK_LIMIT: Duration = Duration::from_secs(30);
