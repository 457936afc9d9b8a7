//! Which files are an identity, and what is said of those that are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pki::{Clock, Role};

use crate::farm::{DAY, Farm, full_text, uri};

fn told(dir: &Path, clock: &Clock) -> String {
    match pki::load_identity(dir, clock) {
        Ok(identity) => identity.subject().to_uri(),
        Err(error) => full_text(&error).replace(&dir.display().to_string(), "DIR"),
    }
}

#[test]
fn an_identity_says_who_it_is_and_shows_no_key() {
    let farm = Farm::new("office");
    let issued = farm.issue(Role::Operator, "Desk-7.example.org", DAY);
    let identity = pki::load_identity(&issued.directory, &farm.clock).unwrap();
    assert_eq!(
        identity.subject().to_uri(),
        "x2gofarm://office/operator/desk-7.example.org"
    );
    assert_eq!(identity.serial(), issued.serial);
    assert_eq!(identity.not_after(), issued.not_after);
    assert_eq!(identity.chain().len(), 2);
    assert_eq!(identity.roots().len(), 1);
    let key = fs::read_to_string(issued.directory.join("leaf.key")).unwrap();
    let shown = format!("{identity:?}");
    assert!(
        shown.contains("desk-7") && shown.contains(&issued.serial),
        "{shown}"
    );
    for line in key.lines() {
        assert!(!shown.contains(line));
    }
}

#[test]
fn all_members_derive_the_same_values_and_other_farms_others() {
    let (farm, other) = (Farm::new("office"), Farm::new("office"));
    let a = farm.member(Role::Agent, "a");
    let b = farm.member(Role::Broker, "b");
    let stranger = other.member(Role::Broker, "b");
    let value = |watch: &pki::IdentityWatch, label| watch.borrow().derive_key(label);
    assert_eq!(value(&a, "placement"), value(&b, "placement"));
    assert_ne!(value(&a, "placement"), value(&a, "placement2"));
    assert_ne!(value(&a, "placement"), value(&stranger, "placement"));
    assert_ne!(value(&a, "placement"), [0; 16]);

    // The order of the bundle, and saying a root twice, change nothing.
    let dir = farm.member_dir(Role::Agent, "a");
    let mine = fs::read_to_string(farm.ca().join("root.crt")).unwrap();
    let theirs = fs::read_to_string(other.ca().join("root.crt")).unwrap();
    let with = |roots: String| {
        fs::write(dir.join("roots.pem"), roots).unwrap();
        pki::load_identity(&dir, &farm.clock)
            .unwrap()
            .derive_key("x")
    };
    let one = with(format!("{mine}{theirs}"));
    assert_eq!(one, with(format!("{theirs}{mine}{mine}")));
    assert_ne!(one, with(mine));
}

#[test]
fn files_that_do_not_fit_are_refused_with_the_reason() {
    let farm = Farm::new("office");
    let foreign = Farm::new("office");
    let dir = farm.issue(Role::Agent, "web1", DAY).directory;
    let other = farm.issue(Role::Agent, "web2", DAY).directory;
    let saved: Vec<_> = ["leaf.crt", "leaf.key", "roots.pem"]
        .map(|name| (dir.join(name), fs::read(dir.join(name)).unwrap()))
        .into();
    let mismatch = "leaf.crt, leaf.key and roots.pem in DIR do not fit together: ";
    let untrusted = "the leaf is not trusted by the roots: invalid peer certificate: ";
    let leaf_only = || {
        let chain = fs::read_to_string(dir.join("leaf.crt")).unwrap();
        let end = "-----END CERTIFICATE-----\n";
        let (leaf, _) = chain.split_once(end).unwrap();
        fs::write(dir.join("leaf.crt"), format!("{leaf}{end}")).unwrap();
    };
    let put = |name: &str, bytes: Vec<u8>| fs::write(dir.join(name), bytes).unwrap();
    let key_of_other = || put("leaf.key", fs::read(other.join("leaf.key")).unwrap());
    let foreign_roots = || {
        put(
            "roots.pem",
            fs::read(foreign.ca().join("root.crt")).unwrap(),
        );
    };
    let ca_as_leaf = || put("leaf.crt", fs::read(farm.ca().join("issuing.crt")).unwrap());
    let table: [(&str, &dyn Fn(), String); 10] = [
        ("nothing", &|| {}, "x2gofarm://office/agent/web1".to_owned()),
        (
            "no leaf",
            &|| fs::remove_file(dir.join("leaf.crt")).unwrap(),
            "cannot read DIR/leaf.crt: No such file or directory (os error 2)".to_owned(),
        ),
        (
            "no key",
            &|| fs::remove_file(dir.join("leaf.key")).unwrap(),
            "cannot read the private key DIR/leaf.key: No such file or directory (os error 2)"
                .to_owned(),
        ),
        (
            "no roots",
            &|| put("roots.pem", vec![]),
            "DIR/roots.pem holds no certificate".to_owned(),
        ),
        (
            "a key file without key",
            &|| put("leaf.key", b"x".into()),
            "DIR/leaf.key is not a PEM file of a private key: no items found".to_owned(),
        ),
        (
            "the key of another",
            &key_of_other,
            format!(
                "{mismatch}the key does not belong to the leaf, or is of an unknown kind: \
                 keys may not be consistent: KeyMismatch"
            ),
        ),
        (
            "foreign roots",
            &foreign_roots,
            format!("{mismatch}{untrusted}UnknownIssuer"),
        ),
        (
            "no issuing CA in the chain",
            &leaf_only,
            format!("{mismatch}{untrusted}UnknownIssuer"),
        ),
        (
            "a CA as leaf",
            &ca_as_leaf,
            "the certificate DIR/leaf.crt is not usable: it has no URI \
             x2gofarm://FARM/ROLE/NODE among its alternative names"
                .to_owned(),
        ),
        (
            "a loose key",
            &|| {
                let mode = fs::Permissions::from_mode(0o644);
                fs::set_permissions(dir.join("leaf.key"), mode).unwrap();
            },
            "DIR/leaf.key has mode 0644: other users can read this private key or change it; \
             run: chmod 600 DIR/leaf.key"
                .to_owned(),
        ),
    ];
    for (what, change, expected) in table {
        change();
        assert_eq!(told(&dir, &farm.clock), expected, "{what}");
        for (path, bytes) in &saved {
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn a_key_of_another_user_is_refused() {
    let farm = Farm::new("office");
    let dir = farm.issue(Role::Agent, "web1", DAY).directory;
    if std::os::unix::fs::chown(dir.join("leaf.key"), Some(12345), None).is_err() {
        return; // Only root can give files away.
    }
    let found = told(&dir, &farm.clock);
    assert!(
        found.starts_with("DIR/leaf.key belongs to user id 12345; a private key must"),
        "{found}"
    );
}

#[test]
fn certificates_that_name_nobody_or_two_are_refused() {
    let farm = Farm::new("office");
    let unusable = "the certificate DIR/leaf.crt is not usable: ";
    let table: [(&[&str], &str); 5] = [
        (
            &[],
            "it has no URI x2gofarm://FARM/ROLE/NODE among its alternative names",
        ),
        (
            &["https://office/agent/a"],
            "it has no URI x2gofarm://FARM/ROLE/NODE among its alternative names",
        ),
        (
            &["x2gofarm://office/agent/a", "x2gofarm://office/broker/a"],
            "it names 2 members; a leaf speaks for one",
        ),
        (
            &["x2gofarm://office/agent"],
            "its URI is malformed: \"x2gofarm://office/agent\" is not of the form \
             x2gofarm://FARM/ROLE/NODE",
        ),
        (
            &["x2gofarm://office/chief/a"],
            "its URI is malformed: \"chief\" is not a role; the roles are agent, broker and operator",
        ),
    ];
    for (uris, expected) in table {
        let dir = farm.odd_member("odd", |params| {
            params
                .subject_alt_names
                .extend(uris.iter().map(|text| uri(text)));
        });
        assert_eq!(told(&dir, &farm.clock), format!("{unusable}{expected}"));
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_certificate_for_clients_only_is_no_identity() {
    let farm = Farm::new("office");
    let dir = farm.odd_member("half", |params| {
        params
            .subject_alt_names
            .push(uri("x2gofarm://office/agent/half"));
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let found = told(&dir, &farm.clock);
    assert!(
        found.contains("does not allow extended key usage for server auth"),
        "{found}"
    );
}

#[test]
fn a_ca_below_the_issuing_ca_makes_no_identity() {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let farm = Farm::new("office");
    let dir = farm.issue(Role::Agent, "web1", DAY).directory;
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let issuing = read(&farm.ca().join("issuing.crt"));
    let issuing_key = KeyPair::from_pem(&read(&farm.ca().join("issuing.key"))).unwrap();
    let above = Issuer::from_ca_cert_pem(&issuing, issuing_key).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let below_key = KeyPair::generate().unwrap();
    let below = params.signed_by(&below_key, &above).unwrap().pem();

    let mut params = CertificateParams::new([pki::MEMBER_DNS_NAME.to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(uri("x2gofarm://office/broker/web1"));
    params.extended_key_usages = vec![ServerAuth, ClientAuth];
    let key = KeyPair::from_pem(&read(&dir.join("leaf.key"))).unwrap();
    let signer = Issuer::from_ca_cert_pem(&below, below_key).unwrap();
    let leaf = params.signed_by(&key, &signer).unwrap().pem();
    fs::write(dir.join("leaf.crt"), leaf + &below + &issuing).unwrap();
    let found = told(&dir, &farm.clock);
    assert!(found.contains("PathLenConstraintViolated"), "{found}");
}

#[test]
fn the_dates_are_checked_against_the_given_clock() {
    let farm = Farm::new("office");
    let issued = farm.issue(Role::Agent, "web1", DAY);
    let at = |seconds: u64| {
        let time = std::time::Duration::from_secs(seconds);
        told(
            &issued.directory,
            &Clock::manual(pki::UnixTime::since_unix_epoch(time)).0,
        )
    };
    let begin = crate::farm::start().as_secs() - 60;
    let end = issued.not_after.as_secs();
    assert_eq!(
        at(begin - 1),
        "the certificate DIR/leaf.crt is not valid before 2026-11-22T07:29:00Z; \
         is the clock right?"
    );
    assert_eq!(at(begin), "x2gofarm://office/agent/web1");
    assert_eq!(at(end), "x2gofarm://office/agent/web1");
    assert_eq!(
        at(end + 1),
        "the certificate DIR/leaf.crt expired at 2026-11-23T07:30:00Z; \
         issue a new one with x2gobroker-ca issue"
    );
}
