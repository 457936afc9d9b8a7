//! Does any text that a client sends as AUTHID do harm, or say what no replica signed?
#![no_main]

use std::sync::LazyLock;

use broker::auth::authid::{AuthId, Claim, Facts};
use broker::config::Mechanism;
use libfuzzer_sys::fuzz_target;
use pki::{Clock, FarmName, Identity, IssueRequest, NodeName, Role};
use proto::BrokerUser;

/// A replica, its clock, and an AUTHID that it made.
static REPLICA: LazyLock<(Identity, Clock, Facts, String)> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("fuzz-authid-{}", std::process::id()));
    let clock = Clock::system();
    let farm = FarmName::parse("fuzz").unwrap();
    pki::init_ca(&dir.join("ca"), &farm, &clock).unwrap();
    let request = IssueRequest::new(Role::Broker, NodeName::parse("broker1").unwrap());
    pki::issue(&dir.join("ca"), &request, &dir.join("broker1"), &clock).unwrap();
    let identity = pki::load_identity(&dir.join("broker1"), &clock).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let alice = BrokerUser::parse("alice").unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let facts = Facts::new(Some(&alice), [10, 77, 0, 20].into(), 1, 2, day).unwrap();
    let made = AuthId::sign(&facts, "", &Mechanism::Pam, &identity).unwrap();
    let made = made.expose().to_owned();
    (identity, clock, facts, made)
});

fuzz_target!(|data: &[u8]| {
    let (identity, clock, facts, made) = &*REPLICA;
    // As it comes, and as a change of a good one: two bytes say where, one what.
    let mut texts = vec![String::from_utf8_lossy(data).into_owned()];
    let mut changed = made.clone().into_bytes();
    for edit in data.chunks_exact(3).take(16) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % changed.len();
        changed[at] = edit[2];
    }
    texts.extend(String::from_utf8(changed));
    for text in texts {
        let _ = Claim::parse(&text);
        if let Ok(said) = AuthId::verify(&text, "", &Mechanism::Pam, identity, clock.now()) {
            assert_eq!(said, *facts);
        }
    }
});
