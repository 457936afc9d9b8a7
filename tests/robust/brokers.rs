//! Does one daemon serve several brokers, each with its own files, and none with another's?

use tests::http::HttpClient;
use tests::wait::{Progress, wait_for};

use crate::small_farm::{ANSWER_LIMIT, JOIN_LIMIT, Plan, SmallFarm};

const SALES: &str = "[sales]\nname=Sales\nhost=s1 (127.0.0.1:22001)\n";

/// A farm whose daemon serves a second broker under `/sales`.
fn farm() -> SmallFarm {
    SmallFarm::up(Plan {
        sections: |site| {
            let profiles = site.write("sales-profiles.conf", SALES);
            let text = format!(
                "[global]\ndefault-auth-mech = none\n[broker_inifile]\nenable = true\n\
                 session-profiles = {}\n[http]\nbase-path = /sales\n",
                profiles.display()
            );
            let config = site.write("sales.conf", &text);
            format!("[brokers]\nsales = {}\n", config.display())
        },
        ..Plan::ONE_SERVER
    })
}

fn list(client: &mut HttpClient, path: &str) -> (u16, String) {
    let fields = [
        ("task", "listsessions"),
        ("user", "alice"),
        ("password", "pw"),
    ];
    let answer = client.post_form(path, &fields).unwrap();
    (answer.status, answer.text())
}

#[test]
fn each_broker_has_its_own_profiles_and_is_reloaded_by_itself() {
    let farm = farm();
    let mut client = farm.client();
    let (_, main) = list(&mut client, "/plain/");
    assert!(
        main.contains("\n[farm]\n") && !main.contains("\n[sales]\n"),
        "{main}"
    );
    let (_, sales) = list(&mut client, "/sales/plain/");
    assert!(
        sales.contains("\n[sales]\n") && !sales.contains("\n[farm]\n"),
        "{sales}"
    );
    assert_eq!(list(&mut client, "/nosuch/plain/").0, 404);
    // A file of one that breaks is no matter of the other.
    farm.site
        .write("sales.conf", "[global]\nrequire-password = perhaps\n");
    farm.site
        .write("sales-profiles.conf", &SALES.replace("[sales]", "[market]"));
    farm.site.write(
        "sessionprofiles.conf",
        "[new]\nname=New\nhost=s1 (127.0.0.1:22001)\n",
    );
    let reloaded = wait_for(JOIN_LIMIT, || {
        let (_, main) = list(&mut HttpClient::new(farm.http, ANSWER_LIMIT), "/plain/");
        Progress::when(main.contains("\n[new]\n"), || main)
    });
    reloaded.unwrap();
    let (_, sales) = list(&mut client, "/sales/plain/");
    assert!(sales.contains("\n[sales]\n"), "{sales}");
}
