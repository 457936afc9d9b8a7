//! What could a user watch on a server?

use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::Args;
use proto::v1::ListDesktopsRequest;
use proto::v1::agent_client::AgentClient;
use proto::{Desktop, Username};
use tonic::transport::Channel;

/// For whom.
#[derive(Clone, Debug, Args)]
pub(super) struct Watcher {
    /// The user who would watch.
    #[arg(long, value_name = "NAME")]
    user: String,
}

/// Asks for the desktops, and lists them as x2golistdesktops(8) does.
pub(super) async fn ask(
    agent: &mut AgentClient<Channel>,
    node: &str,
    watcher: &Watcher,
) -> Result<String> {
    let user = Username::parse(&watcher.user).context("the user")?;
    let request = ListDesktopsRequest {
        node: node.to_owned(),
        user: user.to_string(),
    };
    let desktops = agent.list_desktops(request).await?.into_inner().desktops;
    let mut text = String::new();
    for desktop in desktops {
        writeln!(text, "{}", Desktop::try_from(desktop)?)?;
    }
    if text.is_empty() {
        writeln!(text, "{node} has no desktop that {user} may watch")?;
    }
    Ok(text)
}
