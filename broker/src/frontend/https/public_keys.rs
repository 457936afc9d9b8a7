//! `/pubkeys`: with which keys does this broker come to X2Go servers?
//!
//! `x2gobroker-pubkeyauthorizer` reads the lines and lets these keys run the agent there,
//! and nothing else.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::Frontend;
use super::respond::Answer;
use crate::agent_key;
use crate::config::PublicKeysConfig;

impl Frontend {
    pub(super) async fn public_keys(&self) -> Answer {
        let config = self.broker.settings().frontends.public_keys.clone();
        let read = tokio::task::spawn_blocking(move || lines(&config));
        Answer::page(read.await.unwrap_or_default())
    }
}

/// A line for each key. Without keys it is empty.
fn lines(config: &PublicKeysConfig) -> String {
    let mut lines = String::new();
    for file in files(&config.directory) {
        let Some(text) = read(&file) else {
            warn!(file = %file.display(), "a public key can't be read");
            continue;
        };
        for (kind, key) in text.lines().filter_map(key) {
            let PublicKeysConfig {
                agent_command,
                owner,
                ..
            } = config;
            lines += &agent_key::line(agent_command, kind, key, owner);
            lines.push('\n');
        }
    }
    lines
}

/// Each `id_*.pub`, by name.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let entries = entries.take(MAX_ENTRIES).filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            name.starts_with("id_") && name.ends_with(".pub")
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files.truncate(MAX_FILES);
    files
}

fn read(path: &Path) -> Option<String> {
    // To open a pipe would wait for its other end.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let file = File::open(path).ok()?;
    let n_bytes = file.take(MAX_BYTES + 1).read_to_string(&mut text).ok()?;
    u64::try_from(n_bytes)
        .is_ok_and(|n| n <= MAX_BYTES)
        .then_some(text)
}

/// Type and key of a line. What could end an option or a line is in neither.
fn key(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    let of_kind = |c: char| c.is_ascii_alphanumeric() || "-@.".contains(c);
    let of_key = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    (kind.chars().all(of_kind) && key.chars().all(of_key)).then_some((kind, key))
}

/// A home's `.ssh` has a handful.
const MAX_ENTRIES: usize = 1000;

/// One per type of key, and some to spare.
const MAX_FILES: usize = 16;

/// An RSA key of 16,384 bits has 2.8 KB.
const MAX_BYTES: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::lines;
    use crate::config::PublicKeysConfig;

    fn config(directory: &std::path::Path) -> PublicKeysConfig {
        PublicKeysConfig {
            directory: directory.to_owned(),
            agent_command: "/usr/lib/x2go/x2gobroker-agent".to_owned(),
            owner: "x2gobroker@broker".to_owned(),
        }
    }

    #[test]
    fn each_key_has_a_line_with_what_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(lines(&config(&dir.path().join("none"))), "");
        // x2gobroker-keygen writes neither comment nor line end.
        write("id_rsa.pub", "ssh-rsa AAAAB3Nza+/1c==");
        write("id_ed25519.pub", "ssh-ed25519 AAAAC3 me@here\n");
        write("id_rsa", "-----BEGIN RSA PRIVATE KEY-----\n");
        write("id_odd.pub", "ssh-rsa \"AAAA\nssh-rsa\n\u{1}x y\n");
        write("id_large.pub", &format!("ssh-rsa {}", "A".repeat(17_000)));
        write("other.pub", "ssh-rsa AAAA");
        std::fs::create_dir(dir.path().join("id_dir.pub")).unwrap();
        // {http-pubkeys-noslash}
        let may = "command=\"/usr/lib/x2go/x2gobroker-agent\",no-port-forwarding,\
            no-X11-forwarding,no-agent-forwarding,no-pty";
        let expected = format!(
            "{may} ssh-ed25519 AAAAC3 x2gobroker@broker\n\
             {may} ssh-rsa AAAAB3Nza+/1c== x2gobroker@broker\n"
        );
        assert_eq!(lines(&config(dir.path())), expected);
    }
}
