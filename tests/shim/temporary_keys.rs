//! Do temporary keys come with `Admit` and go again, with the real agent and the real setuid
//! program, also when the agent is killed in between? And what do they cost?

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pki::{
    ChannelLimits, Clock, Expect, FarmName, IdentityPublisher, IssueRequest, NodeName, Role,
    load_identity, mesh_channel,
};
use proto::v1::agent_client::AgentClient;
use proto::{KEY_LIFE, KEY_LIMIT, v1};
use tests::binaries;
use tests::process::{Process, command, run};
use tests::session_db::SessionDatabase;
use tests::wait::{Progress, wait_for};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::stage::{BROKER, PROGRAM, Stage};

/// The stage with an agent on it, that runs as the broker's account.
pub(crate) struct Server {
    pub(crate) stage: Stage,
    pub(crate) agent: Option<Process>,
    pub(crate) folder: PathBuf,
}

impl Server {
    pub(crate) fn up(settings: &str) -> Option<Self> {
        let stage = Stage::up()?;
        let folder = stage.folder().join("agent");
        fs::create_dir(&folder).unwrap();
        let farm = FarmName::parse("office").unwrap();
        pki::init_ca(&folder.join("ca"), &farm, &Clock::system()).unwrap();
        for (role, node) in [(Role::Agent, "s1"), (Role::Broker, "b1")] {
            let request = IssueRequest::new(role, NodeName::parse(node).unwrap());
            let out = folder.join(node);
            pki::issue(&folder.join("ca"), &request, &out, &Clock::system()).unwrap();
        }
        fs::create_dir(folder.join("state")).unwrap();
        fs::create_dir(folder.join("run")).unwrap();
        SessionDatabase::create(&folder.join("x2go_sessions"), "s1").unwrap();
        let config = format!(
            "node = 's1'\nidentity = '{0}/s1'\nlisten = '127.0.0.1:0'\nstate_directory = \
             '{0}/state'\nsession_database = '{0}/x2go_sessions'\ngossip = 'local'\n\
             agent_program = '{PROGRAM}'\n{1}\n",
            folder.display(),
            settings.replace("FOLDER", &folder.display().to_string()),
        );
        fs::write(folder.join("agentd.toml"), config).unwrap();
        for own in ["s1", "state", "run", "x2go_sessions"] {
            run(command("chown")
                .arg("-R")
                .arg("990:990")
                .arg(folder.join(own)))
            .unwrap();
        }
        let mut server = Self {
            stage,
            agent: None,
            folder,
        };
        server.start();
        Some(server)
    }

    fn start(&mut self) {
        let mut agentd = self.stage.enter(BROKER);
        agentd.arg(binaries::binary("x2gobroker-agentd").unwrap());
        agentd.arg("--config").arg(self.folder.join("agentd.toml"));
        let log = self.folder.join("log");
        // One log for each start.
        let _first = fs::remove_file(&log);
        let mut agent = Process::start("agentd", &mut agentd, &log).unwrap();
        agent.wait_for_log(LIMIT, &["agent began"]).unwrap();
        self.agent = Some(agent);
    }

    pub(crate) fn client(&self) -> AgentClient<Channel> {
        let line = self.log_lines(&["agent began"]).pop().unwrap();
        let (_, rest) = line.split_once(" address=").unwrap();
        let address: SocketAddr = rest.split(' ').next().unwrap().parse().unwrap();
        let identity = load_identity(&self.folder.join("b1"), &Clock::system()).unwrap();
        let (_publisher, watch) = IdentityPublisher::new(identity);
        let expected = Expect::Node {
            role: Role::Agent,
            node: NodeName::parse("s1").unwrap(),
        };
        let channel = mesh_channel(address, expected, watch, ChannelLimits::default());
        AgentClient::new(channel)
    }

    pub(crate) fn log_lines(&self, words: &[&str]) -> Vec<String> {
        self.agent.as_ref().unwrap().log_lines(words)
    }

    fn keys_of(&self, user: &str) -> String {
        let file = format!("/home/{user}/.x2go/authorized_keys");
        self.stage.root(&format!("cat {file} 2>/dev/null || true"))
    }

    fn wait_until_no_keys(&self, user: &str, limit: Duration) {
        let gone = wait_for(limit, || {
            let keys = self.keys_of(user);
            Progress::when(keys.is_empty(), || keys)
        });
        let story = || self.agent.as_ref().unwrap().story();
        assert!(gone.is_ok(), "{gone:?}\n{}", story());
    }
}

pub(crate) fn key(number: u8, seconds: u32) -> v1::KeyGrant {
    let letter = char::from(b'A' + number % 26);
    let data = letter.to_string().repeat(41);
    v1::KeyGrant {
        public_key: format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII{data}I me@here"),
        client: "10.77.0.20".to_owned(),
        file: "%h/.x2go/authorized_keys".to_owned(),
        seconds,
    }
}

fn admit(user: &str, key: Option<v1::KeyGrant>) -> v1::AdmitRequest {
    v1::AdmitRequest {
        node: "s1".to_owned(),
        user: user.to_owned(),
        profile: "farm".to_owned(),
        forced: true,
        key,
    }
}

pub(crate) async fn outcome(
    client: &mut AgentClient<Channel>,
    user: &str,
    key: v1::KeyGrant,
) -> v1::KeyOutcome {
    let answer = client.admit(admit(user, Some(key))).await.unwrap();
    answer.into_inner().key()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_comes_with_admit_and_is_gone_after_its_time_also_if_the_agent_was_killed() {
    let Some(mut server) = Server::up("keys_from = true\nkeys_expiry = 'on'") else {
        return;
    };
    let own = "ssh-rsa AAAA of alice\n";
    server.stage.root(&format!(
        "install -d -o 2001 -g 2001 /home/alice/.x2go
         printf '{own}' >/home/alice/.x2go/authorized_keys
         chown 2001:2001 /home/alice/.x2go/authorized_keys"
    ));
    let mut client = server.client();
    let begun = now();
    let installed = outcome(&mut client, "alice", key(1, 3)).await;
    assert_eq!(installed, v1::KeyOutcome::Installed);
    let keys = server.keys_of("alice");
    let ours = keys.strip_prefix(own).unwrap();
    println!("{ours}");
    let start = "no-X11-forwarding,no-user-rc,from=\"10.77.0.20\",expiry-time=\"20";
    assert!(ours.starts_with(start), "{ours}");
    assert!(ours.contains(" x2gobroker-temporary:s1:"), "{ours}");
    assert_eq!(ours.lines().count(), 1);
    // bob's key will find another agent when it is due.
    let installed = outcome(&mut client, "bob", key(2, 4)).await;
    assert_eq!(installed, v1::KeyOutcome::Installed);
    let gone = wait_for(LIMIT, || {
        let keys = server.keys_of("alice");
        Progress::when(keys == own, || keys)
    });
    gone.unwrap();
    println!("alice's was gone after {:.1?}", begun.elapsed());

    server.agent.take().unwrap().kill().unwrap();
    assert_eq!(server.keys_of("bob").lines().count(), 1);
    server.start();
    server.wait_until_no_keys("bob", LIMIT);
    println!("bob's was gone after {:.1?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_whom_the_program_refuses_get_in_without_a_key() {
    let Some(server) = Server::up("") else { return };
    let mut client = server.client();
    for user in ["root", "small", "rooted", "nobody_of_that_name"] {
        let refused = outcome(&mut client, user, key(1, 20)).await;
        assert_eq!(refused, v1::KeyOutcome::Refused, "{user}");
    }
    let nonsense = v1::KeyGrant {
        public_key: "ssh-rsa AAAA".to_owned(),
        ..key(1, 20)
    };
    let refused = outcome(&mut client, "alice", nonsense).await;
    assert_eq!(refused, v1::KeyOutcome::Refused);
    let without = client.admit(admit("alice", None)).await.unwrap();
    assert_eq!(without.into_inner().key(), v1::KeyOutcome::None);
    let journal = || fs::read_to_string(server.folder.join("state/keys")).unwrap();
    let empty = wait_for(LIMIT, || {
        Progress::when(journal().lines().count() == 2, journal)
    });
    empty.unwrap();
    assert_eq!(
        server
            .stage
            .root("find /home -name authorized_keys; ls -d /root/.x2go 2>/dev/null || true"),
        ""
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_that_can_not_be_edited_leave_nothing_in_the_journal() {
    let Some(server) = Server::up("") else { return };
    // alice's folder is a link of her own; bob's disk is full.
    server.stage.root(
        "install -d -o 2001 /home/alice/real
         ln -s real /home/alice/.x2go; chown -h 2001:2001 /home/alice/.x2go
         mount -t tmpfs -o size=64k,mode=700,uid=2002,gid=2002 small /home/bob
         install -d -o 2002 /home/bob/.x2go; install -o 2002 /dev/null /home/bob/.x2go/authorized_keys
         head -c 1M /dev/zero >/home/bob/fill 2>/dev/null || true",
    );
    let mut client = server.client();
    let journal = || fs::read_to_string(server.folder.join("state/keys")).unwrap();
    for user in ["alice", "bob"] {
        let failed = outcome(&mut client, user, key(1, 20)).await;
        assert_eq!(failed, v1::KeyOutcome::Failed, "{user}");
        let empty = wait_for(LIMIT, || {
            Progress::when(journal().lines().count() == 2, journal)
        });
        let story = || server.agent.as_ref().unwrap().story();
        assert!(empty.is_ok(), "{user}: {empty:?}\n{}", story());
    }
    assert_eq!(server.log_lines(&["not removed"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_a_home_that_is_away_when_it_is_due_goes_when_the_home_is_back() {
    let Some(server) = Server::up("") else { return };
    let mut client = server.client();
    let installed = outcome(&mut client, "alice", key(1, 1)).await;
    assert_eq!(installed, v1::KeyOutcome::Installed);
    server.stage.root("mv /home/alice /home/away");
    let journal = || fs::read_to_string(server.folder.join("state/keys")).unwrap();
    let told = wait_for(LIMIT, || {
        let lines = server.log_lines(&["not removed", "looking for the home"]);
        Progress::when(!lines.is_empty(), journal)
    });
    let story = || server.agent.as_ref().unwrap().story();
    assert!(told.is_ok(), "{told:?}\n{}", story());
    assert!(journal().contains("\talice\t"), "{}", journal());
    server.stage.root("mv /home/away /home/alice");
    assert_eq!(server.keys_of("alice").lines().count(), 1);
    server.wait_until_no_keys("alice", LIMIT);
    let empty = wait_for(LIMIT, || {
        Progress::when(journal().lines().count() == 2, journal)
    });
    empty.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_of_a_session_gets_its_key_without_a_session() {
    let Some(server) = Server::up("") else { return };
    let mut client = server.client();
    let add = v1::AddKeyRequest {
        node: "s1".to_owned(),
        user: "alice".to_owned(),
        key: Some(key(1, 0)),
    };
    let begun = now();
    let added = client.add_key(add.clone()).await.unwrap().into_inner();
    assert_eq!(added.key(), v1::KeyOutcome::Installed);
    let status = client
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        status.installs_keys && status.reserved_users.is_empty(),
        "{status:?}"
    );
    assert_eq!(status.temporary_keys, 1);
    let elsewhere = v1::AddKeyRequest {
        node: "s2".to_owned(),
        ..add
    };
    assert!(client.add_key(elsewhere).await.is_err());
    let remove = |public_key: String| v1::RemoveKeyRequest {
        node: "s1".to_owned(),
        user: "alice".to_owned(),
        public_key,
    };
    let other = client
        .remove_key(remove(key(2, 0).public_key))
        .await
        .unwrap();
    assert_eq!(other.into_inner().removed, 0);
    let removed = client
        .remove_key(remove(key(1, 0).public_key))
        .await
        .unwrap();
    assert_eq!(removed.into_inner().removed, 1);
    server.wait_until_no_keys("alice", LIMIT);
    assert!(begun.elapsed() < KEY_LIFE, "only its time has removed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_keys_for_a_hundred_users_none_is_lost_and_none_left() {
    let Some(server) = Server::up("") else { return };
    server.stage.root(HUNDRED_USERS);
    let client = server.client();
    let begun = now();
    let mut asking = JoinSet::new();
    for number in 0..200u8 {
        let mut client = client.clone();
        asking.spawn(async move {
            let user = format!("user{}", 1 + number / 2);
            let mut tries = 0;
            // A machine that is busy may need longer than the limit for so many.
            while outcome(&mut client, &user, key(number % 2, 10)).await
                != v1::KeyOutcome::Installed
            {
                tries += 1;
                assert!(tries < 10, "{user}");
            }
            tries
        });
    }
    let tries: u32 = asking.join_all().await.into_iter().sum();
    println!(
        "200 keys were there after {:.1?}, {tries} asked again",
        begun.elapsed()
    );
    let n_lines = |server: &Server| {
        let lines = "cat /home/user*/.x2go/authorized_keys | wc -l";
        server.stage.root(lines).trim().to_owned()
    };
    assert_eq!(n_lines(&server), "200");
    let gone = wait_for(LIMIT, || {
        let left = n_lines(&server);
        Progress::when(left == "0", || left)
    });
    gone.unwrap();
    println!("and gone after {:.1?}", begun.elapsed());
    let complaints = server.log_lines(&[" ERROR "]);
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_key_costs() {
    let Some(server) = Server::up("") else { return };
    server.stage.root(HUNDRED_USERS);
    let mut client = server.client();
    // Each has a reservation already, and every other one gets a key.
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..2 {
        for number in 1..=60usize {
            let key = (number % 2 == 1).then(|| key(1, 60));
            let request = admit(&format!("user{number}"), key.filter(|_| round == 1));
            let asked = usize::from(request.key.is_some());
            let begun = now();
            let answer = client.admit(request).await.unwrap().into_inner();
            let took = begun.elapsed();
            let expected = [v1::KeyOutcome::None, v1::KeyOutcome::Installed][asked];
            assert_eq!(answer.key(), expected);
            if round == 1 {
                times[asked].push(took);
            }
        }
    }
    let [without, with] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    println!("Admit: median {without:.2?}, with a key {with:.2?}");
    assert!(with < KEY_LIMIT / 2, "{with:?}");
}

#[expect(clippy::disallowed_methods, reason = "figures are told to the reader")]
fn now() -> Instant {
    Instant::now()
}

/// In the stage, user1 to user100, with a home each.
const HUNDRED_USERS: &str = "
    for n in $(seq 100); do
        echo \"user$n:x:$((3000 + n)):100::/home/user$n:/bin/bash\"
        install -d -o $((3000 + n)) -g 100 /home/user$n
    done >/home/more
    cat /home/more >>/etc/passwd";
/// Everything here takes moments, but for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
