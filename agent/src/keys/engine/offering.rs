//! How does a key get to an sshd that asks for it? Once the name service has said that it is an
//! ordinary user's, it is offered.

use proto::KeyOutcome;

use super::{Done, Keys};
use crate::host;
use crate::keys::look_ups::{Asked, Full};

impl Keys {
    /// Has it looked up whether that is an account for which a key may be offered.
    pub(super) fn ask(&mut self, asked: Asked) {
        match self.look_ups.ask(asked) {
            Ok(next) => self.look_up(next),
            Err(Full(Asked { user, answer, .. })) => {
                tracing::warn!(%user, "temporary key not offered: the name service is slow");
                let _given_up = answer.send(KeyOutcome::Failed);
            }
        }
    }

    pub(super) fn look_up(&mut self, asked: Option<Asked>) {
        if let Some(asked) = asked {
            self.work.spawn_blocking(move || {
                let is_ordinary = host::is_ordinary(&asked.user);
                Done::Looked(asked, is_ordinary)
            });
        }
    }

    pub(super) fn offer(&mut self, asked: Asked, is_ordinary: bool) {
        let now = self.now();
        let Asked {
            user,
            grant,
            answer,
        } = asked;
        if !is_ordinary {
            tracing::warn!(%user, "temporary key not offered: not an ordinary user");
            let _given_up = answer.send(KeyOutcome::Refused);
        } else if answer.is_closed() {
            tracing::warn!(%user, "temporary key not offered: nobody waits any more");
        } else if let Err(error) = self.offers.add(&user, &grant, now) {
            tracing::warn!(%user, %error, "temporary key not offered");
            let _given_up = answer.send(KeyOutcome::Failed);
        } else {
            tracing::info!(%user, "temporary key offered");
            if answer.send(KeyOutcome::Installed).is_err() {
                self.offers.revoke(&user, &grant.key);
            }
        }
    }
}
