//! Step: the farm comes up.

use std::time::Duration;

use super::story::BOTH;
use crate::demo::config::{MEMBERS, SERVERS, ssh_port};
use crate::demo::farm::Farm;
use crate::demo::report::Report;
use crate::demo::table::{Member, picture};
use crate::wait::now;

pub(super) fn show(farm: &mut Farm, report: &mut Report) -> anyhow::Result<()> {
    report.step(
        "A farm comes up",
        "Each member has a certificate of the farm's CA. They meet through the replicas.",
    );
    let begun = now();
    farm.start()?;
    report.lines(&draw(farm));
    report.note(
        "\nEverything listens on 127.0.0.1. Only the SSH ports are just names here: the demo ends\n\
         where X2Go Client would connect to them.\n ",
    );
    let seen = farm.await_view(JOIN_LIMIT, &BOTH, &SERVERS, true);
    let seen = seen.map(|()| begun.elapsed());
    report.check_wait(&MEMBERS, seen, "both replicas see all three servers")?;
    Ok(())
}

fn draw(farm: &Farm) -> Vec<String> {
    let replicas: Vec<Member> = farm
        .replicas
        .iter()
        .map(|replica| Member {
            name: replica.name.to_owned(),
            lines: vec![
                format!("HTTP :{}", replica.http.port()),
                format!("mesh :{}", replica.mesh.port()),
            ],
        })
        .collect();
    let servers: Vec<Member> = farm
        .servers
        .iter()
        .enumerate()
        .map(|(server_idx, server)| Member {
            name: server.name.to_owned(),
            lines: vec![
                format!("mesh :{}", server.mesh.port()),
                format!("SSH  :{}", ssh_port(server_idx)),
            ],
        })
        .collect();
    picture(&replicas, &servers)
}

/// Gossip needs a few rounds of 0.2 s; a busy machine some more.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
