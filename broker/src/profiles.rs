//! Which session profiles does the file offer, and what is in each?
//!
//! The set is immutable and parsed once. One broken profile is left out and reported; it
//! never takes the others with it.

mod broker_keys;
mod host;
mod keys;
mod literal;
mod options;
mod qt;
mod query_mode;
mod reading;
mod rendered;
mod zeroconf;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proto::SessionProfileId;

pub(crate) use host::HostKey;
pub use host::{HostError, ProfileHost};
pub use keys::{ProfileKeys, SshProxy};
pub use options::OptionValue;
pub use qt::PlainValues;
pub use query_mode::{AgentQueryMode, HostKeyPolicy};
pub use rendered::{Gap, Rendered};
pub use zeroconf::zeroconf;

use crate::acl::Acl;
use crate::ini::{DEFAULT_SECTION, Ini, Problem};
use options::{ClientOption, Inherited};
use reading::Reading;

/// All profiles of one file, sorted by ID.
#[derive(Clone, Debug, Default)]
pub struct SessionProfiles {
    profiles: Vec<SessionProfile>,
    index: HashMap<Box<str>, usize>,
}

/// One session profile.
#[derive(Clone, Debug)]
pub struct SessionProfile {
    /// Its section name, by which clients ask for it.
    pub id: SessionProfileId,
    /// What clients show; empty if the file gives none.
    pub name: String,
    /// The X2Go servers that it may use, in file order. May be empty.
    pub hosts: Vec<ProfileHost>,
    /// The SSH port of hosts that have none of their own.
    pub sshport: u16,
    /// What it starts; desktops in capitals.
    pub command: String,
    /// Who may see and use it.
    pub acl: Acl,
    /// What it says of autologin.
    pub keys: ProfileKeys,
    /// Its lines in a plain answer.
    pub rendered: Rendered,
    /// The names of its hosts, comma joined, as clients are shown them.
    pub host_names: String,
    /// By which way the agents of its hosts are asked; none: as the backend says.
    pub query_mode: Option<AgentQueryMode>,
    /// What is done about old servers whose host key is not known; none: as the backend
    /// says.
    pub host_key_policy: Option<HostKeyPolicy>,
    /// Where it stands in the file.
    pub line: u32,
    options: Vec<Arc<ClientOption>>,
}

impl SessionProfiles {
    /// Reads a file. `file` is how problems call it.
    ///
    /// # Errors
    /// All problems, when the file can't be used as a whole: it or what it makes of
    /// `[DEFAULT]` is too large, or what is wrong stands before the first section or in
    /// `[DEFAULT]`, and so is about every profile.
    pub fn parse(file: &str, text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        Self::parse_with(PlainValues::default(), file, text)
    }

    /// Reads a file, and writes values into plain lists in this way.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with(
        values: PlainValues,
        file: &str,
        text: &str,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (ini, errors) = Ini::parse_leniently(text);
        let problems: Vec<_> = errors.iter().map(|e| Problem::of_ini(file, e)).collect();
        let is_about_all = |section: &Option<String>| match section {
            None => true,
            Some(name) => name == DEFAULT_SECTION,
        };
        if errors.iter().any(|error| is_about_all(&error.section)) {
            return Err(problems);
        }
        let broken: HashSet<&str> = errors.iter().filter_map(|e| e.section.as_deref()).collect();
        let mut problems = problems;
        let mut told = HashSet::new();
        let mut profiles = Vec::new();
        let inherited = Inherited::of(&ini, values);
        let mut n_bytes = 0;
        for section in ini.sections() {
            if broken.contains(section.name()) {
                continue;
            }
            let mut reading = Reading::new(file, &ini, section, values);
            let profile = SessionProfile::read(&mut reading, &inherited);
            n_bytes += profile.as_ref().map_or(0, SessionProfile::n_bytes);
            profiles.extend(profile);
            if n_bytes > MAX_ANSWER_BYTES {
                let text = "all profiles together, with what they inherit, exceed 64 MB";
                problems.push(Problem::of_file(file, text));
                return Err(problems);
            }
            // What stands in [DEFAULT] is found wrong in each profile; once is enough.
            let new = |p: &Problem| told.insert((p.line, p.key.clone(), p.text.clone()));
            problems.extend(reading.problems.into_iter().filter(new));
        }
        problems.sort_by_key(|problem| problem.line);
        profiles.sort_by(|a: &SessionProfile, b| a.id.cmp(&b.id));
        let ids = profiles.iter().enumerate();
        let index = ids.map(|(idx, profile)| (profile.id.as_str().into(), idx));
        let index = index.collect();
        Ok((Self { profiles, index }, problems))
    }

    /// The profile of that ID.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&SessionProfile> {
        self.index.get(id).and_then(|&idx| self.profiles.get(idx))
    }

    /// All profiles, sorted by ID: the order of answers.
    pub fn iter(&self) -> std::slice::Iter<'_, SessionProfile> {
        self.profiles.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.profiles.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty()
    }
}

impl<'a> IntoIterator for &'a SessionProfiles {
    type Item = &'a SessionProfile;
    type IntoIter = std::slice::Iter<'a, SessionProfile>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl SessionProfile {
    /// Whether it shows a desktop that is there already, the user's own or another's.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.command == "SHADOW"
    }

    /// What a client gets, with types, in the order of the plain answer: the profile's own
    /// keys as the file has them, then those of `[DEFAULT]`, then the built-in ones. What
    /// depends on who asks is a [`Gap`]. `autologin`, `key` and `status` are not among them.
    pub fn options(&self) -> impl ExactSizeIterator<Item = (&str, &OptionValue)> {
        let options = self.options.iter();
        options.map(|option| (option.key.as_str(), &option.value))
    }

    /// How much it adds to an answer that shows all profiles.
    fn n_bytes(&self) -> usize {
        self.rendered.len() + self.host_names.len()
    }

    /// Reads a section; none when it is broken.
    fn read(reading: &mut Reading<'_>, inherited: &Inherited) -> Option<Self> {
        let id = SessionProfileId::parse(reading.section.name());
        if let Err(error) = &id {
            reading.section_error(error.to_string());
        }
        let options = options::client_options(reading, inherited);
        let acl = broker_keys::acl(reading);
        broker_keys::broker_keys(reading);
        let keys = keys::profile_keys(reading, &options);
        let hosts = read_hosts(reading);
        let sshport = read_sshport(reading, &options);
        if reading.is_broken() {
            return None;
        }
        let id = id.ok()?;
        let text_of = |key| options::text_of(&options, key).map(str::to_owned);
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        Some(Self {
            rendered: Rendered::of(reading.values, id.as_str(), &options),
            id,
            name: text_of("name").unwrap_or_default(),
            host_names: names.join(","),
            hosts,
            sshport,
            command: text_of("command").unwrap_or_else(|| "TERMINAL".to_owned()),
            acl,
            query_mode: broker_keys::query_mode(reading),
            host_key_policy: broker_keys::host_key_policy(reading),
            keys,
            line: reading.section.line(),
            options,
        })
    }
}

fn read_sshport(reading: &mut Reading<'_>, options: &[Arc<ClientOption>]) -> u16 {
    let number = options.iter().find_map(|option| match option.value {
        OptionValue::Number(number) if option.key == "sshport" => Some(number),
        _ => None,
    });
    let port = u16::try_from(number.unwrap_or(DEFAULT_SSH_PORT.into()));
    let port = port.unwrap_or_default();
    if let Some(entry) = reading.entry("sshport")
        && port == 0
    {
        reading.error(entry, "this is not a port; write one from 1 to 65535");
    }
    port
}

/// The hosts of a profile. An entry that can't be read is left out and reported.
fn read_hosts(reading: &mut Reading<'_>) -> Vec<ProfileHost> {
    let Some(entry) = reading.ini.get(reading.section.name(), "host") else {
        return ProfileHost::parse("localhost").into_iter().collect();
    };
    let mut hosts: Vec<ProfileHost> = Vec::new();
    if entry.value == options::NOT_SET {
        return hosts;
    }
    for item in literal::filled_items(&entry.value) {
        match ProfileHost::parse(&item) {
            Ok(host) => hosts.push(host),
            Err(error) => reading.warning(entry, format!("{error}; this host is left out")),
        }
    }
    for host in hosts.iter().filter(|host| host.clients_can_not_read_it()) {
        let address = host.target();
        let text = format!("X2Go Client can't connect to {address}; give a name or IPv4 address");
        reading.warning(entry, text);
    }
    if hosts.is_empty() {
        reading.warning(entry, "the profile has no host, so nobody can use it");
    }
    hosts
}

/// Every profile repeats what it inherits, so that a small file could fill the memory;
/// 10,000 profiles of 6 KB fit.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where SSH servers listen.
pub const DEFAULT_SSH_PORT: u16 = 22;

#[cfg(test)]
mod tests;
