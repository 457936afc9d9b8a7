//! Do the companion tools bring a broker and an X2Go server together over SSH, by
//! themselves?

use tests::lab::{HostName, Lab};

use crate::mesh::Mesh;

#[test]
fn a_key_is_made_taken_and_used_by_the_tools_alone() {
    let Some(mesh) = Mesh::up() else { return };
    let (broker, server) = (HostName::broker(1), HostName::server(1));
    let run = |host: HostName, name: &str, args: &[&str]| {
        let program = format!("{}/{name}", Lab::PROGRAMS);
        let argv = [&[program.as_str()], args].concat();
        mesh.lab.exec(host, "root", &argv)
    };
    let made = run(broker, "x2gobroker-keygen", &[]).unwrap();
    assert!(made.contains("are new"), "{made}");
    let url = ["-t", "http://broker1:8080/pubkeys/"];
    let taken = run(server, "x2gobroker-pubkeyauthorizer", &url).unwrap();
    assert!(taken.starts_with("added: command="), "{taken}");

    let name = server.to_string();
    let test = |args: &[&str]| {
        let config = ["-C", "/etc/x2go/broker/x2gobroker.conf", "-H", &name];
        run(broker, "x2gobroker-testagent", &[&config, args].concat())
    };
    // As documented: a server that is not known is not asked.
    let stranger = format!("{:#}", test(&["-t", "ping"]).unwrap_err());
    assert!(stranger.contains("--add-to-known-hosts once"), "{stranger}");
    assert_eq!(test(&["-A", "-t", "ping"]).unwrap(), "OK\n");
    assert_eq!(test(&["-t", "ping"]).unwrap(), "OK\n");
    let tasks = test(&["--list-tasks"]).unwrap();
    assert!(tasks.ends_with("terminatesession\n"), "{tasks}");
    let listed = test(&["-t", "listsessions", "-u", "alice"]).unwrap();
    assert_eq!(listed, "OK\n");
    let refused = test(&["-t", "listsessions", "-u", "root"]).unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("no ordinary user"), "{refused}");
    let over_mesh = test(&["--mesh", "-t", "ping"]).unwrap();
    assert!(
        over_mesh.starts_with(&format!("{name}: ready")),
        "{over_mesh}"
    );
}
