//! What does the UCCS front end answer, byte for byte? Greeters such as Arctica's ask it
//! before anybody has a desktop.

use proto::Username;

use crate::frontend::json::{Object, Value};
use crate::names::address_for_client;
use crate::profiles::{Gap, OptionValue, ProfileHost};
use crate::task::list_sessions::Listed;

/// How an answer is made.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// The version in the URL: from 5 on a session's command has a name of its own.
    pub api: u8,
    /// What this front end's URLs begin with.
    pub url_base: &'a str,
    /// The backend, as the URL names it.
    pub backend: &'a str,
}

/// The answer to somebody who was let in. `pick` chooses one of so many hosts.
#[must_use]
pub fn answer(
    profiles: &[Listed<'_>],
    user: Option<&Username>,
    style: Style<'_>,
    pick: impl Fn(usize) -> usize,
) -> String {
    let user = user.map_or(ANONYMOUS, Username::as_str);
    let servers = profiles.iter().filter_map(|listed| {
        let host = host(listed, &pick)?;
        Some(Value::Object(server(listed, host, user, style.api)))
    });
    let default = profiles.last().map_or("", |listed| &listed.profile.name);
    let url = format!("{}uccs/{}/", style.url_base, style.backend);
    let document = Object::from([
        ("AdditionalManagementServers", Value::List(Vec::new())),
        ("DefaultServer", default.into()),
        ("Name", "X2Go Session Broker".into()),
        ("RemoteDesktopServers", Value::List(servers.collect())),
        ("URL", url.into()),
    ]);
    Value::Object(document).to_text(INDENT)
}

fn server<'a>(listed: &'a Listed<'_>, host: &ProfileHost, user: &'a str, api: u8) -> Object<'a> {
    let profile = listed.profile;
    let mut members = Object::from([
        ("Name", profile.name.as_str().into()),
        ("Password", "".into()),
        ("Username", user_of(listed, user).into()),
    ]);
    if is_rdp(listed) {
        members.extend([
            ("Protocol", "rdp".into()),
            ("DomainRequired", Value::Flag(true)),
            ("WindowsDomain", "LOCAL".into()),
            ("URL", format!("http://{}/", host.target()).into()),
        ]);
        return members;
    }
    let address = address_for_client(host, profile.sshport);
    let (command, required) = match api {
        ..5 => ("SessionType", "SessionTypeRequired"),
        5.. => ("Command", "CommandRequired"),
    };
    members.extend([
        ("Protocol", "x2go".into()),
        (command, profile.command.as_str().into()),
        (required, Value::Flag(true)),
        ("URL", format!("http://{address}/").into()),
    ]);
    members
}

/// The host where a session of the user waits, else one of all; the first of a profile
/// that shows another's session.
fn host<'a>(listed: &Listed<'a>, pick: impl Fn(usize) -> usize) -> Option<&'a ProfileHost> {
    let hosts = &listed.profile.hosts;
    let waits = listed.session.as_ref().and_then(|session| {
        let server = session.server.as_str();
        hosts.iter().find(|host| host.name == server)
    });
    if listed.profile.is_shadow() {
        return hosts.first();
    }
    waits.or_else(|| hosts.get(pick(hosts.len())))
}

fn user_of<'a>(listed: &'a Listed<'_>, user: &'a str) -> &'a str {
    match option(listed, "user") {
        Some(OptionValue::Text(text)) => text,
        Some(OptionValue::Gap(Gap::User)) => user,
        _ => "",
    }
}

fn is_rdp(listed: &Listed<'_>) -> bool {
    matches!(option(listed, "directrdp"), Some(OptionValue::Flag(true)))
}

fn option<'a>(listed: &'a Listed<'_>, wanted: &str) -> Option<&'a OptionValue> {
    let mut options = listed.profile.options();
    options.find_map(|(key, value)| (key == wanted).then_some(value))
}

/// The user where no credentials are required and none were sent.
const ANONYMOUS: &str = "anonymous";

const INDENT: usize = 2;

#[cfg(test)]
mod tests {
    use proto::{NodeId, SessionState, Username};

    use super::{Style, answer};
    use crate::frontend::golden;
    use crate::profiles::SessionProfiles;
    use crate::task::list_sessions::{Listed, ListedSession};

    const STYLE: Style<'_> = Style {
        api: 5,
        url_base: "https://broker.lab.test:8080/",
        backend: "inifile",
    };

    fn profiles(text: &str) -> SessionProfiles {
        SessionProfiles::parse("profiles", text).unwrap().0
    }

    fn listed(profiles: &SessionProfiles) -> Vec<Listed<'_>> {
        let listed = profiles.iter().map(|profile| Listed {
            profile,
            session: None,
            counts: None,
            autologin: false,
        });
        listed.collect()
    }

    #[test]
    fn both_versions_are_answered_as_the_original_answers_them() {
        for (case, api) in [("uccs-api4", 4), ("uccs-api5", 5)] {
            let profiles = profiles(&golden::config(case, "sessionprofiles.conf"));
            // The original drew s2 of s1, s2, s3.
            let pick = |n_hosts| usize::from(n_hosts == 3);
            let ours = answer(&listed(&profiles), None, Style { api, ..STYLE }, pick);
            assert_eq!(ours, golden::body(case, "response.http"));
        }
    }

    #[test]
    fn a_user_has_a_name_and_goes_back_to_the_own_session() {
        let profiles = profiles("[a]\nname=A\nhost=s1,s2,s3\n[b]\nname=B\nuser=not-set\n");
        let mut listed = listed(&profiles);
        listed[0].session = Some(ListedSession {
            state: SessionState::Suspended,
            server: NodeId::parse("s3").unwrap(),
        });
        let alice = Username::parse("alice").unwrap();
        let ours = answer(&listed, Some(&alice), STYLE, |_| 0);
        assert!(ours.contains("\"URL\": \"http://s3:22/\",\n      \"Username\": \"alice\"\n"));
        assert!(ours.contains("\"URL\": \"http://localhost:22/\",\n      \"Username\": \"\"\n"));
        assert!(ours.contains("\"DefaultServer\": \"B\""));
    }

    #[test]
    fn a_profile_without_hosts_is_left_out() {
        let profiles = profiles("[a]\nname=A\nhost=not-set\n");
        let ours = answer(&listed(&profiles), None, STYLE, |_| 0);
        assert!(ours.contains("\"RemoteDesktopServers\": [],"), "{ours}");
    }
}
