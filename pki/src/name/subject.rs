//! Who a certificate speaks for, and the URI that says so.

use std::fmt;

use super::{FarmName, NameError, NodeName, beginning};

/// What a member is allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The service on an X2Go server.
    Agent,
    /// A replica of the session broker.
    Broker,
    /// A person with a tool.
    Operator,
}

/// Who a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The farm.
    pub farm: FarmName,
    /// What the member may do.
    pub role: Role,
    /// The member's host name.
    pub node: NodeName,
}

/// Not one of the three roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a role; the roles are agent, broker and operator")]
pub struct RoleError {
    given: String,
}

/// Why a text is not the URI of a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is not built like one.
    #[error("{given:?} is not of the form x2gofarm://FARM/ROLE/NODE")]
    Form {
        /// The beginning of the text.
        given: String,
    },
    /// The farm or node is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The role is unknown.
    #[error(transparent)]
    Role(#[from] RoleError),
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Broker, Self::Operator];

    /// The role's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Broker => "broker",
            Self::Operator => "operator",
        }
    }

    /// Takes the role's word.
    ///
    /// # Errors
    /// When it is not one of the three.
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        match Self::ALL.into_iter().find(|role| role.as_str() == text) {
            Some(role) => Ok(role),
            None => Err(RoleError {
                given: beginning(text),
            }),
        }
    }
}

impl Subject {
    /// The URI for the certificate: `x2gofarm://FARM/ROLE/NODE`.
    pub fn to_uri(&self) -> String {
        format!("{URI_SCHEME}{}/{}/{}", self.farm, self.role, self.node)
    }

    /// Reads the URI of a certificate. It must be spelled exactly as [`Subject::to_uri`] does.
    ///
    /// # Errors
    /// Says what is wrong with `uri`.
    pub fn from_uri(uri: &str) -> Result<Self, SubjectError> {
        let form = || SubjectError::Form {
            given: beginning(uri),
        };
        let rest = uri.strip_prefix(URI_SCHEME).ok_or_else(form)?;
        let mut parts = rest.split('/');
        let (Some(farm), Some(role), Some(node), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        let subject = Self {
            farm: FarmName::parse(farm)?,
            role: Role::parse(role)?,
            node: NodeName::parse(node)?,
        };
        if subject.node.as_str() == node {
            Ok(subject)
        } else {
            Err(form())
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The subject as its URI.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_uri())
    }
}

/// Begins each URI of a member; also how it is told from other URIs of a certificate.
pub(crate) const URI_SCHEME: &str = "x2gofarm://";

#[cfg(test)]
mod tests {
    use super::{FarmName, NodeName, Role, Subject};

    fn told<T, E: std::fmt::Display>(result: Result<T, E>, show: impl Fn(&T) -> String) -> String {
        match result {
            Ok(value) => show(&value),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_role_is_one_of_three_words() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Ok(role));
        }
        for given in ["", "Agent", "root", "agent "] {
            let expected =
                format!("{given:?} is not a role; the roles are agent, broker and operator");
            assert_eq!(told(Role::parse(given), Role::to_string), expected);
        }
    }

    #[test]
    fn a_subject_comes_back_from_its_uri() {
        for role in Role::ALL {
            for (farm, node) in [
                ("office", "web1"),
                ("a.b-c", "web1.example.org"),
                ("1", "_x"),
            ] {
                let subject = Subject {
                    farm: FarmName::parse(farm).unwrap(),
                    role,
                    node: NodeName::parse(node).unwrap(),
                };
                assert_eq!(subject.to_uri(), format!("x2gofarm://{farm}/{role}/{node}"));
                assert_eq!(Subject::from_uri(&subject.to_uri()), Ok(subject));
            }
        }
    }

    #[test]
    fn a_uri_of_another_form_is_refused() {
        let form = |uri: &str| format!("{uri:?} is not of the form x2gofarm://FARM/ROLE/NODE");
        for uri in [
            "",
            "web1",
            "https://office/agent/web1",
            "X2GOFARM://office/agent/web1",
            "x2gofarm://office/agent",
            "x2gofarm://office/agent/web1/",
            "x2gofarm://office/agent/web1/more",
            "x2gofarm://office/agent/Web1",
        ] {
            assert_eq!(told(Subject::from_uri(uri), Subject::to_uri), form(uri));
        }
        for (uri, expected) in [
            ("x2gofarm:///agent/web1", r#"farm name "" is empty"#),
            ("x2gofarm://office/agent/", r#"node name "" is empty"#),
            (
                "x2gofarm://office/root/web1",
                r#""root" is not a role; the roles are agent, broker and operator"#,
            ),
            (
                "x2gofarm://office/agent/web1?x",
                r#"node name "web1?x" holds '?'; allowed are a-z, 0-9, dot, hyphen and underscore"#,
            ),
        ] {
            assert_eq!(told(Subject::from_uri(uri), Subject::to_uri), expected);
        }
    }
}
