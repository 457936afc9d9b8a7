//! What does the end of a run of the setuid program say of the key that it was for?

use proto::KeyOutcome;

use super::Keys;
use crate::keys::ledger::{Added, KeyId, Ledger, Removal, Removed};
use crate::shim_client::{KeyEdit, ShimError};

impl Keys {
    pub(super) fn added(&mut self, id: KeyId, edit: &KeyEdit, result: &Result<(), ShimError>) {
        let (how, outcome) = match result {
            Ok(()) => (Added::Yes, KeyOutcome::Installed),
            Err(error) if error.is_refusal() => (Added::Not, KeyOutcome::Refused),
            Err(error) if error.is_without_effect() => (Added::Not, KeyOutcome::Failed),
            Err(ShimError::Slow { .. } | ShimError::Stopping) => (Added::Late, KeyOutcome::Failed),
            Err(_) => (Added::Unsure, KeyOutcome::Failed),
        };
        let (user, mark) = (&edit.user, Ledger::mark_of(edit));
        let promised = self.answer(id, outcome);
        match result {
            Ok(()) if promised.is_none() => {
                tracing::warn!(%user, mark, "temporary key came too late, and goes again");
            }
            Ok(()) => tracing::info!(%user, mark, "temporary key added"),
            Err(error) => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(%user, mark, error, "temporary key not added");
            }
        }
        let now = self.now();
        self.ledger.added(id, how, promised, now);
    }

    pub(super) fn removed(&mut self, id: KeyId, edit: &KeyEdit, result: Result<(), ShimError>) {
        let (user, mark) = (&edit.user, Ledger::mark_of(edit));
        let now = self.now();
        let how = match &result {
            Ok(()) => Removed::Yes,
            Err(ShimError::Busy) => Removed::NotBegun,
            Err(error) if error.is_refusal() => Removed::Refused,
            Err(_) => Removed::Failed,
        };
        match (self.ledger.removed(id, how, now), result) {
            (_, Ok(())) => tracing::info!(%user, mark, "temporary key removed"),
            (Removal::GivenUp(edit), Err(error)) => {
                let (error, file) = (&error as &dyn std::error::Error, &edit.file);
                tracing::error!(%user, mark, %file, error, "temporary key can't be removed: remove it by hand");
            }
            (
                Removal::Again {
                    tries,
                    is_told: true,
                },
                Err(error),
            ) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(%user, mark, tries, error, "temporary key not removed, will try again");
            }
            (Removal::Again { .. } | Removal::Gone, Err(error)) => {
                tracing::debug!(%user, mark, %error, "temporary key not removed");
            }
        }
    }
}
