//! Which keys does a profile want where, and can that be had?

use std::net::IpAddr;
use std::time::Duration;

use proto::{KeyFile, KeyGrant, PublicKey};

use crate::config::AutologinConfig;
use crate::profiles::{ProfileHost, SessionProfile};

/// What autologin to a profile takes.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    hosts: &'a [ProfileHost],
    /// The first one is handed out, too, when its agent is not there.
    first_is_needed: bool,
    file: &'a KeyFile,
    life: Duration,
    proxy: Option<ProxyPlan<'a>>,
}

/// The part of it that the SSH proxy has.
#[derive(Clone, Copy, Debug)]
pub struct ProxyPlan<'a> {
    /// Where it is.
    pub host: &'a ProfileHost,
    /// Without the key, the client does not get past it.
    pub is_needed: bool,
    file: &'a KeyFile,
}

impl<'a> Plan<'a> {
    /// None when the profile wants no keys.
    #[must_use]
    pub fn of(profile: &'a SessionProfile, config: &'a AutologinConfig) -> Option<Self> {
        let keys = &profile.keys;
        if !keys.wanted.unwrap_or(config.enabled) {
            return None;
        }
        Some(Self {
            hosts: &profile.hosts,
            first_is_needed: profile.is_shadow(),
            file: keys.file.as_ref().unwrap_or(&config.file),
            life: config.life,
            proxy: keys.proxy.as_ref().map(|proxy| ProxyPlan {
                host: &proxy.host,
                is_needed: proxy.same_key,
                file: keys.proxy_file.as_ref().unwrap_or(&config.proxy_file),
            }),
        })
    }

    /// Whether a client may be told that a key will come: whichever server it is given
    /// will have installed it. `installs` tells it of a host that has a living agent.
    #[must_use]
    pub fn can_be_promised(&self, installs: impl Fn(&ProfileHost) -> Option<bool>) -> bool {
        let first = self.hosts.first().and_then(&installs);
        let first_does = !self.first_is_needed || first == Some(true);
        let mut hosts = self.hosts.iter().filter_map(&installs).peekable();
        let all_do = hosts.peek().is_some() && hosts.all(|installs| installs);
        first_does && all_do && self.passes_proxy(installs)
    }

    /// Whether a key has a chance: some server would install it.
    #[must_use]
    pub fn may_work(&self, installs: impl Fn(&ProfileHost) -> Option<bool>) -> bool {
        let some = self.hosts.iter().any(|host| installs(host) == Some(true));
        some && self.passes_proxy(installs)
    }

    fn passes_proxy(&self, installs: impl Fn(&ProfileHost) -> Option<bool>) -> bool {
        let needed = self.proxy.as_ref().filter(|proxy| proxy.is_needed);
        needed.is_none_or(|proxy| installs(proxy.host) == Some(true))
    }

    /// How long a key opens an account.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// The proxy's part, if there is one.
    #[must_use]
    pub fn proxy(&self) -> Option<ProxyPlan<'a>> {
        self.proxy
    }

    /// What the server's agent is asked for. Behind a proxy the server sees that one's
    /// address and not the client's.
    #[must_use]
    pub fn grant(&self, key: PublicKey, client: IpAddr) -> KeyGrant {
        KeyGrant {
            key,
            client: self.proxy.is_none().then_some(client),
            file: self.file.clone(),
            life: self.life,
        }
    }

    /// What the proxy's agent is asked for.
    #[must_use]
    pub fn proxy_grant(&self, proxy: ProxyPlan<'_>, key: PublicKey, client: IpAddr) -> KeyGrant {
        KeyGrant {
            key,
            client: Some(client),
            file: proxy.file.clone(),
            life: self.life,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{KeyFile, PublicKey};

    use super::Plan;
    use crate::config::AutologinConfig;
    use crate::profiles::{ProfileHost, SessionProfiles};

    fn config(enabled: bool) -> AutologinConfig {
        AutologinConfig {
            enabled,
            file: KeyFile::parse("%h/default").unwrap(),
            proxy_file: KeyFile::parse("%h/proxy").unwrap(),
            life: Duration::from_secs(20),
        }
    }

    fn profiles(text: &str) -> SessionProfiles {
        let text = format!("[a]\nhost=s1,s2,s3\n{text}");
        SessionProfiles::parse("p", &text).unwrap().0
    }

    /// s1 to s9 by what their agents say: `y` installs keys, `n` does not, `-` is not there.
    fn says(agents: &str) -> impl Fn(&ProfileHost) -> Option<bool> {
        move |host| {
            let number: usize = host.name.strip_prefix('s')?.parse().ok()?;
            match agents.as_bytes().get(number - 1)? {
                b'y' => Some(true),
                b'n' => Some(false),
                _ => None,
            }
        }
    }

    const PROXY: &str = "usesshproxy=true\nsshproxyhost=s9\n";

    #[test]
    fn keys_are_promised_only_where_every_server_and_a_needed_proxy_installs_them() {
        let same_key = format!("{PROXY}sshproxysamekey=true\n");
        // What the profile says, what the agents say, promised, worth a try.
        for (more, agents, promised, tried) in [
            ("", "yyy", true, true),
            ("", "y--", true, true),
            ("", "yny", false, true),
            ("", "nn-", false, false),
            ("", "---", false, false),
            ("command=SHADOW\n", "yyy", true, true),
            ("command=SHADOW\n", "y--", true, true),
            ("command=SHADOW\n", "ynn", false, true),
            ("command=SHADOW\n", "nyy", false, true),
            ("command=SHADOW\n", "-yy", false, true),
            ("command=SHADOW\n", "nn-", false, false),
            (PROXY, "yyy-----n", true, true),
            (PROXY, "yyy------", true, true),
            (&same_key, "yyy-----y", true, true),
            (&same_key, "yyy-----n", false, false),
            (&same_key, "yyy------", false, false),
        ] {
            let profiles = profiles(more);
            let config = config(true);
            let plan = Plan::of(profiles.get("a").unwrap(), &config).unwrap();
            let found = (
                plan.can_be_promised(says(agents)),
                plan.may_work(says(agents)),
            );
            assert_eq!(found, (promised, tried), "{more:?} {agents}");
        }
    }

    #[test]
    fn a_profile_says_otherwise_than_the_configuration() {
        for (more, enabled, wanted) in [
            ("", false, false),
            ("", true, true),
            ("broker-session-autologin=true\n", false, true),
            ("broker-session-autologin=false\n", true, false),
        ] {
            let (profiles, config) = (profiles(more), config(enabled));
            let plan = Plan::of(profiles.get("a").unwrap(), &config);
            assert_eq!(plan.is_some(), wanted, "{more:?} {enabled}");
        }
    }

    #[test]
    fn keys_go_to_the_file_of_the_profile_or_else_of_the_configuration() {
        let client = "10.77.0.20".parse().unwrap();
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";
        let key = PublicKey::parse(key).unwrap();
        let own = format!("{PROXY}broker-authorized-keys=/a\nbroker-sshproxy-authorized-keys=/b\n");
        for (more, file, proxy_file) in [
            (PROXY.to_owned(), "%h/default", "%h/proxy"),
            (own, "/a", "/b"),
        ] {
            let (profiles, config) = (profiles(&more), config(true));
            let plan = Plan::of(profiles.get("a").unwrap(), &config).unwrap();
            let at_server = plan.grant(key.clone(), client);
            let at_proxy = plan.proxy_grant(plan.proxy().unwrap(), key.clone(), client);
            assert_eq!(at_server.file.as_str(), file);
            assert_eq!(at_proxy.file.as_str(), proxy_file);
            // The server sees the proxy, and the proxy the client.
            assert_eq!((at_server.client, at_proxy.client), (None, Some(client)));
        }
        let (profiles, config) = (profiles(""), config(true));
        let plan = Plan::of(profiles.get("a").unwrap(), &config).unwrap();
        assert_eq!(plan.grant(key, client).client, Some(client));
    }
}
