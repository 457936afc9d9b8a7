//! Why did a handshake fail, in words for an operator?

use std::io;
use std::time::Duration;

use rustls::CertificateError as Rejected;
use rustls::InvalidMessage;
use rustls_pki_types::UnixTime;

use crate::certificate::FactsError;
use crate::clock::rfc3339;
use crate::error_chain::chain_text;
use crate::name::{FarmName, Subject};

/// Why two programs did not become peers. Written from the view of the one that reports.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailure {
    /// The other's certificate leads to none of our roots.
    #[error("its certificate comes from an unknown issuer, not from the root of this farm")]
    UnknownIssuer,
    /// The other's certificate is over.
    #[error("its certificate expired{}", told(" at ", .not_after.as_ref()))]
    Expired {
        /// The last second of its life, when known.
        not_after: Option<UnixTime>,
    },
    /// The other's certificate has not begun.
    #[error(
        "its certificate is not valid yet{}; are the clocks right?",
        told(", only from ", .not_before.as_ref())
    )]
    NotYetValid {
        /// The first second of its life, when known.
        not_before: Option<UnixTime>,
    },
    /// The other showed none.
    #[error("it showed no certificate")]
    NoCertificate,
    /// The other's certificate is not acceptable for another reason.
    #[error("its certificate is not acceptable")]
    Certificate(#[source] rustls::Error),
    /// The other's certificate does not say who it is.
    #[error("its certificate does not name a member")]
    Nameless(#[source] FactsError),
    /// The other is a member of another farm.
    #[error("it is {found}, of another farm than ours, {ours}")]
    WrongFarm {
        /// Who it is.
        found: Box<Subject>,
        /// Our farm.
        ours: FarmName,
    },
    /// The other told us that it does not want our certificate, or us.
    #[error("it refused us with the alert {alert}")]
    Refused {
        /// The name of the TLS alert.
        alert: String,
    },
    /// What came is not TLS.
    #[error("it does not speak TLS")]
    NotTls,
    /// The other went away before the end.
    #[error("it closed the connection during the handshake")]
    Closed,
    /// The other did not finish in time.
    #[error("it did not finish the handshake within {after:?}")]
    TimedOut {
        /// How long we waited.
        after: Duration,
    },
    /// It has too many unfinished handshakes already.
    #[error("it has {limit} unfinished handshakes already")]
    TooManyUnfinished {
        /// How many one source address may have.
        limit: usize,
    },
    /// We have as many connections as we allow.
    #[error("all {limit} connections are in use")]
    Full {
        /// How many we allow.
        limit: usize,
    },
    /// The two could not agree, or one broke the protocol.
    #[error("the TLS handshake failed")]
    Protocol(#[source] rustls::Error),
    /// The network failed.
    #[error("the connection failed")]
    Network(#[source] io::Error),
}

impl HandshakeFailure {
    /// The reason with all that is behind it, on one line.
    pub fn full_text(&self) -> String {
        chain_text(self)
    }

    /// Reads what tokio-rustls returned.
    pub(crate) fn from_io(error: io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls.cloned() {
            Some(tls) => Self::from_tls(tls),
            None => Self::from_network(error),
        }
    }

    fn from_network(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            _ => Self::Network(error),
        }
    }

    fn from_tls(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(rejected) => Self::from_certificate(rejected),
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::AlertReceived(alert) => Self::Refused {
                alert: format!("{alert:?}"),
            },
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload
                | InvalidMessage::MessageTooShort,
            ) => Self::NotTls,
            other => Self::Protocol(other),
        }
    }

    fn from_certificate(rejected: Rejected) -> Self {
        match rejected {
            // A foreign root with the same name shows as a bad signature.
            Rejected::UnknownIssuer | Rejected::BadSignature => Self::UnknownIssuer,
            Rejected::Expired => Self::Expired { not_after: None },
            Rejected::ExpiredContext { not_after, .. } => Self::Expired {
                not_after: Some(not_after),
            },
            Rejected::NotValidYet => Self::NotYetValid { not_before: None },
            Rejected::NotValidYetContext { not_before, .. } => Self::NotYetValid {
                not_before: Some(not_before),
            },
            other => Self::Certificate(rustls::Error::InvalidCertificate(other)),
        }
    }
}

fn told(before: &str, time: Option<&UnixTime>) -> String {
    time.map(|time| format!("{before}{}", rfc3339(*time)))
        .unwrap_or_default()
}
