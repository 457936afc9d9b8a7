//! Step: an operator drains a server.

use std::time::Duration;

use super::story::{BOTH, Story, count_at, spread};
use crate::demo::config::{REPLICAS, server_name};
use crate::wait::{Progress, now};

pub(super) fn show(story: &mut Story<'_>, killed_idx: usize) -> anyhow::Result<()> {
    let session = story.first_session()?;
    let (user, server_idx) = (session.user.clone(), session.server_idx);
    let server = server_name(server_idx);
    let killed = server_name(killed_idx);
    story.report.step(
        &format!("An operator drains {server}"),
        &format!(
            "It is to get new disks, so it takes no new sessions; those that are there can go on.\n\
             (The agent of {killed} is still dead, which leaves one server.)"
        ),
    );
    let told = story
        .farm
        .ctl(server_idx, &["drain", "--reason", "new disks"])?;
    story.report.lines(&[format!(
        "$ x2gobrokerctl … --node {server} drain --reason \"new disks\""
    )]);
    story.report.lines(&[told, String::new()]);
    let logins = story.log_in_visitors(N_LOGINS, &BOTH)?;
    story.check_logins("right after it", &logins);
    let text = format!("no new session went to {server}: {}", spread(&logins));
    story
        .report
        .check(&REPLICAS, count_at(&logins, server_idx) == 0, &text);
    for replica_idx in BOTH {
        let ask = story.clients.select(replica_idx, &user)?;
        let sent = ask.outcome.as_ref().ok();
        let resumed =
            sent.is_some_and(|sent| sent.server_idx == server_idx && sent.state.is_some());
        let text = format!(
            "{} still sends {user} to {} to resume",
            ask.replica,
            ask.server()
        );
        story.report.check(&[ask.replica, server], resumed, &text);
    }
    story.log_out(&logins)?;
    undrain(story, server_idx, server)
}

fn undrain(story: &mut Story<'_>, server_idx: usize, server: &str) -> anyhow::Result<()> {
    let told = story.farm.ctl(server_idx, &["undrain"])?;
    story.report.lines(&[
        String::new(),
        format!("$ x2gobrokerctl … --node {server} undrain"),
        told,
        String::new(),
    ]);
    let begun = now();
    let mut logins = Vec::new();
    let interrupt = story.farm.interrupt.clone();
    let used = interrupt.wait_for(UNDRAIN_LIMIT, || {
        match story.log_in_by_turns() {
            Ok(login) => logins.push(login),
            Err(error) => return Progress::Failed(format!("{error:#}")),
        }
        let used = count_at(&logins, server_idx) > 0;
        Progress::when(used, || format!("{} logins went elsewhere", logins.len()))
    });
    let used = used.map(|()| begun.elapsed());
    let text = format!(
        "new sessions go to {server} again: login number {}",
        logins.len()
    );
    story
        .report
        .check_wait(&[REPLICAS[0], REPLICAS[1], server], used, &text)?;
    story.log_out(&logins)
}

const N_LOGINS: usize = 6;
/// An undrain is told at once; the other server may be the better one for some logins.
const UNDRAIN_LIMIT: Duration = Duration::from_secs(10);
