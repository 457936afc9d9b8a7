//! One connection to one member, for as long as there is something to say: connect, send,
//! hear the replies, pause after failures, end when idle.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pki::{ConnectError, Expect, Role};
use proto::v1::Frame;
use proto::v1::gossip_client::GossipClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::inbound::{Pace, frame};
use super::queue::FrameQueue;
use super::{Hub, MAX_MESSAGE_BYTES, Open, TransportLimits};
use crate::random::fraction;
use crate::throttle::Throttle;

/// The task that speaks to the member at one address.
pub(super) struct Outbound {
    hub: Arc<Hub>,
    open: Open,
    to: SocketAddr,
    queue: Arc<FrameQueue>,
    failures: Throttle,
}

/// An open stream to a member.
struct Connection {
    frames: mpsc::Sender<Frame>,
    replies: Streaming<Frame>,
}

/// Why there is no stream, or no more.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("no answer within {limit:?}")]
    TimedOut { limit: Duration },
    #[error("the connection failed")]
    Connect(#[source] Box<Status>),
    #[error("the member refused us")]
    Refused(#[source] Box<Status>),
    #[error("the member does not read what it is sent")]
    Stuck,
    #[error("the stream has ended")]
    Ended,
}

/// How an open stream came to a good end.
#[derive(Debug, PartialEq, Eq)]
enum Quiet {
    /// Nothing to say for a while; the queue is closed.
    Idle,
    /// It is time for new certificates.
    Old,
}

impl Outbound {
    pub(super) fn new(hub: Arc<Hub>, open: Open, to: SocketAddr, queue: Arc<FrameQueue>) -> Self {
        let failures = Throttle::new(FAILURE_LOG_PERIOD);
        Self {
            hub,
            open,
            to,
            queue,
            failures,
        }
    }

    /// Runs until there is nothing more to say, or the gossip ends.
    pub(super) async fn run(mut self) {
        let life = self.open.life.clone();
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = self.speak() => {}
        }
        self.queue.close();
    }

    async fn speak(&mut self) {
        let mut backoff = Backoff::new(&self.hub.limits);
        loop {
            self.queue.unconnected();
            let failure = match self.connect().await {
                Ok(connection) => {
                    self.queue.connected();
                    let began = Instant::now();
                    match self.exchange(connection).await {
                        Ok(Quiet::Idle) => return,
                        Ok(Quiet::Old) => continue,
                        Err(error) => {
                            if began.elapsed() > HEALTHY {
                                backoff = Backoff::new(&self.hub.limits);
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            self.log(&failure);
            tokio::time::sleep(backoff.next(fraction())).await;
            if self.queue.close_if_empty() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        // Never closed, so this only waits.
        let _permit = self.hub.connects.acquire().await;
        self.hub.traffic.connecting();
        let limit = self.hub.limits.connect;
        let limits = pki::ChannelLimits {
            connect_timeout: limit,
            keepalive_interval: KEEPALIVE,
            keepalive_timeout: KEEPALIVE,
        };
        let identity = self.hub.identity.clone();
        let channel = pki::mesh_channel(self.to, Expect::AnyOf(MEMBERS), identity, limits);
        let mut client = GossipClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (frames, to_member) = mpsc::channel(1);
        match timeout(limit, client.exchange(ReceiverStream::new(to_member))).await {
            Ok(Ok(response)) => Ok(Connection {
                frames,
                replies: response.into_inner(),
            }),
            Ok(Err(status)) if ConnectError::behind(&status).is_some() => {
                Err(LinkError::Connect(Box::new(status)))
            }
            Ok(Err(status)) => Err(LinkError::Refused(Box::new(status))),
            Err(_elapsed) => Err(LinkError::TimedOut { limit }),
        }
    }

    /// Carries frames both ways.
    async fn exchange(&self, connection: Connection) -> Result<Quiet, LinkError> {
        let Connection {
            frames,
            mut replies,
        } = connection;
        let old = Instant::now() + MAX_AGE + MAX_AGE.mul_f64(fraction());
        let mut pace = Pace::new(Instant::now());
        let mut quiet = Instant::now() + self.idle();
        let mut outgoing: Option<(Bytes, Instant)> = None;
        loop {
            let stuck = outgoing.as_ref().map_or(old, |(_, since)| *since + STUCK);
            tokio::select! {
                biased;
                reply = replies.message() => {
                    let reply = reply.map_err(|status| LinkError::Refused(Box::new(status)))?;
                    let Frame { payload } = reply.ok_or(LinkError::Ended)?;
                    self.hub.deliver(&self.open, self.to, &payload, &self.to.to_string());
                    pace.wait().await;
                }
                place = frames.reserve(), if outgoing.is_some() => {
                    let place = place.or(Err(LinkError::Ended))?;
                    if let Some((payload, _)) = outgoing.take() {
                        self.hub.traffic.sent(payload.len());
                        place.send(frame(payload));
                    }
                    quiet = Instant::now() + self.idle();
                }
                payload = self.queue.next(), if outgoing.is_none() => {
                    outgoing = Some((payload, Instant::now()));
                }
                () = tokio::time::sleep_until(stuck), if outgoing.is_some() => {
                    return Err(LinkError::Stuck);
                }
                () = tokio::time::sleep_until(quiet), if outgoing.is_none() => {
                    if self.queue.close_if_empty() { return Ok(Quiet::Idle); }
                }
                () = tokio::time::sleep_until(old) => return Ok(Quiet::Old),
            }
        }
    }

    fn idle(&self) -> Duration {
        let limits = &self.hub.limits;
        if self.hub.preferred().contains(&self.to) {
            limits.idle_to_others
        } else {
            limits.idle
        }
    }

    /// A member that can't be reached is normal, and gossip will say that it is dead. One
    /// that is not trusted, or does not trust us, is for an operator.
    fn log(&mut self, error: &LinkError) {
        let to = self.to;
        let cause = error.source().and_then(ConnectError::behind);
        let is_normal = match error {
            LinkError::TimedOut { .. } | LinkError::Stuck | LinkError::Ended => true,
            LinkError::Connect(_) => matches!(
                cause,
                Some(ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. })
            ),
            LinkError::Refused(status) => matches!(
                status.code(),
                tonic::Code::Unavailable | tonic::Code::Cancelled
            ),
        };
        let told = cause.map_or(error as &dyn Error, |cause| cause as &dyn Error);
        if is_normal {
            tracing::debug!(%to, error = told, "gossip with a member is interrupted");
        } else if let Some(n_silent) = self.failures.may_log(Instant::now()) {
            tracing::warn!(%to, error = told, n_silent, "can't gossip with a member");
        }
    }
}

/// Growing pauses between connects.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    fn new(limits: &TransportLimits) -> Self {
        Self {
            next: limits.backoff_first,
            most: limits.backoff_most,
        }
    }

    /// The pause now, with `jitter` from 0 to 1 so that members don't come back all at once.
    fn next(&mut self, jitter: f64) -> Duration {
        let pause = self.next.mul_f64(0.5 + jitter / 2.0);
        self.next = (self.next * 2).min(self.most);
        pause
    }
}

/// Whom we gossip with.
const MEMBERS: &[Role] = &[Role::Agent, Role::Broker];

/// Idle connections live for a minute, so they need few pings; a dead member is noticed by
/// its heartbeats.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// After so long (up to twice) a stream is opened anew, so that both sides look at each
/// other's present certificate.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// A message that was not taken for so long is of no use to anybody.
const STUCK: Duration = Duration::from_secs(10);

/// A stream that lived for so long was no failure.
const HEALTHY: Duration = Duration::from_secs(10);

/// One line per minute and member.
const FAILURE_LOG_PERIOD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;
    use crate::TransportLimits;

    #[test]
    fn pauses_grow_to_their_limit() {
        let mut backoff = Backoff::new(&TransportLimits::default());
        let pauses: Vec<_> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 4000, 4000]);
        assert_eq!(backoff.next(0.0), Duration::from_secs(2));
    }
}
