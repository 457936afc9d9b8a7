//! The HTTP front end: URLs, methods, bodies and statuses around the tasks.

pub mod forwarded;
mod limits;
mod listen;
mod patience;
mod respond;
pub mod sites;
pub mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tracing::debug;

pub use limits::{Place, Places};
pub use listen::{ClientAddress, HttpListener, Serving};

use crate::frontend::form::{self, MAX_BODY_BYTES};
use crate::frontend::plain;
use crate::task::{self, Broker};
use respond::{failure, page, text};

/// What the front end needs to answer.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Who answers.
    pub broker: Broker,
    /// From the first byte of a request to its last.
    pub request_timeout: Duration,
}

/// The routes of the front end.
pub fn router(frontend: Frontend) -> Router {
    let plain = post(plain).fallback(wrong_method);
    Router::new()
        .route("/", get(works).fallback(wrong_method))
        .route("/plain/", plain.clone())
        .route("/plain/{*rest}", plain)
        .fallback(not_found)
        .with_state(Arc::new(frontend))
}

async fn works() -> Response {
    page("<body><html><h1>X2Go Session Broker</h1><p>It works...</p></body></html>")
}

async fn not_found() -> Response {
    failure(StatusCode::NOT_FOUND)
}

async fn wrong_method(method: Method) -> Response {
    debug!(%method, "this method is not taken here");
    failure(StatusCode::METHOD_NOT_ALLOWED)
}

async fn plain(
    State(frontend): State<Arc<Frontend>>,
    rest: Option<Path<String>>,
    request: Request,
) -> Response {
    let rest = rest.map(|Path(rest)| rest).unwrap_or_default();
    match frontend.plain(&rest, request).await {
        Ok(answer) => text(answer),
        Err(status) => failure(status),
    }
}

impl Frontend {
    /// The first part of the path names the backend; what follows is ignored.
    async fn plain(&self, rest: &str, request: Request) -> Result<String, StatusCode> {
        let settings = self.broker.settings();
        let backend = settings.backend(rest.split('/').next().unwrap_or_default());
        let backend = backend.filter(|_| settings.frontends.plain);
        let backend = backend.ok_or(StatusCode::NOT_FOUND)?;
        let client = request.extensions().get::<ClientAddress>().copied();
        let ClientAddress(client) = client.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let request = self.read(request).await?;
        let reply = self.broker.answer(backend, &request, client).await;
        let reply = reply.or(Err(StatusCode::UNAUTHORIZED))?;
        Ok(plain::answer(&reply, backend.hosts_shown))
    }

    /// Reads body and fields, within the bounds of size and time.
    async fn read(&self, request: Request) -> Result<task::request::Request, StatusCode> {
        let (head, body) = request.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if head.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let body = tokio::time::timeout(self.request_timeout, read_body(body));
        let body = body.await.or(Err(StatusCode::REQUEST_TIMEOUT))??;
        let query = head.uri.query().unwrap_or_default();
        form::parse(query, content_type, &body).map_err(|error| {
            debug!(error = %error, "a request can't be read");
            StatusCode::BAD_REQUEST
        })
    }
}

async fn read_body(body: Body) -> Result<Bytes, StatusCode> {
    // A body that is announced as too large need not be sent at all.
    if usize::try_from(body.size_hint().lower())
        .map_or(true, |announced| announced > MAX_BODY_BYTES)
    {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(error) => {
            debug!(error = %error, "a request's body could not be read");
            Err(StatusCode::BAD_REQUEST)
        }
    }
}
