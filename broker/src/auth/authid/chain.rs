//! Which AUTHIDs follow from one password?
//!
//! The nonce of an AUTHID is a chain and a number: whoever shows a password begins a chain,
//! and each answer gives the next number of it. When one was used, all before it were: a
//! replica remembers one number for each login, however many requests come with it.
//!
//! A chain also tells whose it is, shortly: users have a share of what is remembered.
//! Replicas of an older version take the whole for random bytes, and give such.

use std::net::IpAddr;

use proto::BrokerUser;
use ring::digest::{Context, SHA256};

use super::Nonce;

/// Whose a chain is: a few bytes of a digest, which few users have in common.
pub type Owner = [u8; 3];

/// A login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// Whose.
    pub owner: Owner,
    random: [u8; 5],
}

/// Who owns chains: the user, and where there is none, the address.
#[must_use]
pub fn owner(user: Option<&BrokerUser>, client: IpAddr) -> Owner {
    let mut digest = Context::new(&SHA256);
    match user {
        Some(user) => digest.update(user.canonical().as_bytes()),
        None => digest.update(format!(" {client}").as_bytes()),
    }
    let digest = digest.finish();
    let mut owner = Owner::default();
    for (to, from) in owner.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    owner
}

/// The first of a new chain of this owner.
#[must_use]
pub fn begin(owner: Owner, random: Nonce) -> Nonce {
    let (mut chain, _) = split(&random);
    chain.owner = owner;
    joined(chain, 0)
}

/// The one after `last`, if a chain of the owner of `new` can go on.
#[must_use]
pub fn next(last: &Nonce, new: &Nonce) -> Option<Nonce> {
    let ((chain, number), (other, _)) = (split(last), split(new));
    let number = number.checked_add(1)?;
    (chain.owner == other.owner).then(|| joined(chain, number))
}

/// The chain, and the number in it.
#[must_use]
pub fn split(nonce: &Nonce) -> (Chain, u32) {
    let [a, b, c, random @ .., n1, n2, n3, n4] = *nonce;
    let chain = Chain {
        owner: [a, b, c],
        random,
    };
    (chain, u32::from_be_bytes([n1, n2, n3, n4]))
}

/// The opposite of [`split`].
#[must_use]
pub fn joined(chain: Chain, number: u32) -> Nonce {
    let [a, b, c] = chain.owner;
    let [d, e, f, g, h] = chain.random;
    let [n1, n2, n3, n4] = number.to_be_bytes();
    [a, b, c, d, e, f, g, h, n1, n2, n3, n4]
}

#[cfg(test)]
mod tests {
    use super::{begin, joined, next, owner, split};

    #[test]
    fn a_chain_goes_on_for_its_owner_only() {
        let desk = "10.77.0.20".parse().unwrap();
        let users = ["alice", "bob"].map(|name| proto::BrokerUser::parse(name).unwrap());
        let [alice, bob] = users.each_ref().map(|user| owner(Some(user), desk));
        assert_ne!(alice, bob);
        assert_ne!(
            owner(None, desk),
            owner(None, "10.77.0.21".parse().unwrap())
        );
        let first = begin(alice, [7; 12]);
        let second = next(&first, &begin(alice, [9; 12])).unwrap();
        assert_eq!(split(&second), (split(&first).0, 1));
        assert_eq!(joined(split(&second).0, 1), second);
        assert_eq!(next(&first, &begin(bob, [9; 12])), None);
        let last = joined(split(&first).0, u32::MAX);
        assert_eq!(next(&last, &first), None);
    }
}
