//! Where do the texts come from? The one place that reads configuration files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Config, InifileConfig, Sources};
use crate::ini::{Ini, MAX_FILE_BYTES, Problem};
use crate::profiles::SessionProfiles;

/// Where the configuration of a process comes from, to read it again and again.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `x2gobroker.conf`.
    pub config_file: PathBuf,
    /// `defaults.conf`; need not exist.
    pub defaults_file: PathBuf,
    /// The environment of the process.
    pub environment: BTreeMap<String, String>,
    /// The value of `--bind`.
    pub bind: Option<String>,
    /// What `hostname` says.
    pub host_name: String,
}

impl Origin {
    /// Which `x2gobroker.conf` counts: that of the command line, of `X2GOBROKER_CONFIG` in
    /// the environment or in `defaults.conf`, else the usual one. What is wrong with
    /// `defaults.conf` is told when all is read.
    #[must_use]
    pub fn config_file(
        option: Option<&Path>,
        environment: &BTreeMap<String, String>,
        defaults_file: &Path,
    ) -> PathBuf {
        if let Some(file) = option {
            return file.to_owned();
        }
        let name = "X2GOBROKER_CONFIG";
        if let Some(file) = environment.get(name).filter(|file| !file.is_empty()) {
            return file.into();
        }
        let defaults = read_if_exists(defaults_file).unwrap_or_default();
        let (defaults, _) = Ini::parse_leniently(&defaults);
        let entries = ["daemon", "common"].map(|section| defaults.get(section, name));
        let mut entries = entries.into_iter().flatten();
        match entries.find(|entry| !entry.value.is_empty()) {
            Some(entry) => (&entry.value).into(),
            None => CONFIG_FILE.into(),
        }
    }

    /// Reads the files as they are now. The second part are warnings.
    ///
    /// # Errors
    /// All problems, warnings included, when one of them is an error.
    pub fn read(&self) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let config = read(&self.config_file).map_err(|problem| vec![problem])?;
        let defaults = read_if_exists(&self.defaults_file).map_err(|problem| vec![problem])?;
        let names = self.file_names();
        Config::parse(&self.sources(&names, &config, &defaults))
    }

    /// How problems name the two files.
    pub(super) fn file_names(&self) -> (String, String) {
        let name = |path: &Path| path.display().to_string();
        (name(&self.config_file), name(&self.defaults_file))
    }

    /// What is parsed, once the two files have been read.
    pub(super) fn sources<'a>(
        &'a self,
        (config_file, defaults_file): &'a (String, String),
        config: &'a str,
        defaults: &'a str,
    ) -> Sources<'a> {
        Sources {
            config_file,
            config,
            defaults_file,
            defaults,
            environment: &self.environment,
            bind: self.bind.as_deref(),
            host_name: &self.host_name,
        }
    }
}

/// Reads a configuration file as text, with a bound.
///
/// # Errors
/// When it can't be read, is larger than [`MAX_FILE_BYTES`], or is not UTF-8.
pub fn read(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Problem::of_file(&name, format!("this file can't be read: {error}"))
    };
    let file = File::open(path).map_err(unreadable)?;
    let bound = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let mut bounded = file.take(bound.saturating_add(1));
    bounded.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Problem::of_file(&name, "this file is larger than 4 MB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let breaks = good.unwrap_or_default().iter().filter(|&&b| b == b'\n');
        Problem {
            line: u32::try_from(breaks.count() + 1).ok(),
            ..Problem::of_file(&name, "this line is not UTF-8; save the file as UTF-8")
        }
    })
}

/// Reads a file that need not exist; its text is empty then.
///
/// # Errors
/// As [`read`], but not when it does not exist.
pub fn read_if_exists(path: &Path) -> Result<String, Problem> {
    match path.try_exists() {
        Ok(false) => Ok(String::new()),
        Ok(true) | Err(_) => read(path),
    }
}

/// Reads the session profiles. The second part are problems of single profiles.
///
/// # Errors
/// When the file can't be read or used as a whole.
pub fn session_profiles(
    inifile: &InifileConfig,
) -> Result<(SessionProfiles, Vec<Problem>), Vec<Problem>> {
    let path = &inifile.session_profiles;
    let text = read(path).map_err(|problem| vec![problem])?;
    SessionProfiles::parse_with(inifile.plain_values, &path.display().to_string(), &text)
}

const CONFIG_FILE: &str = "/etc/x2go/x2gobroker.conf";
