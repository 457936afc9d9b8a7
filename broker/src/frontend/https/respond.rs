//! Answers as HTTP: statuses and headers as clients of the original know them.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::frontend::plain;

/// A good answer. `Expires` is what the original sends, literally.
pub(super) fn text(body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(plain::CONTENT_TYPE),
    );
    headers.insert(header::EXPIRES, HeaderValue::from_static("+1h"));
    response
}

/// A page for people.
pub(super) fn page(body: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    let html = HeaderValue::from_static(plain::ERROR_CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

/// An error answer: the status in words, and no word more.
pub(super) fn failure(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let mut response = Response::new(Body::from(plain::error_body(status.as_u16(), reason)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(plain::ERROR_CONTENT_TYPE),
    );
    // What is left of a body that was refused would be read as the next request.
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
