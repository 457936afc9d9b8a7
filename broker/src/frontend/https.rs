//! The HTTP front end: URLs, methods, bodies and statuses around the tasks.

mod access;
mod body;
pub mod forwarded;
mod limits;
mod listen;
mod patience;
mod public_keys;
mod respond;
pub mod sites;
pub mod socket;
mod uccs;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::request::Parts;
use http::{Method, StatusCode, header};
use pki::Clock;
use time::OffsetDateTime;
use tracing::debug;

pub use body::Bodies;
pub use limits::{Place, Places};
pub use listen::{ClientAddress, HttpListener, Serving};

use crate::config::Refusal;
use crate::frontend::form::{self, Dialect};
use crate::frontend::{json, plain};
use crate::settings::Settings;
use crate::task::list_sessions::HostsShown;
use crate::task::request::Task;
use crate::task::{self, Broker};
use respond::Answer;

/// What the front end needs to answer.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Who answers.
    pub broker: Broker,
    /// From the first byte of a request to its last.
    pub request_timeout: Duration,
    /// Reads bodies; shared by all brokers of a daemon.
    pub bodies: Bodies,
    /// For the dates in answers.
    pub clock: Clock,
}

/// The routes of the front end.
pub fn router(frontend: Frontend) -> Router {
    Router::new()
        .route("/", any(works))
        .route("/plain/", any(plain))
        .route("/plain/{*rest}", any(plain))
        .route("/json/", any(json))
        .route("/json/{*rest}", any(json))
        .route("/uccs/", any(uccs))
        .route("/uccs/{*rest}", any(uccs))
        .route("/pubkeys", any(public_keys))
        .route("/pubkeys/", any(public_keys))
        .fallback(not_found)
        .with_state(Arc::new(frontend))
}

type OfFrontend = State<Arc<Frontend>>;

async fn works(State(frontend): OfFrontend, request: Request) -> Response {
    let page = "<body><html><h1>X2Go Session Broker</h1><p>It works...</p></body></html>";
    let answer = match *request.method() {
        Method::GET => Answer::page(page).marked(request.headers()),
        _ => wrong_method(request.method()),
    };
    frontend.send(answer)
}

async fn plain(State(frontend): OfFrontend, request: Request) -> Response {
    let answer = frontend.tasks(Dialect::Plain, request).await;
    frontend.send(answer)
}

async fn json(State(frontend): OfFrontend, request: Request) -> Response {
    let answer = frontend.tasks(Dialect::Json, request).await;
    frontend.send(answer)
}

async fn uccs(State(frontend): OfFrontend, request: Request) -> Response {
    let answer = frontend.uccs(request).await;
    frontend.send(answer)
}

async fn public_keys(State(frontend): OfFrontend, request: Request) -> Response {
    let answer = match *request.method() {
        Method::GET => {
            let answer = frontend.public_keys().await;
            answer.marked(request.headers())
        }
        _ => wrong_method(request.method()),
    };
    frontend.send(answer)
}

async fn not_found(State(frontend): OfFrontend) -> Response {
    frontend.send(Answer::failure(StatusCode::NOT_FOUND))
}

fn wrong_method(method: &Method) -> Answer {
    debug!(%method, "this method is not taken here");
    Answer::failure(StatusCode::METHOD_NOT_ALLOWED)
}

impl Frontend {
    fn send(&self, answer: Answer) -> Response {
        answer.at(self.now())
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + self.clock.since_epoch()
    }

    /// `/plain/` and `/json/`: any task, asked for with POST, or with GET if that is
    /// allowed.
    async fn tasks(&self, dialect: Dialect, request: Request) -> Answer {
        let settings = self.broker.settings();
        let (head, body) = request.into_parts();
        match head.method {
            Method::POST => {}
            Method::GET if settings.frontends.allow_get => {}
            _ => return wrong_method(&head.method),
        }
        let answered = self.task(dialect, &settings, &head, body).await;
        let answer = answered.unwrap_or_else(Answer::failure);
        if head.method == Method::GET {
            return answer.marked(&head.headers);
        }
        answer
    }

    async fn task(
        &self,
        dialect: Dialect,
        settings: &Settings,
        head: &Parts,
        body: Body,
    ) -> Result<Answer, StatusCode> {
        let frontends = &settings.frontends;
        let (prefix, is_enabled) = match dialect {
            Dialect::Plain => ("/plain/", frontends.plain),
            Dialect::Json => ("/json/", frontends.json),
        };
        let backend = settings.backend(&backend_name(head.uri.path(), prefix));
        let backend = backend.filter(|_| is_enabled);
        let backend = backend.ok_or(StatusCode::NOT_FOUND)?;
        let client = client(head)?;
        let request = self.read(dialect, head, body).await?;
        if frontends.anonymous_testcon && asks_for_connection_only(dialect, &request) {
            return Ok(Answer::good(plain::CONTENT_TYPE, plain::granted(None)));
        }
        let reply = self.broker.answer(backend, &request, client).await;
        let shown = HostsShown::of(backend.query_mode);
        match (reply, dialect) {
            (Ok(reply), Dialect::Plain) => {
                let body = plain::answer(&reply, shown);
                Ok(Answer::good(plain::CONTENT_TYPE, body))
            }
            (Ok(reply), Dialect::Json) => {
                let body = json::answer(&reply, &request, shown);
                Ok(Answer::good(json::CONTENT_TYPE, body))
            }
            (Err(_denied), Dialect::Plain) if frontends.refusal == Refusal::LoginForm => {
                let body = plain::DENIED.to_owned();
                Ok(Answer::good(plain::CONTENT_TYPE, body))
            }
            (Err(_denied), _) => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// Reads body and fields, within the bounds of size and time.
    async fn read(
        &self,
        dialect: Dialect,
        head: &Parts,
        body: Body,
    ) -> Result<task::request::Request, StatusCode> {
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if head.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let body = tokio::time::timeout(self.request_timeout, self.bodies.read(body));
        let body = body.await.or(Err(StatusCode::REQUEST_TIMEOUT))??;
        let query = head.uri.query().unwrap_or_default();
        form::parse_as(dialect, query, content_type, &body.bytes).map_err(|error| {
            debug!(error = %error, "a request can't be read");
            StatusCode::BAD_REQUEST
        })
    }
}

/// The first part of the path behind the front end's; what follows is ignored.
fn backend_name(path: &str, prefix: &str) -> String {
    let rest = form::unescaped(path.strip_prefix(prefix).unwrap_or_default());
    rest.split('/').next().unwrap_or_default().to_owned()
}

fn client(head: &Parts) -> Result<IpAddr, StatusCode> {
    let client = head.extensions.get::<ClientAddress>();
    let ClientAddress(client) = client.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(*client)
}

/// X2Go Client's connectivity test names nobody and wants to read "Access granted".
fn asks_for_connection_only(dialect: Dialect, request: &task::request::Request) -> bool {
    let credentials = &request.credentials;
    let named = [
        credentials.user.as_str(),
        credentials.password.expose(),
        credentials.authid.expose(),
    ];
    dialect == Dialect::Plain
        && request.task == Task::TestConnection
        && named.iter().all(|value| value.is_empty())
}

#[cfg(test)]
mod tests;
