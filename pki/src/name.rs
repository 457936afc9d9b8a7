//! Names of the farm and of its members, and the URI that carries them in a certificate.

use std::fmt;
use std::sync::Arc;

/// The name of a farm: 1 to 64 bytes of `[a-z0-9.-]`.
///
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FarmName(Arc<str>);

/// The host name of a member, short or fully qualified, in lower case.
///
/// At most 253 bytes; labels of `[a-z0-9_-]` that neither begin nor end with a hyphen.
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

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

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} {problem}")]
pub struct NameError {
    what: &'static str,
    given: String,
    problem: NameProblem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NameProblem {
    #[error("is empty")]
    Empty,
    #[error("is longer than {most} bytes")]
    TooLong { most: usize },
    #[error("holds {found:?}; allowed are {allowed}")]
    Character { found: char, allowed: &'static str },
    #[error("has an empty label, or one longer than {MAX_LABEL} bytes")]
    LabelLength,
    #[error("has a label that begins or ends with a hyphen")]
    LabelEdge,
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

impl FarmName {
    /// Takes `text` if it is the name of a farm.
    ///
    /// # Errors
    /// Says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let problem = if text.is_empty() {
            Some(NameProblem::Empty)
        } else if text.len() > MAX_FARM {
            Some(NameProblem::TooLong { most: MAX_FARM })
        } else {
            foreign_character(text, ".-", "a-z, 0-9, dot and hyphen")
        };
        match problem {
            None => Ok(Self(text.into())),
            Some(problem) => Err(name_error("farm name", text, problem)),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// Takes `text`, lower-cased, if it is a host name.
    ///
    /// # Errors
    /// Says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let error = |problem| Err(name_error("node name", text, problem));
        if text.is_empty() {
            return error(NameProblem::Empty);
        }
        if text.len() > MAX_NODE {
            return error(NameProblem::TooLong { most: MAX_NODE });
        }
        let lower = text.to_ascii_lowercase();
        if let Some(problem) = foreign_character(&lower, "._-", NODE_CHARACTERS) {
            return error(problem);
        }
        for label in lower.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return error(NameProblem::LabelLength);
            }
            if label.starts_with('-') || label.ends_with('-') {
                return error(NameProblem::LabelEdge);
            }
        }
        Ok(Self(lower.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
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

impl fmt::Display for FarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FarmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FarmName({})", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeName({})", self.0)
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

/// Fits the organisation field of a certificate (64 characters) and a gossip cluster ID.
const MAX_FARM: usize = 64;
/// The longest name that DNS can hold.
const MAX_NODE: usize = 253;
/// The longest label that DNS can hold.
const MAX_LABEL: usize = 63;
const NODE_CHARACTERS: &str = "a-z, 0-9, dot, hyphen and underscore";
/// How much of a wrong text an error repeats: enough to recognise it.
const SHOWN: usize = 80;

fn foreign_character(text: &str, extra: &str, allowed: &'static str) -> Option<NameProblem> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c);
    let found = text.chars().find(|&c| !good(c))?;
    Some(NameProblem::Character { found, allowed })
}

fn name_error(what: &'static str, given: &str, problem: NameProblem) -> NameError {
    NameError {
        what,
        given: beginning(given),
        problem,
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

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
    fn farm_names_are_lower_case_words_with_dots_and_hyphens() {
        let too_long = "x".repeat(65);
        let table = [
            ("office", "office"),
            ("x2go-2.example", "x2go-2.example"),
            ("7", "7"),
            ("", r#"farm name "" is empty"#),
            (
                "Office",
                r#"farm name "Office" holds 'O'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                "a/b",
                r#"farm name "a/b" holds '/'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                "a_b",
                r#"farm name "a_b" holds '_'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                "fürth",
                r#"farm name "fürth" holds 'ü'; allowed are a-z, 0-9, dot and hyphen"#,
            ),
            (
                &too_long,
                &format!("farm name {too_long:?} is longer than 64 bytes"),
            ),
        ];
        for (given, expected) in table {
            assert_eq!(
                told(FarmName::parse(given), FarmName::to_string),
                expected,
                "{given:?}"
            );
        }
        assert!(FarmName::parse(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn node_names_are_host_names_in_lower_case() {
        let long_label = format!("{}.example", "l".repeat(64));
        let too_long = "ab.".repeat(85);
        let shown: String = too_long.chars().take(80).collect();
        let allowed = "allowed are a-z, 0-9, dot, hyphen and underscore";
        let table = [
            ("web1", "web1".to_owned()),
            ("Web1.Example.ORG", "web1.example.org".to_owned()),
            ("x2go_old-3", "x2go_old-3".to_owned()),
            ("192.0.2.7", "192.0.2.7".to_owned()),
            ("", r#"node name "" is empty"#.to_owned()),
            ("a b", format!(r#"node name "a b" holds ' '; {allowed}"#)),
            (
                "a/../b",
                format!(r#"node name "a/../b" holds '/'; {allowed}"#),
            ),
            ("a\0", format!(r#"node name "a\0" holds '\0'; {allowed}"#)),
            ("K", format!(r#"node name "K" holds 'K'; {allowed}"#)),
            (
                "..",
                r#"node name ".." has an empty label, or one longer than 63 bytes"#.to_owned(),
            ),
            (
                "a.",
                r#"node name "a." has an empty label, or one longer than 63 bytes"#.to_owned(),
            ),
            (
                &long_label,
                format!("node name {long_label:?} has an empty label, or one longer than 63 bytes"),
            ),
            (
                "-a.b",
                r#"node name "-a.b" has a label that begins or ends with a hyphen"#.to_owned(),
            ),
            (
                "a-.b",
                r#"node name "a-.b" has a label that begins or ends with a hyphen"#.to_owned(),
            ),
            (
                &too_long,
                format!("node name {shown:?} is longer than 253 bytes"),
            ),
        ];
        for (given, expected) in table {
            assert_eq!(
                told(NodeName::parse(given), NodeName::to_string),
                expected,
                "{given:?}"
            );
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
