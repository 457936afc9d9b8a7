//! Who may ask? The account of the broker's programs, and root.

/// Proof that the caller was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedCaller(());

/// The caller is neither root nor the broker's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger;

/// The account that the agent runs as, and that old brokers log in as.
pub const ACCOUNT: &str = "x2gobroker";

/// Decides by the real user of the process; `broker` is the number of [`ACCOUNT`], if there
/// is such an account. It is asked for only if it matters.
///
/// # Errors
/// When the caller is anybody else.
pub fn authorise(
    real_user: u32,
    broker: impl FnOnce() -> Option<u32>,
) -> Result<AllowedCaller, Stranger> {
    let allowed = real_user == 0 || broker() == Some(real_user);
    allowed.then_some(AllowedCaller(())).ok_or(Stranger)
}

/// Finds the number of an account in the text of passwd(5); none if it has no such line, or
/// one that does not have all seven fields.
#[must_use]
pub fn number_in(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let number = fields.nth(1)?.parse().ok()?;
        (fields.count() == FIELDS_AFTER_NUMBER).then_some(number)
    })
}

/// The primary group, a description, the home and the shell.
const FIELDS_AFTER_NUMBER: usize = 4;

#[cfg(test)]
mod tests {
    use super::{Stranger, authorise, number_in};

    #[test]
    fn the_number_of_an_account_is_the_third_field_of_its_line() {
        let passwd = "root:x:0:0::/root:/bin/sh\nx2gobroker2:x:5:5::/:\n\
                      x2gobroker:x:990:991::/var/lib/x2gobroker:/bin/sh\n";
        assert_eq!(number_in(passwd, "x2gobroker"), Some(990));
        for text in [
            "",
            "x2gobroker",
            "x2gobroker:x",
            "x2gobroker:x:",
            "x2gobroker:x:-1:1::/:/bin/sh",
            "+x2gobroker:x:1:1::/:/bin/sh",
            // Cut off.
            "x2gobroker:x:99",
            "x2gobroker:x:990:991::/var/lib/x2gobroker",
        ] {
            assert_eq!(number_in(text, "x2gobroker"), None, "{text:?}");
        }
    }

    #[test]
    fn root_and_the_account_of_the_broker_may_ask_and_nobody_else() {
        let cases = [
            (0, None, true),
            (0, Some(990), true),
            (990, Some(990), true),
            (991, Some(990), false),
            (1000, None, false),
            (u32::MAX, None, false),
        ];
        for (real_user, broker, allowed) in cases {
            let found = authorise(real_user, || broker);
            assert_eq!(found.is_ok(), allowed, "{real_user}, broker {broker:?}");
            assert!(allowed || found == Err(Stranger));
        }
    }
}
