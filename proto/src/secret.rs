//! A value that must not show up in logs.

use std::fmt;

use zeroize::Zeroize;

/// Holds a secret: printed as dots, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret in.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// Gives the secret itself; the one way to it, so that each use can be found.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_dots_only() {
        assert_eq!(format!("{:?}", Secret::new("7f6f58b8".to_owned())), "…");
    }
}
