//! Step: a replica is killed, and clients take the other.

use std::time::Duration;

use super::story::Story;
use crate::demo::config::{REPLICAS, server_name};
use crate::demo::table::duration;

/// The replica that is killed, and the other.
pub(super) const KILLED_IDX: usize = 0;
const OTHER_IDX: usize = 1;

pub(super) fn show(story: &mut Story<'_>) -> anyhow::Result<()> {
    let (killed, other) = (REPLICAS[KILLED_IDX], REPLICAS[OTHER_IDX]);
    story.report.step(
        &format!("{killed} is killed (kill -9)"),
        "All it knew, the other replica knows as well.",
    );
    if let Some(replica) = story.farm.replicas.get_mut(KILLED_IDX) {
        replica.process.kill()?;
    }
    let session = story.first_session()?;
    let (user, server_idx) = (session.user.clone(), session.server_idx);
    let refused = story.clients.select(KILLED_IDX, &user)?;
    let ask = story.clients.select(OTHER_IDX, &user)?;
    let gone = refused.outcome.is_err() && refused.took <= NEXT_LIMIT;
    let text = format!(
        "{killed} refuses connections at once ({}): a client takes the next address",
        duration(refused.took)
    );
    story.report.check(&[other], gone, &text);
    let held = ask.server_idx() == Some(server_idx) && ask.took <= NEXT_LIMIT;
    let server = server_name(server_idx);
    let text = format!(
        "{other} answers the next request after {}: {user} is sent to {}, where the session is",
        duration(ask.took),
        ask.server(),
    );
    story.report.check(&[other, server], held, &text);
    let logins = story.log_in_visitors(N_LOGINS, &[OTHER_IDX])?;
    story.check_logins("new users", &logins);
    story.log_out(&logins)
}

const N_LOGINS: usize = 6;
/// What a person would not notice.
const NEXT_LIMIT: Duration = Duration::from_millis(500);
