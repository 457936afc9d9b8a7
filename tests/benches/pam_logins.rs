//! How many people can log in with PAM, and what does one who hangs cost the others? Ours,
//! and beside it x2gobroker 0.0.4.3 where its Debian packages are installed.
//!
//! `cargo bench -p tests --bench pam_logins`. Needs root: real accounts of `pam_unix`, in
//! namespaces of the bench's own, with the same PAM service for both. A log-in is one
//! `listsessions` with a password over keep-alive HTTP. The passwords are hashed with few
//! rounds, so that the brokers are measured and not crypt(3).
#![expect(clippy::print_stdout, reason = "a bench is there to print its figures")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use pki::Role;
use tests::bench::farm::Farm;
use tests::bench::load::Answers;
use tests::bench::promises::{Promises, headline, machine, ms, note};
use tests::binaries;
use tests::http::HttpClient;
use tests::lab::{SERVICE, farm_user, password, write_accounts};
use tests::plain::{Credentials, list_sessions};
use tests::process::{Process, command, run};
use tests::wait::{Progress, now, wait_for};

fn main() -> anyhow::Result<ExitCode> {
    if std::env::var_os(INSIDE).is_some() {
        return measure();
    }
    let unshared = run(command("unshare").args(["-m", "-n", "-p", "-f", "true"]));
    if let Err(error) = unshared {
        println!("skipped: needs root and namespaces: {error:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let layer = tempfile::tempdir().context("making a folder")?;
    write_layer(layer.path())?;
    // Built outside, as there is no network inside.
    let programs = binaries::folder()?;
    binaries::add_authservice()?;
    let mut inside = command("unshare");
    inside.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
    inside.args(["--mount-proc", "bash", "-ec", STAGE, "stage"]);
    inside.arg(layer.path()).arg(std::env::current_exe()?);
    inside.env(INSIDE, "1").env("X2GOBROKER_BIN_DIR", programs);
    let status = inside.status().context("entering the stage")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn measure() -> anyhow::Result<ExitCode> {
    headline(format!("log-ins with PAM; {}", machine()));
    let farm = Farm::new()?;
    let mut promises = Promises::of("issue 4");
    let ours = Broker::ours(&farm)?;
    ours.print_rates(&mut |n_clients, answers| {
        if n_clients == 32 {
            promises.at_least_per_second("log-ins with 32 clients", answers.per_second(), 9.0);
            promises.at_most(
                "their p99",
                answers.quantile(990),
                Duration::from_millis(3200),
            );
        }
    })?;
    let others = ours.print_others()?;
    promises.at_most("the slowest of others", others.quantile(1000), OTHERS_LIMIT);
    drop(ours);
    match Path::new(ORIGINAL).exists() {
        true => {
            let original = Broker::original(&farm)?;
            original.print_rates(&mut |_, _| {})?;
            original.print_others()?;
        }
        false => note(format!(
            "x2gobroker 0.0.4.3 is not measured: there is no {ORIGINAL}; \
             apt-get install x2gobroker-daemon x2gobroker-authservice"
        )),
    }
    Ok(promises.verdict())
}

/// A broker that asks PAM, with its authservice.
#[derive(Debug)]
struct Broker {
    name: &'static str,
    http: SocketAddr,
    daemon: Process,
    authservice: Process,
}

impl Broker {
    fn ours(farm: &Farm) -> anyhow::Result<Self> {
        let name = "ours";
        let folder = farm.folder();
        run(command("chmod").arg("755").arg(folder))?;
        run(command("install").args([
            "-d",
            "-o",
            "root",
            "-g",
            SERVICE,
            "-m",
            "750",
            SOCKET_FOLDER,
        ]))?;
        let mut authservice = command(binaries::binary("x2gobroker-authservice")?);
        let authservice =
            Process::start("authservice", &mut authservice, &folder.join("auth.log"))?;
        let identity = farm.identity(Role::Broker, "broker1")?;
        let state = folder.join("state");
        fs::create_dir(&state)?;
        for path in [&identity, &state] {
            run(command("chown").args(["-R", SERVICE]).arg(path))?;
        }
        let profiles = folder.join("profiles.conf");
        fs::write(&profiles, PROFILES)?;
        let text = format!(
            "[global]\ndefault-auth-mech = pam\n\
             [broker_inifile]\nenable = true\nsession-profiles = {}\n\
             [mesh]\nnode = broker1\nlisten = 127.0.0.1:0\nidentity = {}\n\
             state-directory = {}\ngossip = local\n",
            profiles.display(),
            identity.display(),
            state.display(),
        );
        let config = folder.join("x2gobroker.conf");
        fs::write(&config, text)?;
        let mut daemon = command("setpriv");
        daemon.args(["--reuid", SERVICE, "--regid", SERVICE, "--init-groups"]);
        daemon.arg(binaries::binary("x2gobroker-daemon")?);
        daemon
            .arg("--config-file")
            .arg(config)
            .args(["--bind", OURS_AT]);
        daemon.env("NO_COLOR", "1");
        let daemon = Process::start("daemon", &mut daemon, &folder.join("daemon.log"))?;
        Self::up(name, OURS_AT, daemon, authservice)
    }

    /// As its units start it, but in the foreground.
    fn original(farm: &Farm) -> anyhow::Result<Self> {
        let name = "x2gobroker 0.0.4.3";
        let log = |name: &str| farm.folder().join(format!("original-{name}.log"));
        fs::write(
            "/etc/x2go/x2gobroker.conf",
            "[global]\ndefault-auth-mech = pam\ndefault-agent-query-mode = NONE\n\
             [broker_inifile]\nenable = true\n",
        )?;
        fs::write("/etc/x2go/broker/x2gobroker-sessionprofiles.conf", PROFILES)?;
        let defaults = format!("[common]\n[daemon]\nDAEMON_BIND_ADDRESS={ORIGINAL_AT}\n");
        fs::write("/etc/x2go/broker/defaults.conf", defaults)?;
        run(command("chmod").args(["770", SOCKET_FOLDER]))?;
        run(command("chown").args([
            "-R",
            SERVICE,
            SOCKET_FOLDER,
            "/var/log/x2gobroker",
            "/var/lib/x2gobroker",
        ]))?;
        let socket = format!("{SOCKET_FOLDER}/x2gobroker-authservice.socket");
        // Its scripts want the system's own Python.
        let path = ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let mut authservice = command("/usr/sbin/x2gobroker-authservice");
        authservice.envs([path]);
        authservice.args([
            "--socket-file",
            &socket,
            "-o",
            "root",
            "-g",
            SERVICE,
            "-p",
            "0660",
        ]);
        let authservice = Process::start("authservice", &mut authservice, &log("auth"))?;
        let mut daemon = command(ORIGINAL);
        daemon.arg("--drop-privileges").envs([path]);
        let daemon = Process::start("daemon", &mut daemon, &log("daemon"))?;
        Self::up(name, ORIGINAL_AT, daemon, authservice)
    }

    fn up(
        name: &'static str,
        at: &str,
        daemon: Process,
        authservice: Process,
    ) -> anyhow::Result<Self> {
        let broker = Self {
            name,
            http: at.parse()?,
            daemon,
            authservice,
        };
        let up = wait_for(UP_LIMIT, || {
            let first = farm_user(1);
            Progress::retry(broker.log_in(&mut broker.client(), &first, &password(&first)))
        });
        up.with_context(|| {
            let stories = [broker.daemon.story(), broker.authservice.story()];
            format!("{name} lets nobody in\n{}", stories.join("\n"))
        })?;
        Ok(broker)
    }

    fn client(&self) -> HttpClient {
        HttpClient::new(self.http, ANSWER_LIMIT)
    }

    fn log_in(
        &self,
        client: &mut HttpClient,
        user: &str,
        password: &str,
    ) -> anyhow::Result<Duration> {
        let begun = now();
        let answer = list_sessions(client, Credentials::new(user, password))?;
        ensure!(answer.granted, "{user}: {} {}", answer.status, answer.text);
        Ok(begun.elapsed())
    }

    /// So many clients, each another user, log in over and over.
    fn logins(&self, first_user: u32, n_clients: u32) -> anyhow::Result<Answers> {
        let begun = now();
        let latencies = thread::scope(|scope| {
            let clients: Vec<_> = (first_user..first_user + n_clients)
                .map(|number| {
                    scope.spawn(move || {
                        let user = farm_user(number);
                        let (password, mut client) = (password(&user), self.client());
                        let mut took = Vec::new();
                        while begun.elapsed() < ROUND {
                            took.push(self.log_in(&mut client, &user, &password)?);
                        }
                        Ok::<_, anyhow::Error>(took)
                    })
                })
                .collect();
            let mut all = Vec::new();
            for client in clients {
                all.extend(client.join().ok().context("a client panicked")??);
            }
            Ok::<_, anyhow::Error>(all)
        })?;
        Ok(Answers::of(latencies, begun.elapsed()))
    }

    fn print_rates(&self, each: &mut dyn FnMut(u32, &Answers)) -> anyhow::Result<()> {
        for n_clients in [1, 8, 32] {
            let before = self.cpu()?;
            let answers = self.logins(1, n_clients)?;
            let cpu = (self.cpu()? - before) / u32::try_from(answers.count())?.max(1);
            note(format!(
                "{}, {n_clients:2} clients: {:5.1} log-ins per second, p50 {}, p99 {}, CPU of \
                 each {}",
                self.name,
                answers.per_second(),
                ms(answers.p50()),
                ms(answers.quantile(990)),
                ms(cpu)
            ));
            each(n_clients, &answers);
        }
        Ok(())
    }

    /// What the broker has used so far, with all processes that it asked PAM in. On a
    /// machine that does other things too, this says more than the rates.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let children = self.authservice.cpu_of_children()?;
        Ok(self.daemon.cpu()? + self.authservice.cpu()? + children)
    }

    /// One client logs in again and again while others type wrong passwords, one after the
    /// other: each of those takes two seconds of pam_unix.
    fn print_others(&self) -> anyhow::Result<Answers> {
        let over = AtomicBool::new(false);
        let (answers, n_wrong) = thread::scope(|scope| {
            let wrong = scope.spawn(|| {
                // Each another user: failures of one would be delayed without a question.
                for (n_wrong, number) in (33..=N_USERS).enumerate() {
                    if over.load(Ordering::Relaxed) {
                        return n_wrong;
                    }
                    let user = farm_user(number);
                    let _ = self.log_in(&mut self.client(), &user, "wrong");
                }
                usize::MAX
            });
            let answers = self.logins(1, 1);
            over.store(true, Ordering::Relaxed);
            (answers, wrong.join())
        });
        let (answers, n_wrong) = (answers?, n_wrong.ok().context("a client panicked")?);
        note(format!(
            "{}, one client while {n_wrong} wrong passwords are checked: p50 {}, p99 {}, slowest {}",
            self.name,
            ms(answers.p50()),
            ms(answers.quantile(990)),
            ms(answers.quantile(1000))
        ));
        Ok(answers)
    }
}

/// Accounts with passwords, and the PAM service of our package.
fn write_layer(layer: &Path) -> anyhow::Result<()> {
    write_accounts(layer)?;
    let shadow = layer.join("etc/shadow");
    let mut text = fs::read_to_string(&shadow)?;
    for user in (1..=N_USERS).map(farm_user) {
        let hash = "print crypt($ARGV[0], '$6$rounds=1000$thebench$')";
        let hash = run(command("perl").args(["-e", hash, &password(&user)]))?;
        text = text.replace(&format!("\n{user}:!:"), &format!("\n{user}:{hash}:"));
    }
    fs::write(&shadow, text)?;
    let service = include_str!("../../deploy/pam.d/x2gobroker");
    fs::create_dir_all(layer.join("etc/pam.d"))?;
    fs::write(layer.join("etc/pam.d/x2gobroker"), service)?;
    Ok(())
}

const INSIDE: &str = "X2GOBROKER_BENCH_INSIDE";
/// Lays the files of `$1` over `/etc`, and memory over all that the programs write.
const STAGE: &str = r#"
    mount --make-rprivate /
    chmod 755 "$1"
    mkdir "$1/memory"
    mount -t tmpfs -o mode=755 memory "$1/memory"
    mkdir "$1/memory/etc" "$1/memory/etc-work" "$1/memory/var" "$1/memory/var-work"
    mount -t overlay overlay \
        -o "lowerdir=$1/etc:/etc,upperdir=$1/memory/etc,workdir=$1/memory/etc-work" /etc
    mount -t overlay overlay \
        -o "lowerdir=$1/var:/var,upperdir=$1/memory/var,workdir=$1/memory/var-work" /var
    mount -t tmpfs -o mode=755 run /run
    ip link set lo up
    exec "$2"
"#;
const PROFILES: &str = "\
[DEFAULT]
command=TERMINAL

[farm]
name=Farm
host=s1,s2,s3

[p2]
name=P2
host=s1

[p3]
name=P3
host=s2
";
const ORIGINAL: &str = "/usr/bin/x2gobroker-daemon";
const SOCKET_FOLDER: &str = "/run/x2gobroker";
/// The network of the stage is empty, and these ports are free.
const OURS_AT: &str = "127.0.0.1:8080";
const ORIGINAL_AT: &str = "127.0.0.1:8081";
/// 32 who log in, and more who type wrong passwords.
const N_USERS: u32 = 80;
const ROUND: Duration = Duration::from_secs(10);
const UP_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// What a person may notice.
const OTHERS_LIMIT: Duration = Duration::from_millis(500);
