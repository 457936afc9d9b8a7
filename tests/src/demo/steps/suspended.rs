//! Step: a suspended session is found through every replica.

use super::story::{BOTH, Story};
use crate::demo::config::{REPLICAS, server_name};
use crate::demo::table::{hide_cookie, wrap_record};

pub(super) fn show(story: &mut Story<'_>) -> anyhow::Result<()> {
    let session = story.first_session()?;
    let (user, server_idx, id) = (session.user.clone(), session.server_idx, session.id.clone());
    let server = server_name(server_idx);
    story.report.step(
        "A session is suspended, and found again",
        &format!(
            "The client of {user} closes; x2goserver on {server} writes that down, and the agent there\n\
             tells all replicas. At the next login the session can be resumed through any of them."
        ),
    );
    story.farm.server(server_idx)?.database.suspend(&id)?;
    let listed = story.await_listed(&BOTH, std::slice::from_ref(&user), "S");
    let about = [REPLICAS[0], REPLICAS[1], server];
    let text = "both replicas list the session as suspended (status=S)";
    story.report.check_wait(&about, listed, text)?;
    let mut record = None;
    for replica_idx in BOTH {
        let ask = story.clients.select(replica_idx, &user)?;
        let sent = ask.outcome.as_ref().ok();
        let resumed = sent.is_some_and(|sent| {
            sent.server_idx == server_idx && sent.state.as_deref() == Some("S")
        });
        let text = format!(
            "{} sends {user} to {}, with the session to resume",
            ask.replica,
            ask.server()
        );
        story.report.check(&about, resumed, &text);
        record = sent.and_then(|sent| sent.session_info.clone()).or(record);
    }
    if let Some(record) = record {
        story
            .report
            .note("\nThis is what X2Go Client resumes from (its secret cookie is not shown here):");
        let record = hide_cookie(&format!("SESSION_INFO:{record}"));
        story.report.lines(&wrap_record(&record, RECORD_WIDTH));
    }
    Ok(())
}

/// As wide as the screen, without the indentation.
const RECORD_WIDTH: usize = 92;
