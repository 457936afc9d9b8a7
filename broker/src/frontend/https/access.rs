//! What is told of each request? Who asked for what, how it ended and how long it took;
//! never the query or the body, which hold passwords.

use std::net::IpAddr;

use http::{Method, Request, StatusCode};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::log::ACCESS;

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Access {
    client: IpAddr,
    method: Method,
    path: String,
    begun: Instant,
}

impl Access {
    pub(super) fn new<B>(client: IpAddr, request: &Request<B>) -> Self {
        Self {
            client,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            begun: Instant::now(),
        }
    }

    /// As in x2gobroker 0.0.4.3, the log shows refused requests at its usual level, and
    /// all of them when it is to say more.
    pub(super) fn log(self, status: StatusCode) {
        let Self {
            client,
            method,
            path,
            begun,
        } = self;
        let (status, took) = (status.as_u16(), begun.elapsed());
        match status {
            ..400 => debug!(target: ACCESS, status, %method, path, %client, ?took, "answered"),
            400..500 => info!(target: ACCESS, status, %method, path, %client, ?took, "refused"),
            500.. => warn!(target: ACCESS, status, %method, path, %client, ?took, "failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn a_password_in_the_query_stays_out_of_the_access_log() {
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let url = "/plain/?task=listsessions&user=alice&password=planted";
        let request = http::Request::get(url).body(()).unwrap();
        let access = Access::new(client, &request);
        assert_eq!(access.path, "/plain/");
        assert!(!format!("{access:?}").contains("planted"));
    }
}
