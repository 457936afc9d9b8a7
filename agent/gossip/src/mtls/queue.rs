//! Which frames wait for one member? The newest ones, never many, and whoever adds one
//! never waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Frames on their way to one connection. One task takes, the gossip loop adds.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug)]
struct State {
    frames: VecDeque<Bytes>,
    room: usize,
    closed: bool,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Taken,
    /// Taken, and the oldest was lost for it.
    InsteadOfOldest,
    /// Nobody takes frames here any more.
    Closed,
}

impl FrameQueue {
    /// A queue for a connection that is not open yet.
    pub(crate) fn new() -> Self {
        let frames = VecDeque::new();
        let state = State {
            frames,
            room: ROOM_UNCONNECTED,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            news: Notify::new(),
        }
    }

    pub(crate) fn add(&self, frame: Bytes) -> Added {
        let mut state = self.state();
        if state.closed {
            return Added::Closed;
        }
        let is_full = state.frames.len() >= state.room;
        if is_full {
            state.frames.pop_front();
        }
        state.frames.push_back(frame);
        drop(state);
        self.news.notify_one();
        if is_full {
            Added::InsteadOfOldest
        } else {
            Added::Taken
        }
    }

    /// Takes the oldest frame, or waits for one. Cancel safe; for one task only.
    pub(crate) async fn next(&self) -> Bytes {
        loop {
            if let Some(frame) = self.state().frames.pop_front() {
                return frame;
            }
            self.news.notified().await;
        }
    }

    /// Gives room for a burst.
    pub(crate) fn connected(&self) {
        self.state().room = ROOM_CONNECTED;
    }

    /// Forgets all but the newest frames: while there is no connection, a newer digest
    /// replaces an older one.
    pub(crate) fn unconnected(&self) {
        let mut state = self.state();
        state.room = ROOM_UNCONNECTED;
        let surplus = state.frames.len().saturating_sub(ROOM_UNCONNECTED);
        state.frames.drain(..surplus);
    }

    /// Takes no more frames if there are none; gives whether it is closed.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut state = self.state();
        state.closed |= state.frames.is_empty();
        state.closed
    }

    /// Takes no more frames, and forgets those that wait.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.frames.clear();
    }

    /// Whether there is a connection that takes frames.
    pub(crate) fn is_connected(&self) -> bool {
        let state = self.state();
        !state.closed && state.room == ROOM_CONNECTED
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Three rounds of the busiest member. What is older helps nobody.
pub(crate) const ROOM_CONNECTED: usize = 32;

/// The newest digest tells all; the other place is for a push.
const ROOM_UNCONNECTED: usize = 2;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Added, FrameQueue, ROOM_CONNECTED};

    fn frame(n: usize) -> Bytes {
        Bytes::from(n.to_string())
    }

    #[tokio::test]
    async fn without_a_connection_the_newest_frames_are_kept() {
        let queue = FrameQueue::new();
        assert_eq!(queue.add(frame(1)), Added::Taken);
        assert_eq!(queue.add(frame(2)), Added::Taken);
        assert_eq!(queue.add(frame(3)), Added::InsteadOfOldest);
        assert_eq!(
            (queue.next().await, queue.next().await),
            (frame(2), frame(3))
        );
    }

    #[tokio::test]
    async fn a_stuck_connection_costs_the_oldest_frames_only() {
        let queue = FrameQueue::new();
        queue.connected();
        for n in 0..ROOM_CONNECTED {
            assert_eq!(queue.add(frame(n)), Added::Taken);
        }
        assert_eq!(queue.add(frame(99)), Added::InsteadOfOldest);
        assert_eq!(queue.next().await, frame(1));
        queue.unconnected();
        assert_eq!(
            (queue.next().await, queue.next().await),
            (frame(31), frame(99))
        );
    }

    #[tokio::test]
    async fn a_closed_queue_takes_nothing() {
        let queue = FrameQueue::new();
        queue.add(frame(1));
        assert!(!queue.close_if_empty());
        queue.next().await;
        assert!(queue.close_if_empty());
        assert_eq!(queue.add(frame(2)), Added::Closed);
    }
}
