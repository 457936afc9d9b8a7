//! Does ours answer each recorded request as the original did?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tests::wait::{Progress, now, wait_for};

use crate::case::{Case, Step, load_all, recorded};
use crate::differences::{Allowed, Table};
use crate::keys::{self, Looked};
use crate::message::{self, Response};
use crate::normal;
use crate::notes::Varying;
use crate::servers::{Servers, wait_for_all};
use crate::site::{Replica, Site};
use crate::state::State;
use crate::talk::Connection;

/// What came of some cases.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    n_cases: usize,
    n_same: usize,
    n_different: usize,
    wrong: Vec<String>,
    used: BTreeSet<(usize, usize)>,
    names: Vec<String>,
}

/// Replays all cases that `wanted` picks, those with the same files on one replica.
pub(crate) fn replay(table: &Table, wanted: impl Fn(&Case) -> bool) {
    let begun = now();
    let cases = load_all(&recorded()).unwrap();
    let mut groups: BTreeMap<(&str, &str), Vec<&Case>> = BTreeMap::new();
    for case in cases.iter().filter(|case| wanted(case)) {
        groups
            .entry((&case.config, &case.profiles))
            .or_default()
            .push(case);
    }
    let site = Site::new();
    site.identity("broker", "broker");
    let mut outcome = Outcome::default();
    for ((config, profiles), members) in groups {
        let mut group = Group {
            table,
            site: &site,
            config,
            profiles,
            cases: &cases,
            farm: Farm::None,
        };
        for case in members {
            group.replay(case, &mut outcome);
        }
    }
    outcome.finish(table, begun.elapsed());
}

impl Outcome {
    /// Begins with a case.
    pub(crate) fn begin(&mut self, name: &str) {
        self.n_cases += 1;
        self.names.push(name.to_owned());
    }

    /// Looks whether an answer is one of those that are allowed.
    pub(crate) fn judge(
        &mut self,
        title: &str,
        allowed: &Allowed,
        theirs: &str,
        ours: &str,
    ) -> bool {
        let is_allowed = allowed.allows(ours);
        if is_allowed {
            self.used.extend(&allowed.used);
        }
        match (is_allowed, ours == theirs) {
            (true, true) => self.n_same += 1,
            (true, false) => self.n_different += 1,
            (false, _) => {
                let shown = difference(&allowed.texts, ours);
                self.wrong.push(format!("--- {title}\n{shown}"));
            }
        }
        is_allowed
    }

    /// Fails with all that is wrong.
    pub(crate) fn finish(mut self, table: &Table, took: Duration) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let unused = table.unused(&names, &self.used);
        self.wrong.extend(
            unused
                .into_iter()
                .map(|text| format!("the table is out of date: {text}")),
        );
        println!(
            "{} cases in {:.1} s: {} answers the same, {} differ as the table says, {} wrong",
            self.n_cases,
            took.as_secs_f32(),
            self.n_same,
            self.n_different,
            self.wrong.len(),
        );
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n\n"));
    }
}

/// Cases with the same configuration.
struct Group<'a> {
    table: &'a Table,
    site: &'a Site,
    config: &'a str,
    profiles: &'a str,
    /// All cases, for those that point to each other.
    cases: &'a [Case],
    farm: Farm,
}

enum Farm {
    /// None yet, or one that a case has worn out.
    None,
    Up(Replica, Option<Servers>),
    /// The replica does not start.
    Refused(String),
}

impl Group<'_> {
    fn replay(&mut self, case: &Case, outcome: &mut Outcome) {
        outcome.begin(&case.name);
        let state = State::of(case, self.cases).unwrap();
        self.prepare(case, &state);
        let mut authids = Vec::new();
        let keys_before = self.servers().map(Servers::keys).unwrap_or_default();
        let mut last = (Vec::new(), Vec::new(), Vec::new());
        for steps in &case.connections {
            let mut connection = None;
            for step in steps {
                let answer = self.ask(&mut connection, step, &mut authids);
                self.judge(case, step, &answer, outcome);
                last = (step.request.clone(), step.recorded.clone(), answer);
                std::thread::sleep(step.noted.pause);
            }
        }
        if let (Some(noted), Some(servers)) = (&case.notes.keys, self.servers()) {
            let [request, recorded, ours] =
                [&last.0, &last.1, &last.2].map(|bytes| String::from_utf8_lossy(bytes));
            let looked = Looked {
                noted,
                request: &request,
                recorded: &recorded,
                ours: &ours,
                before: &keys_before,
            };
            let complaint = keys::complaint(servers, &looked);
            let told = complaint.map(|text| format!("--- {}: {text}", case.name));
            outcome.wrong.extend(told);
        }
        if !state.down.is_empty() {
            self.farm = Farm::None;
        }
    }

    fn servers(&self) -> Option<&Servers> {
        match &self.farm {
            Farm::Up(_, servers) => servers.as_ref(),
            Farm::None | Farm::Refused(_) => None,
        }
    }

    /// Has a farm up, in the state of the case.
    fn prepare(&mut self, case: &Case, state: &State) {
        if matches!(self.farm, Farm::None) {
            // The old one is gone before the new one takes its names.
            self.farm = match self.site.start(self.config, self.profiles) {
                Err(error) => Farm::Refused(format!("{error:#}")),
                Ok(mut replica) => {
                    let servers = case.asks_servers().then(|| {
                        let servers = Servers::up(self.site, replica.mesh);
                        wait_for_all(&mut replica.daemon);
                        servers
                    });
                    Farm::Up(replica, servers)
                }
            };
        }
        if let Farm::Up(replica, Some(servers)) = &mut self.farm {
            servers.set_sessions(state);
            wait_until_known(replica, servers, state);
            servers.take_down(state);
        }
    }

    /// Sends the request of a step, with our AUTHIDs where it has those of the original.
    fn ask(
        &self,
        connection: &mut Option<Connection>,
        step: &Step,
        authids: &mut Vec<(String, String)>,
    ) -> Vec<u8> {
        let Farm::Up(replica, _) = &self.farm else {
            return Vec::new();
        };
        let request = with_our_authids(&step.request, authids);
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(step.noted.from, replica.http).unwrap(),
        };
        let limit = silence(&step.recorded).unwrap_or(ANSWER_LIMIT);
        let answer = open.exchange(&request, limit).unwrap();
        *connection = Some(open);
        let theirs = authid(&step.recorded);
        authids.extend(theirs.zip(authid(&answer)));
        answer
    }

    fn judge(&self, case: &Case, step: &Step, answer: &[u8], outcome: &mut Outcome) {
        let varies = &case.notes.varies;
        let theirs = text_of(&step.recorded, varies);
        let mut ours = match &self.farm {
            Farm::Refused(_) => "(the daemon does not start)\n".to_owned(),
            _ => text_of(answer, varies),
        };
        let has_body = !step.request.starts_with(b"HEAD ") && !ours.starts_with("HTTP/1.1 304");
        let complaint = Response::parse(answer)
            .ok()
            .and_then(|r| normal::complaint(&r, has_body));
        if let Some(complaint) = complaint {
            ours = format!("({complaint})\n{ours}");
        }
        let allowed = self
            .table
            .allowed(&case.name, &step.number.to_string(), &theirs);
        keep(case, step, &ours);
        let title = format!(
            "{}, answer {}: {}",
            case.name, step.number, case.notes.title
        );
        if outcome.judge(&title, &allowed, &theirs, &ours) {
            return;
        }
        if let Farm::Refused(why) = &self.farm {
            outcome.wrong.push(why.clone());
        }
    }
}

/// Waits until the replica shows the sessions that were made, to each of their users.
fn wait_until_known(replica: &Replica, servers: &Servers, state: &State) {
    let users: BTreeSet<&str> = ["alice", "bob", "carol"].into();
    for user in users {
        let wanted = state.sessions.iter().filter(|session| session.user == user);
        let wanted = wanted.map(|session| session.suspended).max();
        let status = match wanted {
            Some(true) => "\nstatus=S\n",
            Some(false) => "\nstatus=R\n",
            None => "\nstatus=",
        };
        let seen = wait_for(SEEN_LIMIT, || {
            let answer = post(
                replica,
                &format!("task=listsessions&user={user}&password=pw-{user}"),
            );
            let is_listed = answer.contains("START_USER_SESSIONS");
            let is_seen = answer.contains(status) == wanted.is_some();
            Progress::when(is_listed && is_seen, || answer)
        });
        seen.unwrap_or_else(|error| {
            panic!(
                "{user} with {state:?}: {error}\n{}\n{}",
                replica.daemon.story(),
                servers.story()
            )
        });
    }
}

/// Keeps an answer for a person, in the folder that `X2GOBROKER_COMPAT_ANSWERS` names.
fn keep(case: &Case, step: &Step, ours: &str) {
    if let Some(folder) = std::env::var_os("X2GOBROKER_COMPAT_ANSWERS") {
        let file = format!("{}-{}.txt", case.name, step.number);
        std::fs::write(std::path::Path::new(&folder).join(file), ours).unwrap();
    }
}

/// Asks a replica something of its own.
fn post(replica: &Replica, form: &str) -> String {
    let request = format!(
        "POST /plain/ HTTP/1.1\r\nHost: broker\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let client = "10.77.0.20".parse().unwrap();
    let mut connection = Connection::open(client, replica.http).unwrap();
    let answer = connection
        .exchange(request.as_bytes(), ANSWER_LIMIT)
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Replaces AUTHIDs that the original gave by those that ours gave for them.
fn with_our_authids(request: &[u8], authids: &[(String, String)]) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(request.to_vec()) else {
        return request.to_vec();
    };
    let before = text.len();
    for (theirs, ours) in authids {
        text = text.replace(theirs.as_str(), ours);
    }
    if text.len() != before
        && let Some((head, body)) = text.split_once("\r\n\r\n")
    {
        let line = |line: &str| match line.split_once(':') {
            Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
                format!("{name}: {}", body.len())
            }
            _ => line.to_owned(),
        };
        let head: Vec<String> = head.split("\r\n").map(line).collect();
        text = format!("{}\r\n\r\n{body}", head.join("\r\n"));
    }
    text.into_bytes()
}

/// The AUTHID in an answer.
fn authid(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let found = |begin: &str, end: char| {
        let (_, rest) = text.split_once(begin)?;
        rest.split(end).next().map(str::to_owned)
    };
    found("\nAUTHID:", '\n').or_else(|| found("\"next-authid\": \"", '"'))
}

/// How long the recorder waited in vain.
fn silence(recorded: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(recorded).ok()?;
    let rest = text
        .trim()
        .strip_prefix("[recorder: no more data within ")?;
    let seconds = rest.strip_suffix(" s]")?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn text_of(answer: &[u8], varies: &[Varying]) -> String {
    if answer.is_empty() || silence(answer).is_some() {
        return "(no answer)\n".to_owned();
    }
    match Response::parse(answer) {
        Ok(response) => normal::text_of(&response, varies),
        Err(_) => String::from_utf8_lossy(answer).into_owned(),
    }
}

/// The lines that differ from the nearest of the allowed texts.
fn difference(allowed: &[String], ours: &str) -> String {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let ours_lines = lines(ours);
    let differing = |text: &&String| {
        let theirs = lines(text);
        theirs
            .iter()
            .filter(|line| !ours_lines.contains(line))
            .count()
    };
    let theirs = lines(
        allowed
            .iter()
            .min_by_key(differing)
            .map_or("", String::as_str),
    );
    let mut shown = String::new();
    for line in theirs.iter().filter(|line| !ours_lines.contains(line)) {
        shown += &format!("- {line}\n");
    }
    for line in ours_lines.iter().filter(|line| !theirs.contains(line)) {
        shown += &format!("+ {line}\n");
    }
    if shown.is_empty() {
        shown = format!(
            "only the order or number of lines differs:\n{}\n---\n{ours}",
            theirs.join("\n")
        );
    }
    shown
}

/// The original took 2.3 s for a wrong password; a machine that compiles takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// An agent reads its session database several times a second.
const SEEN_LIMIT: Duration = Duration::from_secs(10);

#[test]
fn requests_carry_our_authids_and_their_length() {
    let request = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nauthid=AB";
    let authids = [("AB".to_owned(), "long".to_owned())];
    let changed = with_our_authids(request, &authids);
    assert_eq!(
        changed,
        b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\nauthid=long"
    );
    assert_eq!(
        authid(b"x\r\n\r\nAUTHID:one\nAccess").as_deref(),
        Some("one")
    );
    assert_eq!(
        silence(b"\n[recorder: no more data within 5 s]"),
        Some(Duration::from_secs(5))
    );
    assert_eq!(message::header(&changed, "content-length"), Some("11"));
}
