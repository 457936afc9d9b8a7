//! Which of several named brokers does a request mean?
//!
//! Brokers in one daemon differ by the host name of the URL, by the start of its path, or
//! by both: what virtual hosts and aliases of a web server gave the original.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::uri::{PathAndQuery, Uri};
use http::{Request, StatusCode, header};
use tower::ServiceExt;

use super::respond::failure;

/// Where a broker is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// In small letters; empty for any.
    pub host_names: Vec<String>,
    /// Empty, or like `/sales`: without a slash at its end.
    pub base_path: String,
}

/// A broker and where it is found.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where.
    pub location: Location,
    /// Its routes, without the base path.
    pub app: Router,
}

/// All brokers of a daemon.
#[derive(Clone, Debug)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// Puts them in the order in which they are tried: those for certain host names first,
    /// then the longest base path first.
    #[must_use]
    pub fn new(mut sites: Vec<Site>) -> Self {
        sites.sort_by_key(|site| {
            let location = &site.location;
            let path_bytes = location.base_path.len();
            (
                location.host_names.is_empty(),
                std::cmp::Reverse(path_bytes),
            )
        });
        Self(sites)
    }

    /// Lets the broker answer that a request means; 404 where there is none.
    pub(super) async fn answer(&self, mut request: Request<Body>) -> Response {
        let host = host(&request).map(str::to_ascii_lowercase);
        let path = request.uri().path();
        let found = self.0.iter().find_map(|site| {
            let rest = site
                .location
                .rest_of(host.as_deref().unwrap_or_default(), path)?;
            Some((site, rest.len()))
        });
        let Some((site, rest)) = found else {
            return failure(StatusCode::NOT_FOUND);
        };
        let base = path.len().saturating_sub(rest);
        if base > 0 {
            match without_base(request.uri(), base) {
                Some(uri) => *request.uri_mut() = uri,
                None => return failure(StatusCode::NOT_FOUND),
            }
        }
        let answered: Result<Response, Infallible> = site.app.clone().oneshot(request).await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Location {
    /// The path behind the base, if host and path lead here.
    fn rest_of<'a>(&self, host: &str, path: &'a str) -> Option<&'a str> {
        if !self.host_names.is_empty() && !self.host_names.iter().any(|name| name == host) {
            return None;
        }
        let rest = path.strip_prefix(self.base_path.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

/// The host name that the client asked for, without the port.
fn host(request: &Request<Body>) -> Option<&str> {
    if let Some(host) = request.uri().host() {
        return Some(host);
    }
    let value = request.headers().get(header::HOST)?.to_str().ok()?;
    let name_only = match value.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => value,
    };
    Some(name_only)
}

fn without_base(uri: &Uri, base: usize) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.get(base..)?;
    let rest = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use http_body_util::BodyExt;

    fn site(name: &'static str, hosts: &[&str], base_path: &str) -> Site {
        let app =
            Router::new().fallback(get(move |uri: Uri| async move { format!("{name} {uri}") }));
        Site {
            location: Location {
                host_names: hosts.iter().map(ToString::to_string).collect(),
                base_path: base_path.to_owned(),
            },
            app,
        }
    }

    async fn ask(sites: &Sites, host: &str, uri: &str) -> String {
        let request = Request::get(uri).header("host", host).body(Body::empty());
        let response = sites.answer(request.unwrap()).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn host_name_and_longest_path_decide() {
        let sites = Sites::new(vec![
            site("main", &[], ""),
            site("sales", &[], "/sales"),
            site("lab", &["lab.example.org"], ""),
            site("lab-x", &["lab.example.org"], "/x"),
        ]);
        let cases = [
            ("any", "/plain/?task=testcon", "main /plain/?task=testcon"),
            ("any", "/sales/plain/inifile", "sales /plain/inifile"),
            ("any", "/sales", "sales /"),
            ("any", "/sales?x", "sales /?x"),
            ("any", "/salesman", "main /salesman"),
            ("LAB.example.org:8443", "/plain/", "lab /plain/"),
            ("lab.example.org", "/x/json/", "lab-x /json/"),
            ("lab.example.org", "/sales/", "lab /sales/"),
            ("[::1]:8080", "/plain/", "main /plain/"),
        ];
        for (host, uri, expected) in cases {
            assert_eq!(ask(&sites, host, uri).await, expected, "{host} {uri}");
        }
        let only_sales = Sites::new(vec![site("sales", &[], "/sales")]);
        assert!(ask(&only_sales, "any", "/plain/").await.contains("404"));
    }
}
