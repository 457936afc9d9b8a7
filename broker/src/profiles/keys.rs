//! What does a profile say of keys for its servers, and for the proxy before them?

use std::sync::Arc;

use proto::KeyFile;

use super::ProfileHost;
use super::options::{self, ClientOption};
use super::reading::Reading;
use crate::ini::flag;

/// The `broker-*` keys about autologin, and the proxy that clients go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileKeys {
    /// Whether a key is wanted; none: as the configuration says.
    pub wanted: Option<bool>,
    /// The file that it goes to; none: as the configuration says.
    pub file: Option<KeyFile>,
    /// The same on the proxy.
    pub proxy_file: Option<KeyFile>,
    /// The proxy.
    pub proxy: Option<SshProxy>,
}

/// The SSH proxy that clients reach the servers through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshProxy {
    /// Where it is.
    pub host: ProfileHost,
    /// `sshproxysamekey`: the client shows it the key that is for the server.
    pub same_key: bool,
}

/// What cannot be read switches autologin off for this profile: a key in another file than
/// the one that is meant opens nothing, or too much.
pub(super) fn profile_keys(
    reading: &mut Reading<'_>,
    options: &[Arc<ClientOption>],
) -> ProfileKeys {
    let mut keys = ProfileKeys {
        wanted: wanted(reading),
        proxy: proxy(options),
        ..ProfileKeys::default()
    };
    for (key, file) in [
        ("broker-authorized-keys", &mut keys.file),
        ("broker-sshproxy-authorized-keys", &mut keys.proxy_file),
    ] {
        let Some(entry) = reading.entry(key).filter(|entry| !entry.value.is_empty()) else {
            continue;
        };
        match KeyFile::parse(&entry.value) {
            Ok(named) => *file = Some(named),
            Err(error) => {
                reading.warning(entry, format!("{error}; the profile has no autologin"));
                keys.wanted = Some(false);
            }
        }
    }
    keys
}

fn wanted(reading: &mut Reading<'_>) -> Option<bool> {
    let entry = reading.entry("broker-session-autologin")?;
    let wanted = flag(&entry.value);
    if wanted.is_none() {
        reading.warning(entry, "this is neither true nor false; taken as false");
    }
    Some(wanted.unwrap_or_default())
}

fn proxy(options: &[Arc<ClientOption>]) -> Option<SshProxy> {
    let is_on = |key| options::text_of(options, key).and_then(flag) == Some(true);
    let host = options::text_of(options, "sshproxyhost")?;
    is_on("usesshproxy").then_some(SshProxy {
        host: ProfileHost::parse(host).ok()?,
        same_key: is_on("sshproxysamekey"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::SessionProfiles;
    use super::ProfileKeys;

    fn keys(text: &str) -> (ProfileKeys, Vec<String>) {
        let text = format!("[DEFAULT]\nhost=s1\n{text}");
        let (profiles, problems) = SessionProfiles::parse("p", &text).unwrap();
        let problems = problems.iter().map(ToString::to_string).collect();
        (profiles.get("a").unwrap().keys.clone(), problems)
    }

    #[test]
    fn a_profile_has_the_last_word_and_inherits_from_default() {
        assert_eq!(keys("[a]\nname=x\n"), Default::default());
        let (own, problems) = keys(
            "broker-session-autologin=yes\nbroker-authorized-keys=/k/%u\n[a]\n\
             broker-sshproxy-authorized-keys=%h/p\nusesshproxy=true\nsshproxyhost=s3\n\
             sshproxysamekey=1\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let file = |file: &Option<proto::KeyFile>| file.as_ref().unwrap().to_string();
        assert_eq!(own.wanted, Some(true));
        assert_eq!(
            (file(&own.file), file(&own.proxy_file)),
            ("/k/%u".into(), "%h/p".into())
        );
        let proxy = own.proxy.unwrap();
        assert_eq!((proxy.host.name.as_str(), proxy.same_key), ("s3", true));
        // Clients go through a proxy only when they are told to.
        assert_eq!(keys("[a]\nsshproxyhost=s3\n").0.proxy, None);
        // `not-set` takes back what [DEFAULT] says, and so does an empty name of a file.
        let text = "broker-session-autologin=true\nbroker-authorized-keys=/k/%u\n[a]\n\
                    broker-session-autologin=not-set\nbroker-authorized-keys=\n";
        assert_eq!(keys(text), Default::default());
    }

    #[test]
    fn what_cannot_be_read_gives_no_key() {
        for (line, remark) in [
            ("broker-session-autologin=maybe", "neither true nor false"),
            ("broker-authorized-keys=../%h", "not the name of a key file"),
            (
                "broker-sshproxy-authorized-keys=%x",
                "not the name of a key file",
            ),
        ] {
            let (keys, problems) = keys(&format!("[a]\n{line}\n"));
            assert_eq!(keys.wanted, Some(false), "{line}");
            assert!(problems[0].contains(remark), "{problems:?}");
        }
    }
}
