//! Statements of members, checked by others with the root alone.

use pki::{Role, VerifyStatementError};

use crate::farm::{DAY, Farm};

#[test]
fn a_statement_is_good_for_its_signer_words_and_context_only() {
    let farm = Farm::new("office");
    let signer = farm.member(Role::Broker, "broker1").borrow().clone();
    let other = farm.member(Role::Agent, "s1").borrow().clone();
    let leaf = signer.chain()[0].to_vec();
    let signature = signer.sign("greeting", b"hello").unwrap();
    let now = farm.clock.now();
    let found = other.verify("greeting", b"hello", &signature, &leaf, now);
    assert_eq!(found.unwrap(), *signer.subject());
    let mut changed = signature;
    changed[10] ^= 1;
    let others_leaf = other.chain()[0].to_vec();
    for (context, message, signature, leaf) in [
        ("greeting", &b"hallo"[..], &signature[..], &leaf),
        ("greetingh", b"ello", &signature, &leaf),
        ("", b"greetinghello", &signature, &leaf),
        ("greeting", b"hello", &changed, &leaf),
        ("greeting", b"hello", &signature[..63], &leaf),
        ("greeting", b"hello", &[], &leaf),
        ("greeting", b"hello", &signature, &others_leaf),
    ] {
        let found = other.verify(context, message, signature, leaf, now);
        assert_eq!(found, Err(VerifyStatementError::Signature), "{context:?}");
    }
}

#[test]
fn a_statement_needs_a_leaf_of_the_farm_that_is_valid_now() {
    let farm = Farm::new("office");
    let signer = farm
        .member_for(Role::Broker, "broker1", 2 * DAY)
        .borrow()
        .clone();
    let checker = farm.member(Role::Broker, "broker2").borrow().clone();
    let leaf = signer.chain()[0].to_vec();
    let issuing = signer.chain()[1].to_vec();
    let signature = signer.sign("x", b"y").unwrap();
    let check = |leaf: &[u8]| checker.verify("x", b"y", &signature, leaf, farm.clock.now());
    assert!(check(&leaf).is_ok());
    // Of the same name, with another root.
    let stranger = Farm::new("office")
        .member(Role::Broker, "broker1")
        .borrow()
        .clone();
    let found = check(&stranger.chain()[0]);
    assert!(
        matches!(found, Err(VerifyStatementError::Untrusted(_))),
        "{found:?}"
    );
    for no_leaf in [&issuing[..], &leaf[..leaf.len() - 1], b""] {
        let found = check(no_leaf);
        assert!(
            matches!(found, Err(VerifyStatementError::Leaf(_))),
            "{found:?}"
        );
    }
    farm.hand.advance(3 * DAY);
    let found = check(&leaf);
    assert!(
        matches!(found, Err(VerifyStatementError::Untrusted(_))),
        "{found:?}"
    );
}
