//! What does a broker answer to a client inside the lab, and how fast? Reads requests
//! (`BROKER TASK USER PROFILE`, one a line) and prints for each the time in microseconds,
//! the status (0 for none) and the body in one line.
#![expect(clippy::print_stdout, reason = "the output is the protocol")]

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};

use tests::http::{HttpClient, HttpError};
use tests::lab::{Call, password};
use tests::plain::Credentials;
use tests::wait::now;

fn main() -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading a request")?;
        let words: Vec<&str> = line.split(' ').collect();
        let &[broker, task, user, profile] = words.as_slice() else {
            bail!("not a request: {line}");
        };
        let broker: SocketAddr = broker.parse().context("the broker's address")?;
        println!("{}", ask(broker, task, user, profile));
    }
    Ok(())
}

/// Asks once, on a new connection as a client does that was just started.
fn ask(broker: SocketAddr, task: &str, user: &str, profile: &str) -> String {
    let password = password(user);
    let who = Credentials::new(user, &password);
    let mut fields = vec![
        ("task", task),
        ("user", who.user),
        ("password", who.password),
    ];
    fields.push(("authid", who.authid));
    if task == "selectsession" {
        fields.extend([("sid", profile), ("login", user)]);
    }
    let begun = now();
    let response = HttpClient::new(broker, DEADLINE).post_form("/plain/", &fields);
    Call::to_line(
        begun.elapsed(),
        &response.map_err(|error| full_text(&error)),
    )
}

fn full_text(error: &HttpError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Longer than any answer may take, so that a slow one is measured and not only missed.
const DEADLINE: Duration = Duration::from_secs(20);
