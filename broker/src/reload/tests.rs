use std::path::PathBuf;

use tempfile::TempDir;

use super::SettingsReloader;
use crate::config::load::Origin;
use crate::settings::SettingsWatch;

/// A configuration in a directory of its own.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        files.write("x2gobroker.conf", &files.config(""));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn config(&self, global: &str) -> String {
        let profiles = self.path("profiles");
        let profiles = profiles.display();
        format!(
            "[global]\ndefault-auth-mech=none\n{global}\n\
             [broker_inifile]\nsession-profiles={profiles}\n"
        )
    }

    fn open(&self) -> (SettingsReloader, SettingsWatch) {
        let origin = Origin {
            config_file: self.path("x2gobroker.conf"),
            defaults_file: self.path("defaults.conf"),
            environment: std::collections::BTreeMap::new(),
            bind: None,
            host_name: "broker1".to_owned(),
        };
        let (config, _) = origin.read().unwrap();
        SettingsReloader::open(origin, &config)
    }
}

fn n_profiles(settings: &SettingsWatch) -> usize {
    settings.borrow().profiles().unwrap().len()
}

const ONE: &str = "[farm]\nname=Farm\nhost=s1\n";

#[test]
fn a_missing_file_means_no_profiles_until_it_comes() {
    let files = Files::new();
    let (mut reloader, settings) = files.open();
    assert_eq!(n_profiles(&settings), 0);
    files.write("profiles", ONE);
    reloader.look();
    assert_eq!(n_profiles(&settings), 1);
}

#[test]
fn a_file_in_which_every_profile_is_broken_leaves_the_old_ones() {
    let files = Files::new();
    files.write("profiles", ONE);
    let (mut reloader, settings) = files.open();
    files.write("profiles", &format!("{ONE}no separator here\n"));
    reloader.look();
    assert_eq!(n_profiles(&settings), 1);
    // A file without profiles is one that somebody wanted.
    files.write("profiles", "# nothing for now\n");
    reloader.look();
    assert_eq!(n_profiles(&settings), 0);
}

#[test]
fn a_file_that_can_not_be_used_leaves_the_old_profiles() {
    let files = Files::new();
    files.write("profiles", ONE);
    let (mut reloader, settings) = files.open();
    files.write("profiles", "this is not a session profile\n");
    reloader.look();
    assert_eq!(n_profiles(&settings), 1);
    files.write("profiles", "[a]\nname=A\nhost=s1\n\n[b]\nname=B\nhost=s2\n");
    reloader.look();
    assert_eq!(n_profiles(&settings), 2);
}

#[test]
fn the_configuration_is_followed_and_a_broken_one_changes_nothing() {
    let files = Files::new();
    files.write("profiles", ONE);
    let (mut reloader, settings) = files.open();
    assert!(settings.borrow().frontends.plain);
    let off = files.config("enable-plain-output=false");
    files.write("x2gobroker.conf", &off);
    reloader.look();
    assert!(!settings.borrow().frontends.plain);
    // One wrong value: neither it nor the good one beside it counts.
    let half = files.config("enable-plain-output=true\nrequire-password=perhaps");
    files.write("x2gobroker.conf", &half);
    reloader.look();
    assert!(!settings.borrow().frontends.plain);
    files.write("x2gobroker.conf", &files.config(""));
    reloader.look();
    assert!(settings.borrow().frontends.plain);
}

#[test]
fn a_new_file_of_profiles_counts_once_it_is_there() {
    let files = Files::new();
    files.write("profiles", ONE);
    let (mut reloader, settings) = files.open();
    let moved = files.config("").replace("profiles\n", "elsewhere\n");
    files.write("x2gobroker.conf", &moved);
    reloader.look();
    assert_eq!(n_profiles(&settings), 1);
    files.write(
        "elsewhere",
        "[a]\nname=A\nhost=s1\n\n[b]\nname=B\nhost=s2\n",
    );
    reloader.look();
    assert_eq!(n_profiles(&settings), 2);
}
