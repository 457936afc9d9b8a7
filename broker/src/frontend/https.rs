//! The HTTP front end: URLs, methods, bodies and statuses around the tasks.

mod limits;
mod listen;
mod patience;
mod respond;

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
use tokio::sync::watch;
use tracing::debug;

pub use limits::{Place, Places};
pub use listen::{BindError, ClientAddress, HttpListener};

use crate::auth::{Authenticated, authenticate};
use crate::config::{AuthConfig, FrontendConfig, InifileConfig};
use crate::frontend::form::{self, MAX_BODY_BYTES, Task};
use crate::frontend::plain;
use crate::profiles::SessionProfiles;
use crate::task::list_sessions::list_sessions;
use crate::task::may_use;
use crate::task::select_session::{Placing, select_session};
use respond::{failure, page, text};

/// What the front end needs to answer.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Who is let in.
    pub auth: AuthConfig,
    /// Which front ends answer.
    pub frontends: FrontendConfig,
    /// The backend `inifile`.
    pub inifile: InifileConfig,
    /// From the first byte of a request to its last.
    pub request_timeout: Duration,
    /// The session profiles as they are now.
    pub profiles: watch::Receiver<Arc<SessionProfiles>>,
    /// The farm, and how to place a session on it.
    pub placing: Placing,
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
    async fn plain(&self, rest: &str, request: Request) -> Result<String, StatusCode> {
        self.check_backend(rest)?;
        let client = request.extensions().get::<ClientAddress>().copied();
        let ClientAddress(client) = client.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let request = self.read(request).await?;
        let who = authenticate(self.auth.authentication, &request, client)
            .or(Err(StatusCode::UNAUTHORIZED))?;
        Ok(match request.task {
            Task::TestConnection => plain::TEST_CONNECTION.to_owned(),
            Task::ListSessions => self.list(&who),
            Task::SelectSession => self.select(&who, &request.sid).await,
            Task::SetPassword | Task::ClientEvent | Task::Other => plain::granted(None),
        })
    }

    /// The first part of the path names the backend; what follows is ignored.
    fn check_backend(&self, rest: &str) -> Result<(), StatusCode> {
        let named = rest.split('/').next().unwrap_or_default();
        let backend = if named.is_empty() {
            &self.frontends.default_backend
        } else {
            named
        };
        if self.frontends.plain && self.inifile.enabled && backend == "inifile" {
            return Ok(());
        }
        Err(StatusCode::NOT_FOUND)
    }

    /// Reads body and fields, within the bounds of size and time.
    async fn read(&self, request: Request) -> Result<form::Request, StatusCode> {
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
        form::Request::parse(query, content_type, &body).map_err(|error| {
            debug!(error = %error, "a request can't be read");
            StatusCode::BAD_REQUEST
        })
    }

    fn list(&self, who: &Authenticated) -> String {
        let profiles = Arc::clone(&self.profiles.borrow());
        let view = self.placing.feed.view();
        let listed = list_sessions(&profiles, &view, who);
        plain::list_sessions(None, who.user(), self.inifile.hosts_shown, &listed)
    }

    async fn select(&self, who: &Authenticated, sid: &str) -> String {
        let profiles = Arc::clone(&self.profiles.borrow());
        let profile = profiles.get(sid).filter(|profile| may_use(profile, who));
        let (Some(profile), Some(user)) = (profile, who.user()) else {
            debug!(profile = sid, "no such profile for this user");
            return plain::no_such_profile(None);
        };
        match select_session(&self.placing, profile, user).await {
            Ok(selected) => plain::select_session(None, &selected.server, selected.resume.first()),
            Err(error) => {
                tracing::warn!(%user, profile = %profile.id, why = error.why, "no server for a session");
                plain::no_server(None, profile.sshport)
            }
        }
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
