//! How does a test ask brokers inside the lab many things at once, from any host?

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context as _;

use super::caller::Call;
use crate::http::encode_form;

/// A program `many-clients` on a host of the lab. Threads that share this value ask at the
/// same time, each request on a connection of its own.
#[derive(Debug)]
pub struct Clients {
    child: Child,
    requests: Mutex<Requests>,
    waiting: Waiting,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Requests {
    /// None when this value is being dropped.
    input: Option<ChildStdin>,
    n_sent: u64,
}

/// Who waits for which answer; none when the program has ended.
type Waiting = Arc<Mutex<Option<HashMap<u64, SyncSender<Call>>>>>;

impl Clients {
    pub(super) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).context("opening the log of many-clients")?;
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(log).spawn().context("starting many-clients")?;
        let input = child.stdin.take().context("many-clients has an input")?;
        let output = child.stdout.take().context("many-clients has an output")?;
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let reader = {
            let waiting = Arc::clone(&waiting);
            std::thread::spawn(move || hand_out(output, &waiting))
        };
        Ok(Self {
            child,
            requests: Mutex::new(Requests {
                input: Some(input),
                n_sent: 0,
            }),
            waiting,
            reader: Some(reader),
        })
    }

    /// Posts a form to `/plain/` of `broker` and waits for the answer.
    ///
    /// # Errors
    /// When the program itself fails; that the broker does not answer is no error.
    pub fn post(&self, broker: SocketAddr, fields: &[(&str, &str)]) -> anyhow::Result<Call> {
        self.post_encoded(broker, &encode_form(fields))
    }

    /// [`Self::post`] with a form that is encoded already, without blanks.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn post_encoded(&self, broker: SocketAddr, form: &str) -> anyhow::Result<Call> {
        let (answer, answered) = sync_channel(1);
        {
            let mut requests = lock(&self.requests);
            let number = requests.n_sent;
            requests.n_sent += 1;
            let mut waiting = lock(&self.waiting);
            let waiting = waiting.as_mut().context("many-clients has ended")?;
            waiting.insert(number, answer);
            let input = requests.input.as_mut().context("many-clients has ended")?;
            writeln!(input, "{number} {broker} /plain/ {form}").context("telling many-clients")?;
        }
        answered.recv().context("many-clients has ended")
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It leaves at the end of its input, and its output ends with it.
        lock(&self.requests).input.take();
        let _ = self.reader.take().map(JoinHandle::join);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives each answer to who waits for it, until there are no more.
fn hand_out(output: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let Some((number, answer)) = line.split_once(' ') else {
            break;
        };
        let (Ok(number), Ok(call)) = (number.parse::<u64>(), Call::from_line(answer)) else {
            break;
        };
        let asker = lock(waiting).as_mut().and_then(|all| all.remove(&number));
        // Who asked may have given up.
        if let Some(asker) = asker {
            let _ = asker.send(call);
        }
    }
    lock(waiting).take();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
