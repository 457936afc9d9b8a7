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

#[cfg(test)]
mod tests {
    use super::{Stranger, authorise};

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
