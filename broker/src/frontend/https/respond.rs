//! Answers as HTTP: statuses and headers as clients of the original know them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Frame;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use crate::frontend::plain;

/// An answer whose body is at hand.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// A good answer of a front end. `Expires` is what the original sends, literally.
    pub(super) fn good(content_type: &'static str, body: String) -> Self {
        let mut answer = Self::of(StatusCode::OK, content_type, body.into());
        let expires = HeaderValue::from_static("+1h");
        answer.headers.insert(header::EXPIRES, expires);
        answer
    }

    /// A page for people.
    pub(super) fn page(body: impl Into<Bytes>) -> Self {
        Self::of(StatusCode::OK, plain::ERROR_CONTENT_TYPE, body.into())
    }

    /// An error answer: the status in words, and no word more.
    pub(super) fn failure(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let body = plain::error_body(status.as_u16(), reason);
        let mut answer = Self::of(status, plain::ERROR_CONTENT_TYPE, body.into());
        // What is left of a body that was refused would be read as the next request.
        if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
            let close = HeaderValue::from_static("close");
            answer.headers.insert(header::CONNECTION, close);
        }
        answer
    }

    /// Asks for user and password.
    pub(super) fn challenge() -> Self {
        let html = plain::ERROR_CONTENT_TYPE;
        let mut answer = Self::of(StatusCode::UNAUTHORIZED, html, Bytes::new());
        let basic = HeaderValue::from_static("Basic realm=\"Authentication required\"");
        answer.headers.insert(header::WWW_AUTHENTICATE, basic);
        answer
    }

    fn of(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
        let content_type = HeaderValue::from_static(content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        Self {
            status,
            headers,
            body,
        }
    }

    /// Gives a good answer to GET its mark, and says 304 when the client has it already.
    pub(super) fn marked(mut self, request: &HeaderMap) -> Self {
        if self.status != StatusCode::OK {
            return self;
        }
        let mark = mark(&self.body);
        let known = request.get_all(header::IF_NONE_MATCH).iter();
        if known
            .filter_map(|value| value.to_str().ok())
            .any(|known| names(known, &mark))
        {
            self.status = StatusCode::NOT_MODIFIED;
            self.headers.remove(header::CONTENT_TYPE);
            self.body = Bytes::new();
        }
        if let Ok(mark) = HeaderValue::try_from(mark) {
            self.headers.insert(header::ETAG, mark);
        }
        self
    }

    /// Keeps the head alone, for HEAD.
    pub(super) fn head_only(mut self) -> Self {
        let length = HeaderValue::from(self.body.len());
        self.headers.insert(header::CONTENT_LENGTH, length);
        self.body = Bytes::new();
        self
    }

    /// The answer to send at `now`, its headers in the order of the original.
    pub(super) fn at(self, now: OffsetDateTime) -> Response {
        let body = match self.status {
            StatusCode::NOT_MODIFIED => Body::new(NoBody),
            _ => Body::from(self.body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let mut rest = self.headers;
        let date = now.format(DATE).ok().and_then(|date| date.try_into().ok());
        rest.extend(date.map(|date: HeaderValue| (header::DATE, date)));
        let headers = response.headers_mut();
        for name in ORDER {
            headers.extend(rest.remove(&name).map(|value| (name, value)));
        }
        headers.extend(rest);
        response
    }
}

/// A body that is not there, and so has no length: RFC 9110, 8.6, forbids 304 to tell one
/// that is not that of the whole answer.
struct NoBody;

impl HttpBody for NoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// An error answer outside of the front ends.
pub(super) fn failure(status: StatusCode) -> Response {
    let answer = Answer::failure(status);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

fn mark(body: &[u8]) -> String {
    use std::fmt::Write;
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, body);
    let mut mark = String::with_capacity(42);
    mark.push('"');
    for byte in digest.as_ref() {
        // Writing to a String can't fail.
        let _ = write!(mark, "{byte:02x}");
    }
    mark.push('"');
    mark
}

/// Whether a list like `"a", W/"b"`, or `*`, names this mark.
fn names(list: &str, mark: &str) -> bool {
    let mut items = list.split(',').map(str::trim);
    items.any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == mark)
}

const SERVER: &str = "x2gobroker";

/// `Sun, 22 Nov 2026 05:27:06 GMT`
const DATE: &[FormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

const ORDER: [HeaderName; 6] = [
    header::SERVER,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPIRES,
    header::WWW_AUTHENTICATE,
    header::ETAG,
];

#[cfg(test)]
mod tests {
    use super::{mark, names};

    #[test]
    fn marks_are_those_of_the_original() {
        // {http-get-etag}
        let expected = "\"9ce3bd4224c8c1780db56b4125ecf3f24bf748b7\"";
        assert_eq!(mark(b"OK"), expected);
        for known in [
            "*".to_owned(),
            expected.to_owned(),
            format!("W/{expected}"),
            format!("\"a\", {expected}"),
        ] {
            assert!(names(&known, expected), "{known}");
        }
        assert!(!names(
            "\"a\", 9ce3bd4224c8c1780db56b4125ecf3f24bf748b7",
            expected
        ));
    }
}
