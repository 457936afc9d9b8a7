//! What can be tried with the farm that stays up?

use super::config::PROFILE;
use super::farm::{CTL, Farm, server_named};

/// The commands to try, each with a sentence.
pub(super) fn text(farm: &Farm) -> String {
    let mut lines = vec![
        String::new(),
        "The farm stays up until Ctrl-C. Things to try in another terminal:".to_owned(),
    ];
    let mut say = |sentence: &str, commands: Vec<String>| {
        lines.push(format!("\n   # {sentence}"));
        lines.extend(commands.iter().map(|command| format!("   {command}")));
    };
    let curl = |form: &str| -> Vec<String> {
        let replicas = farm.replicas.iter();
        replicas
            .map(|replica| format!("curl -s -d '{form}' http://{}/plain/", replica.http))
            .collect()
    };
    say(
        "Which session profiles has alice, and does a session wait? (status=S) Any replica knows.",
        curl("task=listsessions&user=alice"),
    );
    say(
        "Where is it to be resumed?",
        curl(&format!("task=selectsession&user=alice&sid={PROFILE}")),
    );
    say(
        "Where may a new user start a session? The second replica knows of the first one's answer.",
        curl(&format!("task=selectsession&user=zoe&sid={PROFILE}")),
    );
    say(
        "Why was it that server? The logs say so.",
        vec![format!("tail {}/broker*.log", farm.logs().display())],
    );
    if let Some(s1) = server_named("s1") {
        say(
            "How is s1? Let it take no new sessions, and then again.",
            ["status", "drain", "undrain"]
                .map(|verb| ctl(farm, s1, verb))
                .to_vec(),
        );
    }
    say("Lose a server or a replica.", kill(farm));
    lines.push(format!("\nLogs: {}\n", farm.logs().display()));
    lines.join("\n")
}

fn ctl(farm: &Farm, server_idx: usize, verb: &str) -> String {
    let arguments = farm.ctl_arguments(server_idx).unwrap_or_default();
    format!(
        "{} {} {verb}",
        farm.program(CTL).display(),
        arguments.join(" ")
    )
}

fn kill(farm: &Farm) -> Vec<String> {
    let servers = farm.servers.iter();
    let servers =
        servers.map(|server| (server.agent.pid(), format!("the agent of {}", server.name)));
    let replicas = farm.replicas.iter();
    let replicas = replicas.map(|replica| (replica.process.pid(), replica.name.to_owned()));
    let all = servers.chain(replicas);
    all.map(|(pid, name)| format!("kill -9 {pid:<8}  # {name}"))
        .collect()
}
