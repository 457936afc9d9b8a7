//! Which file holds a user's keys? The configured name with the user's facts filled in.

use crate::request::KeyFile;
use crate::target::Account;

/// The place of a key file, taken apart: no part is empty, `.` or `..`, or holds a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    folders: Vec<String>,
    name: String,
    /// How many of the folders lead to the home, if the file is below it.
    n_home: Option<usize>,
}

/// What the name became is no place for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLocation;

impl Location {
    /// Fills in `%h` (home), `%u` (user name), `%U` and `%G` (their numbers) and `%%`. A name
    /// that is not absolute then is below the home, as for sshd(8).
    ///
    /// # Errors
    /// When the result is too long, or has a part `.` or `..`.
    pub fn of(file: &KeyFile, account: &Account) -> Result<Self, NoLocation> {
        let home = account.home.to_str().ok_or(NoLocation)?;
        let filled = fill(file.as_str(), account, home)?;
        let path = if filled.starts_with('/') {
            filled
        } else {
            format!("{home}/{filled}")
        };
        if path.len() > MAX_PATH_BYTES || path.ends_with('/') || path.contains('\0') {
            return Err(NoLocation);
        }
        let mut parts = parts_of(&path);
        if parts.len() > MAX_PARTS || parts.iter().any(|part| part == "." || part == "..") {
            return Err(NoLocation);
        }
        let name = parts.pop().ok_or(NoLocation)?;
        let home = parts_of(home);
        let is_below = !home.is_empty() && parts.starts_with(&home);
        Ok(Self {
            folders: parts,
            name,
            n_home: is_below.then_some(home.len()),
        })
    }

    /// The folders on the way from the root, in order.
    #[must_use]
    pub fn folders(&self) -> &[String] {
        &self.folders
    }

    /// The first of them, that lead to the user's home, if the file is below it.
    #[must_use]
    pub fn home(&self) -> Option<&[String]> {
        self.folders.get(..self.n_home?)
    }

    /// The name of the file in the last of the folders.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn parts_of(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn fill(template: &str, account: &Account, home: &str) -> Result<String, NoLocation> {
    let mut filled = String::new();
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            filled.push(c);
            continue;
        }
        match chars.next() {
            Some('h') => filled += home,
            Some('u') => filled += &account.name,
            Some('U') => filled += &account.user.to_string(),
            Some('G') => filled += &account.group.to_string(),
            Some('%') => filled.push('%'),
            _ => return Err(NoLocation),
        }
    }
    Ok(filled)
}

/// The kernel's own bound (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4095;
/// Far deeper than any home; each part costs a system call.
const MAX_PARTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Location, NoLocation};
    use crate::request::KeyFile;
    use crate::target::Account;

    fn location(template: &str, home: &str) -> Result<Location, NoLocation> {
        let account = Account {
            name: "alice".to_owned(),
            user: 2001,
            group: 100,
            home: home.into(),
        };
        let file = KeyFile::parse(template.as_bytes()).unwrap();
        Location::of(&file, &account)
    }

    fn place(template: &str, home: &str) -> Result<String, NoLocation> {
        let place = location(template, home)?;
        Ok(format!("/{}/{}", place.folders().join("/"), place.name()))
    }

    #[test]
    fn placeholders_are_filled_in_as_documented() {
        // x2gobroker.conf names %h, %u, %U, %G and %% for default-authorized-keys.
        let cases = [
            (
                "%h/.x2go/authorized_keys",
                "/home/alice/.x2go/authorized_keys",
            ),
            (
                "/var/lib/x2gobroker/ssh/%u/authorized_keys",
                "/var/lib/x2gobroker/ssh/alice/authorized_keys",
            ),
            ("/keys/%G/%U", "/keys/100/2001"),
            ("/keys/100%%/%u.%u", "/keys/100%/alice.alice"),
            ("/keys/%%u", "/keys/%u"),
            (".x2go/rel", "/home/alice/.x2go/rel"),
            ("%u", "/home/alice/alice"),
            ("/keys//%u", "/keys/alice"),
        ];
        for (template, expected) in cases {
            assert_eq!(
                place(template, "/home/alice").as_deref(),
                Ok(expected),
                "{template}"
            );
        }
    }

    #[test]
    fn the_home_is_known_where_the_file_is_below_it() {
        let cases = [
            ("%h/.x2go/keys", "/home/alice", Some("home/alice")),
            (".x2go/keys", "/home//alice", Some("home/alice")),
            ("/home/alice/keys", "/home/alice", Some("home/alice")),
            ("/home/alice2/keys", "/home/alice", None),
            ("/keys/%u", "/home/alice", None),
            ("%h/keys", "/", None),
        ];
        for (template, home, expected) in cases {
            let found = location(template, home).unwrap();
            let found = found.home().map(|parts| parts.join("/"));
            assert_eq!(found.as_deref(), expected, "{template} of {home}");
        }
    }

    #[test]
    fn what_is_no_place_for_a_file_is_refused() {
        assert_eq!(place("%h", "/"), Err(NoLocation));
        assert_eq!(place("%h", "/home/alice/"), Err(NoLocation));
        assert_eq!(place("%h/x", "/home/../root"), Err(NoLocation));
        assert_eq!(place("%h/x", &"/h".repeat(3000)), Err(NoLocation));
        assert_eq!(place("%h/x", &"/h".repeat(100)), Err(NoLocation));
    }
}
