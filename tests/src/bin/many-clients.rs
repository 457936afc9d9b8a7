//! What do brokers answer to many clients at once inside the lab? Reads requests
//! (`NUMBER BROKER PATH FORM`, one a line) and asks each on a connection and in a thread of
//! its own; prints for each, when it is answered, its number, the time in microseconds, the
//! status (0 for none) and the body in one line.
#![expect(clippy::print_stdout, reason = "the output is the protocol")]

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};

use tests::http::{HttpClient, HttpError};
use tests::lab::Call;
use tests::wait::now;

fn main() -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading a request")?;
        let words: Vec<&str> = line.split(' ').collect();
        let &[number, broker, path, form] = words.as_slice() else {
            bail!("not a request: {line}");
        };
        let broker: SocketAddr = broker.parse().context("the broker's address")?;
        let (number, path, form) = (number.to_owned(), path.to_owned(), form.to_owned());
        // As many threads as whoever asks waits for.
        std::thread::spawn(move || println!("{number} {}", ask(broker, &path, &form)));
    }
    Ok(())
}

/// Asks once, on a new connection.
fn ask(broker: SocketAddr, path: &str, form: &str) -> String {
    let begun = now();
    let response = HttpClient::new(broker, DEADLINE).post(path, form);
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
const DEADLINE: Duration = Duration::from_secs(60);
