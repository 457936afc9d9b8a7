//! What do the `acl-*` and `broker-*` keys of a profile tell the broker?

use super::literal::{filled_items, is_plain_list};
use super::query_mode::{AgentQueryMode, HostKeyPolicy};
use super::reading::Reading;
use crate::acl::{Acl, ClientPattern, NamePattern, Order, Rules};
use crate::ini::Entry;

/// The ACL of a profile. What can't be read never lets more in: an unknown key leaves the
/// profile out, a broken entry matches nobody in an allow list and everybody in a deny list.
pub(super) fn acl(reading: &mut Reading<'_>) -> Acl {
    for entry in reading.entries() {
        if entry.key.starts_with("acl-") && !ACL_KEYS.contains(&entry.key.as_str()) {
            reading.error(entry, "no ACL has this key; the profile is left out");
        }
    }
    Acl {
        clients: client_rules(reading),
        users: name_rules(reading, "users"),
        groups: name_rules(reading, "groups"),
    }
}

/// Remarks on `broker-*` keys that this version does not know or do.
pub(super) fn broker_keys(reading: &mut Reading<'_>) {
    for entry in reading.entries() {
        let Some(name) = entry.key.strip_prefix("broker-") else {
            continue;
        };
        let text = match name {
            "session-autologin" | "authorized-keys" | "sshproxy-authorized-keys" => continue,
            "agent-query-mode" | "agent-hostkey-policy" => continue,
            "portscan-x2goservers" | "use-load-checker" => {
                "this has no effect: the mesh asks its agents"
            }
            _ => "this key is not known and has no effect",
        };
        reading.warning(entry, text);
    }
}

/// By which way the profile wants agents to be asked.
pub(super) fn query_mode(reading: &mut Reading<'_>) -> Option<AgentQueryMode> {
    let entry = reading.entry("broker-agent-query-mode")?;
    let mode = AgentQueryMode::parse(&entry.value);
    if mode.is_none() {
        let text = AgentQueryMode::WRONG;
        reading.warning(entry, format!("{text}; what the backend says counts"));
    }
    mode
}

/// What the profile wants to be done about unknown host keys. What can't be read is the
/// strictest.
pub(super) fn host_key_policy(reading: &mut Reading<'_>) -> Option<HostKeyPolicy> {
    let entry = reading.entry("broker-agent-hostkey-policy")?;
    let policy = HostKeyPolicy::parse(&entry.value);
    if policy.is_none() {
        let text = HostKeyPolicy::WRONG;
        reading.warning(entry, format!("{text}; taken as RejectPolicy"));
    }
    Some(policy.unwrap_or_default())
}

fn client_rules(reading: &mut Reading<'_>) -> Option<Rules<ClientPattern>> {
    let allow = client_list(reading, "acl-clients-allow", None);
    let deny = client_list(reading, "acl-clients-deny", Some(&ClientPattern::Any));
    rules(reading, "clients", allow, deny)
}

/// The entries of a client list. A broken one counts as `instead`.
fn client_list(
    reading: &mut Reading<'_>,
    key: &str,
    instead: Option<&ClientPattern>,
) -> Option<Vec<ClientPattern>> {
    let (entry, items) = list(reading, key)?;
    let counts_as = match instead {
        None => "it matches nobody",
        Some(_) => "it counts as ALL, so that it lets nobody in who should stay out",
    };
    let mut patterns = Vec::new();
    for item in items {
        match ClientPattern::parse(&item) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                let item: String = item.chars().take(MAX_SHOWN_CHARS).collect();
                reading.warning(entry, format!("{item:?}: {error}; {counts_as}"));
                patterns.extend(instead.cloned());
            }
        }
    }
    Some(patterns)
}

fn name_rules(reading: &mut Reading<'_>, kind: &str) -> Option<Rules<NamePattern>> {
    let mut names = |list_kind: &str| {
        let (_, items) = list(reading, &format!("acl-{kind}-{list_kind}"))?;
        Some(items.iter().map(|item| NamePattern::parse(item)).collect())
    };
    let (allow, deny) = (names("allow"), names("deny"));
    rules(reading, kind, allow, deny)
}

fn rules<P>(
    reading: &mut Reading<'_>,
    kind: &str,
    allow: Option<Vec<P>>,
    deny: Option<Vec<P>>,
) -> Option<Rules<P>> {
    let order = order(reading, kind);
    (allow.is_some() || deny.is_some()).then(|| Rules {
        allow: allow.unwrap_or_default(),
        deny: deny.unwrap_or_default(),
        order,
    })
}

fn list<'a>(reading: &mut Reading<'a>, key: &str) -> Option<(&'a Entry, Vec<String>)> {
    let entry = reading.entry(key)?;
    if !is_plain_list(&entry.value) {
        let text = "this is no list; write names with commas between them, without brackets";
        reading.error(entry, format!("{text}; the profile is left out"));
    }
    let items: Vec<String> = filled_items(&entry.value).collect();
    if items.is_empty() {
        let text = "an empty list matches nobody; fill it, or remove the key";
        reading.warning(entry, text);
    }
    Some((entry, items))
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

/// How much of a broken entry a problem shows.
const MAX_SHOWN_CHARS: usize = 64;

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
