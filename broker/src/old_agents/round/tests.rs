//! Whose sessions are where, by what agents list.

use std::collections::HashMap;

use proto::{SessionRecord, SessionState, Username};

use super::{Answer, OldAgents, OldHost, OldServer, OldSessions, Round};
use crate::old_agents::agent::testing::{old_hosts_of, profile, program};
use crate::profiles::AgentQueryMode;

const SQLITE: &str = "|-1|-1";

fn record(number: u32, server: &str, state: char, more: &str) -> SessionRecord {
    let line = format!(
        "22|alice-{number}-1_stD_dp24|{number}|{server}|{state}|2026-11-22T06:00:17|2a|10.0.0.1\
         |1|2|2026-11-22T06:00:23|alice|63|3{more}"
    );
    SessionRecord::parse(&line).unwrap()
}

fn alice() -> Username {
    Username::parse("alice").unwrap()
}

fn round(hosts: &[OldHost<'_>], answers: Vec<Vec<SessionRecord>>) -> Round {
    let agents = hosts.iter().map(|host| host.agent.clone());
    let answers = answers.into_iter().map(Answer::Sessions);
    Round {
        answers: agents.zip(answers).collect::<HashMap<_, _>>(),
    }
}

fn found(round: &Round, hosts: &[OldHost<'_>]) -> Vec<String> {
    let ids = |host: &OldHost<'_>| {
        let sessions = round.sessions(host, hosts);
        let ids = sessions.iter().map(|r| r.display.to_string());
        format!("{}: {}", host.node, ids.collect::<Vec<_>>().join(" "))
    };
    hosts.iter().map(ids).collect()
}

#[test]
fn with_one_database_each_session_is_where_its_record_says_and_counts_once() {
    let profile = profile("host=s1,s2,10.0.0.3");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
    let all = vec![
        record(50, "s1", 'R', ""),
        record(51, "s2", 'S', ""),
        record(52, "s1", 'S', ""),
        record(53, "elsewhere", 'S', ""),
    ];
    let round = round(&hosts, vec![all.clone(), all.clone(), all]);
    let expected = ["s1: 52 50", "s2: 51", "10.0.0.3: "];
    assert_eq!(found(&round, &hosts), expected);
}

#[test]
fn a_server_with_a_database_of_its_own_has_what_it_lists_whatever_it_is_called() {
    let profile = profile("host=s1,10.0.0.3");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
    let first = vec![record(50, "s1", 'S', SQLITE)];
    let second = vec![record(50, "s3", 'R', SQLITE)];
    let round = round(&hosts, vec![first, second]);
    assert_eq!(found(&round, &hosts), ["s1: 50", "10.0.0.3: 50"]);
}

#[test]
fn the_agent_of_this_host_speaks_for_all_by_name() {
    let profile = profile("host=s1,s2");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Local);
    let listed = vec![record(50, "s2", 'S', ""), record(51, "s1", 'R', SQLITE)];
    let round = round(&hosts[..1], vec![listed]);
    assert_eq!(found(&round, &hosts), ["s1: 51", "s2: 50"]);
}

#[test]
fn the_own_agent_of_a_host_is_believed_and_others_of_its_profile_only_where_it_failed() {
    let profile = profile("host=s1,s2,s3");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
    let of_s3 = vec![
        record(60, "s1", 'S', ""),
        record(61, "s2", 'S', ""),
        record(62, "s2", 'S', SQLITE),
    ];
    let of_s1 = vec![record(50, "s1", 'R', "")];
    let mut round = round(&hosts, vec![of_s1, Vec::new(), of_s3]);
    assert_eq!(found(&round, &hosts), ["s1: 50", "s2: ", "s3: 62"]);
    for answer in [Answer::Failed, Answer::PassedOver, Answer::Busy] {
        round.answers.insert(hosts[1].agent.clone(), answer);
        assert_eq!(found(&round, &hosts), ["s1: 50", "s2: 61", "s3: 62"]);
    }
    // Another profile was asked about in the same round: its agents say nothing here.
    assert_eq!(found(&round, &hosts[..2]), ["s1: 50", "s2: "]);
}

#[test]
fn a_server_whose_agent_had_no_place_for_the_question_can_be_asked_again() {
    let profile = profile("host=s1");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
    let mut round = Round::default();
    round.answers.insert(hosts[0].agent.clone(), Answer::Busy);
    let agents = OldAgents::new("/nonexistent/sockets".into());
    let server = &agents.servers(&hosts, &round)[0];
    assert!(!server.failed && !server.answered && !server.view.is_suspect());
}

#[test]
fn a_session_that_only_others_list_is_not_offered_as_if_its_server_were_there() {
    let profile = profile("host=s1,s2");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
    let all = vec![record(50, "s1", 'S', ""), record(51, "s2", 'S', "")];
    let mut round = round(&hosts, vec![all.clone(), all]);
    round.answers.insert(hosts[0].agent.clone(), Answer::Failed);
    let agents = OldAgents::new("/nonexistent/sockets".into());
    let servers = agents.servers(&hosts, &round);
    let counts = |server: &OldServer<'_>| (server.sessions.len(), server.on_offer().len());
    let counts: Vec<_> = servers.iter().map(counts).collect();
    assert_eq!(counts, [(1, 0), (1, 1)]);
}

#[tokio::test]
async fn an_agent_that_is_asked_for_one_server_alone_offers_no_session_of_another() {
    let lists = "22|alice-50-1_stD_dp24|50|s2|S|2026-11-22T06:00:17|2a|10.0.0.1|1|2|\
                 2026-11-22T06:00:23|alice|63|3";
    let (_folder, command) = program(&format!("echo OK; echo '{lists}'"));
    let profile = profile("host=s1,s2");
    let mut hosts = old_hosts_of(&profile, AgentQueryMode::Local);
    for host in &mut hosts {
        host.agent.command = command.as_str().into();
    }
    let agents = OldAgents::new("/nonexistent/sockets".into());
    let failed = Round::default();
    let mut on = Vec::new();
    for server in agents.servers(&hosts, &failed) {
        let listed = agents.list_on(&server, &alice()).await.unwrap();
        on.push((server.view.node.to_string(), listed.len()));
    }
    assert_eq!(on, [("s1".to_owned(), 0), ("s2".to_owned(), 1)]);
}

#[test]
fn an_agent_that_failed_says_nothing_of_others() {
    let profile = profile("host=s1,s2");
    let hosts = old_hosts_of(&profile, AgentQueryMode::Ssh);
    let mut round = round(&hosts[1..], vec![vec![record(50, "s2", 'S', SQLITE)]]);
    round.answers.insert(hosts[0].agent.clone(), Answer::Failed);
    assert!(round.is_failed(&hosts[0].agent) && !round.is_failed(&hosts[1].agent));
    assert_eq!(found(&round, &hosts), ["s1: ", "s2: 50"]);
    let mut sessions = OldSessions::default();
    sessions.add(&profile.id, &hosts, &round);
    let placed = sessions.of(&profile.id);
    assert_eq!(placed.len(), 1);
    assert_eq!(placed[0].session.state, SessionState::Suspended);
}
