//! Does any ACL text make its reader panic, and does one more deny entry ever let more in?
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use broker::acl::{Acl, Asker, ClientNames, ClientPattern, GroupName, Groups, NamePattern};
use broker::profiles::SessionProfiles;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Lines of a profile; only those about ACLs are kept.
    lines: &'a str,
    user: Option<&'a str>,
    groups: Option<Vec<&'a str>>,
    client: [u8; 4],
    more: &'a str,
    kind: u8,
}

fuzz_target!(|input: Input<'_>| {
    let lines = input.lines.lines();
    let lines: String = lines
        .filter(|line| line.starts_with("acl-"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let text = format!("[p]\n{lines}");
    let Ok((profiles, _)) = SessionProfiles::parse("profiles", &text) else {
        return;
    };
    let Some(profile) = profiles.get("p") else {
        return;
    };
    let groups: Option<Vec<GroupName>> = input.groups.map(|names| {
        let names = names.into_iter().filter_map(|name| GroupName::parse(name).ok());
        names.collect()
    });
    let asker = Asker {
        user: input.user,
        groups: groups.as_deref().map_or(Groups::Unknown, Groups::Known),
        client: IpAddr::V4(Ipv4Addr::from(input.client)),
        client_names: &ClientNames::default(),
    };
    let acl = &profile.acl;
    if acl.needs_groups(&asker) {
        assert!(!acl.allows(&asker), "what is not known lets somebody in");
    }
    if let Some(stricter) = with_one_more_deny(acl, input.kind, input.more)
        && stricter.allows(&asker)
    {
        assert!(acl.allows(&asker), "one more deny lets more in: {acl:?}");
    }
});

/// Adds an entry to a deny list that is there already: a new list is a new rule.
fn with_one_more_deny(acl: &Acl, kind: u8, entry: &str) -> Option<Acl> {
    let mut stricter = acl.clone();
    match kind % 3 {
        0 => {
            let pattern = ClientPattern::parse(entry).ok()?;
            stricter.clients.as_mut()?.deny.push(pattern);
        }
        1 => stricter.users.as_mut()?.deny.push(NamePattern::parse(entry)),
        _ => stricter.groups.as_mut()?.deny.push(NamePattern::parse(entry)),
    }
    Some(stricter)
}
