//! What do the `acl-*` and `broker-*` keys of a profile tell the broker?

use super::literal::filled_items;
use super::reading::Reading;
use crate::acl::{Acl, ClientPattern, NamePattern, Order, Rules};
use crate::ini::flag;

/// The ACL of a profile. Whatever can't be read leaves the profile out: a mistake in a
/// rule must not let more in.
pub(super) fn acl(reading: &mut Reading<'_>) -> Acl {
    for entry in reading.entries() {
        if entry.key.starts_with("acl-") && !ACL_KEYS.contains(&entry.key.as_str()) {
            reading.error(entry, "no ACL has this key; the profile is left out");
        }
    }
    let clients = rules(reading, "clients", ClientPattern::parse);
    let users = rules(reading, "users", |text| Some(NamePattern::parse(text)));
    let groups = rules(reading, "groups", |text| Some(NamePattern::parse(text)));
    for key in ["acl-groups-allow", "acl-groups-deny"] {
        if let Some(entry) = reading.entry(key) {
            let text = "groups are not looked up yet; the profile is hidden from everybody";
            reading.warning(entry, text);
        }
    }
    Acl {
        clients,
        users,
        groups,
    }
}

/// Remarks on `broker-*` keys that this version does not know or do.
pub(super) fn broker_keys(reading: &mut Reading<'_>) {
    for entry in reading.entries() {
        let Some(name) = entry.key.strip_prefix("broker-") else {
            continue;
        };
        let text = match name {
            "session-autologin" if flag(&entry.value) != Some(true) => continue,
            "session-autologin" => "autologin is not done yet; users type their password",
            "agent-hostkey-policy" | "authorized-keys" | "sshproxy-authorized-keys" => continue,
            "agent-query-mode" | "portscan-x2goservers" | "use-load-checker" => {
                "this has no effect: the mesh asks its agents"
            }
            _ => "this key is not known and has no effect",
        };
        reading.warning(entry, text);
    }
}

fn rules<P>(
    reading: &mut Reading<'_>,
    kind: &str,
    read: impl Fn(&str) -> Option<P>,
) -> Option<Rules<P>> {
    let allow = list(reading, &format!("acl-{kind}-allow"), &read);
    let deny = list(reading, &format!("acl-{kind}-deny"), &read);
    let order = order(reading, kind);
    (allow.is_some() || deny.is_some()).then(|| Rules {
        allow: allow.unwrap_or_default(),
        deny: deny.unwrap_or_default(),
        order,
    })
}

fn list<P>(
    reading: &mut Reading<'_>,
    key: &str,
    read: impl Fn(&str) -> Option<P>,
) -> Option<Vec<P>> {
    let entry = reading.entry(key)?;
    if filled_items(&entry.value).next().is_none() {
        let text = "an empty list matches nobody; fill it, or remove the key";
        reading.warning(entry, text);
    }
    let mut list = Vec::new();
    for item in filled_items(&entry.value) {
        match read(&item) {
            Some(pattern) => list.push(pattern),
            None => {
                let item: String = item.chars().take(64).collect();
                let text = format!(
                    "{item:?} is neither ALL, an address nor a network; the profile is left out"
                );
                reading.error(entry, text);
            }
        }
    }
    Some(list)
}

/// The order of one kind, else `acl-any-order`, else deny-allow.
fn order(reading: &mut Reading<'_>, kind: &str) -> Order {
    let own = reading.entry(&format!("acl-{kind}-order"));
    let Some(entry) = own.or_else(|| reading.entry("acl-any-order")) else {
        return Order::default();
    };
    match entry.value.as_str() {
        "deny-allow" => Order::DenyAllow,
        "allow-deny" => Order::AllowDeny,
        _ => {
            let text = "this is neither deny-allow nor allow-deny; taken as deny-allow";
            reading.warning(entry, text);
            Order::default()
        }
    }
}

const ACL_KEYS: &[&str] = &[
    "acl-users-allow",
    "acl-users-deny",
    "acl-users-order",
    "acl-groups-allow",
    "acl-groups-deny",
    "acl-groups-order",
    "acl-clients-allow",
    "acl-clients-deny",
    "acl-clients-order",
    "acl-any-order",
];
