//! What is shown, in which order? Each step is a file; [`story`] is what they share.

mod agent_killed;
mod back;
mod drained;
mod logins;
mod replica_killed;
mod start;
mod story;
mod suspended;

use super::farm::Farm;
use super::report::Report;
use story::Story;

/// What stands at the top of the screen.
pub(super) const INTRODUCTION: &str = "
x2gobroker tells X2Go Client where in a farm of X2Go servers a user's session waits, or where
a new one is to start. Any number of replicas of the broker answer; an agent on each server
knows its sessions; there is no centre, and no database but x2goserver's own.

Everything below is real: programs, certificates, TLS, SQLite session databases. Only the
users are played by this demo, and x2goserver, which writes down their sessions.";

/// Shows everything. Claims that don't hold are in the report.
///
/// # Errors
/// When the show can't go on, or was interrupted.
pub(super) fn show(farm: &mut Farm, report: &mut Report) -> anyhow::Result<()> {
    start::show(farm, report)?;
    let mut story = Story::new(farm, report);
    logins::show(&mut story)?;
    suspended::show(&mut story)?;
    let killed_idx = agent_killed::show(&mut story)?;
    drained::show(&mut story, killed_idx)?;
    replica_killed::show(&mut story)?;
    back::show(&mut story, killed_idx)?;
    story.check_secrets()?;
    story.tell_memory();
    Ok(())
}
