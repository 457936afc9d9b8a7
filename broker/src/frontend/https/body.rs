//! How much of a request's body is read, and how much memory do all of them take together?

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use crate::frontend::form::MAX_BODY_BYTES;

/// Reads bodies. All clones share the room for large ones.
#[derive(Clone, Debug)]
pub struct Bodies {
    large: Arc<Semaphore>,
}

/// A body that was read, and its room.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            large: Arc::new(Semaphore::new(MAX_LARGE)),
        }
    }
}

impl Bodies {
    /// Reads a body to its end.
    pub(super) async fn read(&self, mut body: Body) -> Result<Read, StatusCode> {
        // One that is announced as too large need not be sent at all.
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let (mut bytes, mut room) = (BytesMut::new(), self.room(announced)?);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                debug!(error = %error, "a request's body could not be read");
                StatusCode::BAD_REQUEST
            })?;
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if room.is_none() {
                room = self.room(bytes.len().saturating_add(data.len()))?;
            } else if bytes.len().saturating_add(data.len()) > MAX_BODY_BYTES {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            bytes.extend_from_slice(&data);
        }
        let bytes = bytes.freeze();
        Ok(Read { bytes, _room: room })
    }

    /// Room for a body of that length; a small one needs none.
    fn room(&self, length: usize) -> Result<Option<OwnedSemaphorePermit>, StatusCode> {
        match length {
            0..=SMALL_BYTES => Ok(None),
            _ if length > MAX_BODY_BYTES => Err(StatusCode::PAYLOAD_TOO_LARGE),
            _ => match Arc::clone(&self.large).try_acquire_owned() {
                Ok(room) => Ok(Some(room)),
                Err(_full) => {
                    debug!("too many large bodies at once");
                    Err(StatusCode::SERVICE_UNAVAILABLE)
                }
            },
        }
    }
}

/// Clients send some hundred bytes, with a key some KB. So many of each connection are always
/// read: 64 MB for all.
const SMALL_BYTES: usize = 16 << 10;

/// Larger bodies at the same time: 32 MB. Who sends one when there are so many is refused, and
/// nobody else.
const MAX_LARGE: usize = 32;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::StatusCode;

    use super::{Bodies, MAX_BODY_BYTES, MAX_LARGE, Read, SMALL_BYTES};

    async fn read(bodies: &Bodies, length: usize) -> Result<Read, StatusCode> {
        bodies.read(Body::from(vec![b'x'; length])).await
    }

    /// Without an announced length.
    async fn read_in_parts(bodies: &Bodies, length: usize) -> Result<Read, StatusCode> {
        let part = move |at: usize| Ok::<_, std::io::Error>(vec![b'x'; (length - at).min(1000)]);
        let parts = tokio_stream::iter((0..length).step_by(1000).map(part));
        bodies.read(Body::from_stream(parts)).await
    }

    #[tokio::test]
    async fn bodies_of_all_lengths_are_read_up_to_the_largest() {
        let bodies = Bodies::default();
        for length in [0, 1, SMALL_BYTES, SMALL_BYTES + 1, MAX_BODY_BYTES] {
            for body in [
                read(&bodies, length).await,
                read_in_parts(&bodies, length).await,
            ] {
                assert_eq!(body.unwrap().bytes.len(), length);
            }
        }
        let length = MAX_BODY_BYTES + 1;
        for body in [
            read(&bodies, length).await,
            read_in_parts(&bodies, length).await,
        ] {
            assert_eq!(body.unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
        }
    }

    #[tokio::test]
    async fn large_bodies_leave_room_for_small_ones() {
        let bodies = Bodies::default();
        let mut held = Vec::new();
        for _ in 0..MAX_LARGE {
            held.push(read_in_parts(&bodies, SMALL_BYTES + 1).await.unwrap());
        }
        for body in [
            read(&bodies, SMALL_BYTES + 1).await,
            read_in_parts(&bodies, SMALL_BYTES + 1).await,
        ] {
            assert_eq!(body.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        }
        assert!(read(&bodies, SMALL_BYTES).await.is_ok());
        held.pop();
        assert!(read(&bodies, SMALL_BYTES + 1).await.is_ok());
    }
}
