//! `/uccs/`: which URLs, and who is let in?

use axum::extract::Request;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::request::Parts;
use http::{Method, StatusCode, header};
use proto::Secret;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::respond::Answer;
use super::{Frontend, client, wrong_method};
use crate::auth::Credentials;
use crate::frontend::uccs::{self, Style};
use crate::frontend::{form, plain};
use crate::settings::{Backend, Settings};
use crate::task;
use crate::task::nobody::any_of;

/// What a URL of this front end asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// `/uccs/BACKEND`: whether there is anybody.
    Time,
    /// `/uccs/BACKEND/api/N`: the list of a version.
    List { backend: String, api: u8 },
}

impl Asked {
    /// Slashes may stand at the end, and any number between backend and `api`: Arctica
    /// Greeter appends `/api/5/` to a URL that its manual ends with a slash.
    fn of(path: &str) -> Option<Self> {
        let path = form::unescaped(path.strip_prefix("/uccs/")?);
        let path = path.trim_end_matches('/');
        let (backend, rest) = path.split_once('/').unwrap_or((path, ""));
        if rest.is_empty() {
            return Some(Self::Time);
        }
        let digit = rest.trim_start_matches('/').strip_prefix("api/")?;
        (digit.len() == 1).then_some(())?;
        Some(Self::List {
            backend: backend.to_owned(),
            api: digit.parse().ok()?,
        })
    }
}

impl Frontend {
    pub(super) async fn uccs(&self, request: Request) -> Answer {
        let (head, _) = request.into_parts();
        let settings = self.broker.settings();
        match (Asked::of(head.uri.path()), &head.method) {
            (None, _) => Answer::failure(StatusCode::NOT_FOUND),
            (Some(Asked::Time), &Method::GET | &Method::HEAD) if !settings.frontends.uccs => {
                Answer::failure(StatusCode::NOT_FOUND)
            }
            (Some(Asked::Time), &Method::GET) => self.time().marked(&head.headers),
            (Some(Asked::Time), &Method::HEAD) => self.time().marked(&head.headers).head_only(),
            (Some(Asked::List { backend, api }), &Method::GET) => {
                let listed = self.uccs_list(&settings, &head, &backend, api).await;
                let answer = listed.unwrap_or_else(Answer::failure);
                answer.marked(&head.headers)
            }
            (Some(_), method) => wrong_method(method),
        }
    }

    fn time(&self) -> Answer {
        Answer::page(self.now().format(TIME).unwrap_or_default())
    }

    async fn uccs_list(
        &self,
        settings: &Settings,
        head: &Parts,
        backend_name: &str,
        api: u8,
    ) -> Result<Answer, StatusCode> {
        let frontends = &settings.frontends;
        let backend = settings.backend(backend_name);
        let backend = backend.ok_or(StatusCode::NOT_FOUND)?;
        let credentials = credentials(head);
        if credentials.is_none() && needs_credentials(backend) {
            return Ok(Answer::challenge());
        }
        if !frontends.uccs {
            // Before any password is checked, so that nobody learns here whether it is good.
            return Err(StatusCode::NOT_FOUND);
        }
        let client = client(head)?;
        let credentials = credentials.unwrap_or_else(nobody);
        let request = task::request::Request::list_sessions(credentials);
        let Ok(reply) = self.broker.answer(backend, &request, client).await else {
            return Ok(Answer::challenge());
        };
        let task::Answer::Profiles { profiles, .. } = &reply.answer else {
            return Err(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let style = Style {
            api,
            url_base: &frontends.uccs_url_base,
            backend: backend_name,
        };
        let body = uccs::answer(profiles, reply.who.account(), style, any_of);
        Ok(Answer::good(plain::CONTENT_TYPE, body))
    }
}

fn needs_credentials(backend: &Backend) -> bool {
    backend.auth.require_password || backend.auth.require_authid
}

/// User and password of the `Authorization` header (RFC 7617), if there is a good one.
fn credentials(head: &Parts) -> Option<Credentials> {
    let value = head.headers.get(header::AUTHORIZATION)?;
    let (user, password) = basic(value.to_str().ok()?)?;
    Some(Credentials {
        user,
        password,
        ..nobody()
    })
}

fn nobody() -> Credentials {
    Credentials {
        user: String::new(),
        password: Secret::new(String::new()),
        login: String::new(),
        authid: Secret::new(String::new()),
    }
}

fn basic(value: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    let is_basic = scheme.eq_ignore_ascii_case("basic");
    is_basic.then(|| (user.trim().to_owned(), Secret::new(password.to_owned())))
}

/// `2026-11-22 05:31:38.392032`
const TIME: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");

#[cfg(test)]
mod tests {
    use super::{Asked, basic};

    #[test]
    fn only_whole_urls_are_answered() {
        let list = |backend: &str, api| {
            let backend = backend.to_owned();
            Some(Asked::List { backend, api })
        };
        for (path, asked) in [
            ("/uccs/inifile/", Some(Asked::Time)),
            ("/uccs/inifile/api/5/", list("inifile", 5)),
            ("/uccs//api/4/", list("", 4)),
            // As the original answers them: the slash at the end is not needed, and more
            // of them don't hurt.
            ("/uccs/inifile", Some(Asked::Time)),
            ("/uccs/inifile///", Some(Asked::Time)),
            ("/uccs/", Some(Asked::Time)),
            ("/uccs/inifile/api/5", list("inifile", 5)),
            ("/uccs/inifile//api/5/", list("inifile", 5)),
            ("/uccs/inifile///api/5//", list("inifile", 5)),
            ("/uccs/inifile/api", None),
            ("/uccs/inifile/api///5/", None),
            ("/uccs/inifile/api/5/x", None),
            ("/uccs/inifile/api/10/", None),
            ("/uccs/inifile/api/x/", None),
            ("/uccs/inifile/api//", None),
            ("/uccs/inifile/else/5/", None),
        ] {
            assert_eq!(Asked::of(path), asked, "{path}");
        }
    }

    #[test]
    fn basic_credentials_are_read() {
        let read = |value| basic(value).map(|(user, pw)| (user, pw.expose().to_owned()));
        let alice = Some(("alice".to_owned(), "p:w ü".to_owned()));
        // printf 'alice:p:w ü' | base64
        assert_eq!(read("Basic YWxpY2U6cDp3IMO8"), alice);
        assert_eq!(read("basic  YWxpY2U6cDp3IMO8 "), alice);
        for odd in [
            "",
            "Basic",
            "Basic ?",
            "Basic YWxpY2U=",
            "Bearer YWxpY2U6cHc=",
            "Basic /w==",
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
