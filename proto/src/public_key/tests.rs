use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::{any, prop_assert, proptest};

use super::{PublicKey, PublicKeyError, bits};

// Made with ssh-keygen; their private halves were thrown away.
const RSA: &str = "AAAAB3NzaC1yc2EAAAADAQABAAABAQCwBmbuh4EEpzvgaMLRqYGNEv7sTtbxavIe1/+g+tBETeOMfKS9\
    xmV7RXidvM1TdUY9uzCNbV9X9c+Y8RzwX6iWOrjW6q/rDzJTbGvysZBolaSPWTkxnzLWp69PmAK8FGvF\
    Ac5gTOa/t+OhWMbbK98uzanwDsajs+vHXakqbN/E9C+b8/bD22UFwDrcoqBiqzpP7yV4c2vslmesEEjl\
    egGYHZVzzKgcw53UdYw6g7wEaLZvMoGCSJTA6Rk4phx8dzEcOpuIBsZTUIF8azguTjasoEqC5mPlpMDS\
    uwnHB/RkDJcZ4oDFvIGZcyuFcdjqnOz3jyACDPb0UvV0G2vfzVhF";
const RSA_1024: &str = "AAAAB3NzaC1yc2EAAAADAQABAAAAgQC2RjPmjzL2sbE5Byi7xfUmOeTQTTHDkunVoMDk5T8ca0dqmeoQ\
    2cQVxJm67TYqccOoA9Y3oh4RkGV4shLlGcumrJn2qRrOM0KQuQNIZJighIaklRLbsNzg+tVkk32MCtts\
    MxLn2I2UhyJktzoOz0rlGybv20Wx32YJdsn4Ky5NBw==";
const P256: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLNki2pOEbuYNus9EqHV49z41mBb\
    67InG7YzkXtKy56HNZXT90foQL7kXpQcU5IG1dUn/gcBxC7BeKSrDymlG0w=";
const P384: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBCAkgGFt02f1Mbkn95fXtQTb+3w+\
    DV8iL+OZCt1KbBxynXmGD8fDd1g/Yf0Il2o2b+Bha+VOaeU95Ltr+MKeoLmx2RDbdJ8bdpa4pWGMMlj+\
    sxL5yke0JgVdh2IifUPZ4g==";
const P521: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAAn3syRMiaqIOuSGVE/cfGzUX5p\
    vxkN1o1OX5DeewWb3ShxzCVjzHGyw/sFtrfDzjQipbVgIkAUNwOJm/jnGJtwnAEZ1wbfmAIoM/Z1tV04\
    dsukqeSmLCS96/oT4QE2T92BM9omp1mhmsPDRpV5D6+rVZdPdRUtCDGVFpr7oVUhak1s/A==";
const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOzQjjZBgjawQBD6zjLdipLMDzDe+5SLxw+LmuhxgrUv";

#[test]
fn keys_of_all_good_types_are_taken_without_their_comments() {
    let options = "no-X11-forwarding,no-pty,no-user-rc";
    for (text, expected) in [
        (
            format!("ssh-rsa {RSA} desk@127.0.0.1"),
            format!("ssh-rsa {RSA}"),
        ),
        (format!("ssh-rsa {RSA_1024}"), format!("ssh-rsa {RSA_1024}")),
        (
            format!("ecdsa-sha2-nistp256 {P256} a comment of Jürgen, CORP\\jd"),
            format!("ecdsa-sha2-nistp256 {P256}"),
        ),
        (
            format!("ecdsa-sha2-nistp384  {P384} "),
            format!("ecdsa-sha2-nistp384 {P384}"),
        ),
        (
            format!(" ecdsa-sha2-nistp521 {P521}"),
            format!("ecdsa-sha2-nistp521 {P521}"),
        ),
        (
            format!("ssh-ed25519 {ED25519} $(id) ; x"),
            format!("ssh-ed25519 {ED25519}"),
        ),
        // As pyhoca-cli sends it.
        (
            format!("{options} ssh-rsa {RSA} desk@127.0.0.1"),
            format!("{options} ssh-rsa {RSA}"),
        ),
        (
            format!("restrict ssh-ed25519 {ED25519}"),
            format!("restrict ssh-ed25519 {ED25519}"),
        ),
    ] {
        assert_eq!(PublicKey::parse(&text).unwrap().as_str(), expected);
    }
}

#[test]
fn texts_that_are_no_key_or_more_than_one_are_refused() {
    use PublicKeyError::{Character, Data, Empty, Option, TooLong, Type};
    let good = format!("ssh-ed25519 {ED25519}");
    for (text, expected) in [
        (String::new(), Empty),
        ("  ".to_owned(), Empty),
        ("x".repeat(4097), TooLong),
        (format!("{good}\nssh-ed25519 {ED25519}"), Character),
        (format!("{good}\r"), Character),
        (format!("{good}\0"), Character),
        (format!("ssh-ed25519\t{ED25519}"), Character),
        (format!("{good} it's"), Character),
        (format!("{good} `id`"), Character),
        (format!("command=\"id\" {good}"), Character),
        (format!("command=id {good}"), Type),
        (format!("no-pty,command=id {good}"), Option),
        (format!("no-pty,pty {good}"), Option),
        (format!("no-pty,NO-PTY {good}"), Option),
        (format!("no-pty, {good}"), Option),
        (format!("permitopen=x {good}"), Type),
        (format!("no-pty restrict {good}"), Type),
        ("no-pty".to_owned(), Type),
        ("ssh-ed25519".to_owned(), Data),
        (format!("ssh-dss {ED25519}"), Type),
        (format!("SSH-RSA {RSA}"), Type),
        (format!("sk-ssh-ed25519@openssh.com {ED25519}"), Type),
        (format!("ssh-rsa-cert-v01@openssh.com {RSA}"), Type),
        (format!("ssh-rsa {ED25519}"), Data),
        (format!("ssh-ed25519 {RSA}"), Data),
        (format!("ecdsa-sha2-nistp256 {P384}"), Data),
        (format!("ssh-ed25519 {ED25519}AAAA"), Data),
        (format!("ssh-ed25519 {}", &ED25519[..64]), Data),
        (format!("ssh-ed25519 {}", &ED25519[..67]), Data),
        (format!("ssh-ed25519 {ED25519}="), Data),
        (format!("ssh-ed25519 .*{ED25519}"), Data),
        ("ssh-ed25519 AAAA*".to_owned(), Data),
        ("ssh-ed25519 comment@host".to_owned(), Data),
    ] {
        assert_eq!(PublicKey::parse(&text), Err(expected), "{text}");
    }
}

/// A line of an RSA key with these numbers.
fn rsa(exponent: &[u8], modulus: &[u8]) -> String {
    let mut blob = Vec::new();
    for field in [&b"ssh-rsa"[..], exponent, modulus] {
        blob.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend(field);
    }
    format!("ssh-rsa {}", STANDARD.encode(blob))
}

#[test]
fn rsa_keys_have_sizes_that_are_safe_and_can_be_used() {
    use PublicKeyError::{Data, RsaBits};
    let modulus = |n_bytes: usize| [&[0][..], &vec![0xff; n_bytes]].concat();
    let exponent = &[1, 0, 1][..];
    for (exponent, modulus, expected) in [
        (exponent, modulus(128), Ok(())),
        (exponent, modulus(2048), Ok(())),
        (exponent, modulus(127), Err(RsaBits)),
        (exponent, modulus(2049), Err(RsaBits)),
        (exponent, Vec::new(), Err(Data)),
        (exponent, vec![0xff; 256], Err(Data)),
        (exponent, vec![0; 256], Err(Data)),
        (&[3], modulus(256), Ok(())),
        (&[1], modulus(256), Err(Data)),
        (&[4], modulus(256), Err(Data)),
        (&[], modulus(256), Err(Data)),
        (&[0, 1], modulus(256), Err(Data)),
        (&[1; 9], modulus(256), Err(Data)),
    ] {
        let parsed = PublicKey::parse(&rsa(exponent, &modulus)).map(|_| ());
        assert_eq!(parsed, expected, "{exponent:?} {}", modulus.len());
    }
    assert_eq!(bits(&[1, 0, 1]), Some(17));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_taken_is_one_plain_line(
        before in "\\PC{0,12}|(no-pty|restrict|,| ){0,4}",
        key in "(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp256) [A-Za-z0-9+/=]{0,80}",
        comment in "[ -~]{0,20}|\\PC{0,12}",
        at_random in any::<bool>(),
    ) {
        let key = if at_random { key } else { format!("ssh-ed25519 {ED25519}") };
        if let Ok(key) = PublicKey::parse(&format!("{before} {key} {comment}")) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || " ,-+/=".contains(c);
            prop_assert!(key.as_str().chars().all(is_plain), "{key}");
            let again = PublicKey::parse(key.as_str());
            prop_assert!(again == Ok(key));
        }
    }
}
