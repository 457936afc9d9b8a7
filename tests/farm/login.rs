//! Does a login through either replica give the same farm?

use tests::lab::farm_user;

use crate::figures::Figures;
use crate::mesh::{Mesh, address};

#[test]
fn a_login_through_each_replica_leads_to_a_server() {
    let Some(mut mesh) = Mesh::up() else { return };
    for broker in mesh.lab.brokers() {
        let call = mesh.caller().list(address(broker), "alice").unwrap();
        let answer = call.answer.unwrap();
        assert!(answer.granted, "{broker}: {answer:?}");
        let farm = answer.profile("farm").unwrap();
        assert_eq!(farm.option("name"), Some("Farm"), "{broker}: {answer:?}");
        println!("listsessions through {broker}: {:.1?}", call.took);
    }
    let mut figures = Figures::default();
    for _ in 0..60 {
        mesh.log_in_next(&mut figures);
    }
    println!("selectsession through both replicas by turns: {figures}");
    assert!(
        figures.failures().is_empty(),
        "{:#?}\n{}",
        figures.failures(),
        mesh.story()
    );
    // The three hosts are equal, so no server is left out, and none takes nearly all.
    for server in mesh.lab.servers() {
        assert!(
            (5..50).contains(&figures.at(&server.to_string())),
            "{figures}"
        );
    }
    for server in mesh.lab.servers() {
        let kb = mesh.agent(server).rss_kb().unwrap();
        println!("agentd on {server}: {kb} KiB resident");
        assert!(kb <= 25 * 1024);
    }
    for broker in mesh.lab.brokers() {
        println!(
            "daemon on {broker}: {} KiB resident",
            mesh.replica(broker).rss_kb().unwrap()
        );
    }
}

#[test]
fn a_user_with_a_reservation_gets_the_same_server_through_the_other_replica() {
    let Some(mut mesh) = Mesh::up() else { return };
    let brokers = mesh.lab.brokers();
    for number in 100..120 {
        let user = farm_user(number);
        let first = mesh
            .caller()
            .select(address(brokers[0]), &user, "farm")
            .unwrap();
        let second = mesh
            .caller()
            .select(address(brokers[1]), &user, "farm")
            .unwrap();
        assert_eq!(
            first.server().unwrap(),
            second.server().unwrap(),
            "{user}\n{}",
            mesh.story()
        );
    }
}
