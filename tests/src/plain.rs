//! What does a broker's plain-text front end answer, and how does a test ask it?

use crate::http::{HttpClient, HttpError, HttpResponse};

/// An answer of `/plain/`, as x2goclient reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Whether it says "Access granted".
    pub granted: bool,
    /// The AUTHID for the next request.
    pub authid: Option<String>,
    /// The X2Go server of `SERVER:` and its port, 0 when it gives none.
    pub server: Option<(String, u16)>,
    /// The lines of `SESSION_INFO:`.
    pub session_info: Vec<String>,
    /// The session profiles of a list, in their order.
    pub profiles: Vec<PlainProfile>,
    /// The whole body, for error texts.
    pub text: String,
}

/// One session profile of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainProfile {
    /// The section name.
    pub id: String,
    /// The options in their order.
    pub options: Vec<(String, String)>,
}

/// What a client says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The user name.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The AUTHID of an earlier answer, or "".
    pub authid: &'a str,
}

impl<'a> Credentials<'a> {
    /// A user with the password of the lab's accounts, `pw-NAME`, or any other one.
    #[must_use]
    pub fn new(user: &'a str, password: &'a str) -> Self {
        Self {
            user,
            password,
            authid: "",
        }
    }
}

impl PlainAnswer {
    /// Reads an answer. What is not there stays empty; nothing is refused.
    #[must_use]
    pub fn parse(response: &HttpResponse) -> Self {
        let text = response.text();
        let mut answer = Self {
            status: response.status,
            ..Self::default()
        };
        let mut in_list = false;
        // x2goclient(lab): only LF ends a line.
        for line in text.split('\n') {
            match line {
                "Access granted" => answer.granted = true,
                "START_USER_SESSIONS" => in_list = true,
                "END_USER_SESSIONS" => in_list = false,
                _ if in_list => answer.list_line(line),
                _ => answer.head_line(line),
            }
        }
        answer.text = text;
        answer
    }

    /// Returns the profile with this section name.
    #[must_use]
    pub fn profile(&self, id: &str) -> Option<&PlainProfile> {
        self.profiles.iter().find(|profile| profile.id == id)
    }

    /// Returns the field of the first `SESSION_INFO:` line, counted from 1 as in the
    /// listing of x2golistsessions(8).
    #[must_use]
    pub fn session_field(&self, number: usize) -> Option<&str> {
        self.session_info
            .first()?
            .split('|')
            .nth(number.checked_sub(1)?)
    }

    fn head_line(&mut self, line: &str) {
        if let Some(authid) = line.strip_prefix("AUTHID:") {
            self.authid = Some(authid.to_owned());
        } else if let Some(server) = line.strip_prefix("SERVER:") {
            let (name, port) = server.split_once(':').unwrap_or((server, "0"));
            self.server = Some((name.to_owned(), port.parse().unwrap_or(0)));
        } else if let Some(session) = line.strip_prefix("SESSION_INFO:") {
            self.session_info.push(session.to_owned());
        } else if !self.session_info.is_empty() && line.contains('|') {
            self.session_info.push(line.to_owned());
        }
    }

    fn list_line(&mut self, line: &str) {
        if let Some(id) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            self.profiles.push(PlainProfile {
                id: id.to_owned(),
                options: Vec::new(),
            });
        } else if let Some((key, value)) = line.split_once('=')
            && let Some(profile) = self.profiles.last_mut()
        {
            profile.options.push((key.to_owned(), value.to_owned()));
        }
    }
}

impl PlainProfile {
    /// Returns the value of an option.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Asks for the user's session profiles.
///
/// # Errors
/// When there is no complete answer in time.
pub fn list_sessions(
    client: &mut HttpClient,
    who: Credentials<'_>,
) -> Result<PlainAnswer, HttpError> {
    let fields = [
        ("task", "listsessions"),
        ("user", who.user),
        ("password", who.password),
        ("authid", who.authid),
    ];
    Ok(PlainAnswer::parse(&client.post_form("/plain/", &fields)?))
}

/// Picks a session profile: asks on which server the session is to be.
///
/// # Errors
/// When there is no complete answer in time.
pub fn select_session(
    client: &mut HttpClient,
    who: Credentials<'_>,
    profile: &str,
) -> Result<PlainAnswer, HttpError> {
    let fields = [
        ("task", "selectsession"),
        ("sid", profile),
        ("user", who.user),
        ("password", who.password),
        ("authid", who.authid),
        ("login", who.user),
    ];
    Ok(PlainAnswer::parse(&client.post_form("/plain/", &fields)?))
}

/// Asks whether the broker is there.
///
/// # Errors
/// When there is no complete answer in time.
pub fn test_connection(
    client: &mut HttpClient,
    who: Credentials<'_>,
) -> Result<PlainAnswer, HttpError> {
    let fields = [
        ("task", "testcon"),
        ("user", who.user),
        ("password", who.password),
        ("authid", who.authid),
    ];
    Ok(PlainAnswer::parse(&client.post_form("/plain/", &fields)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(status: u16, body: &str) -> PlainAnswer {
        PlainAnswer::parse(&HttpResponse {
            status,
            headers: vec![],
            body: body.into(),
        })
    }

    #[test]
    fn a_list_of_profiles_is_read() {
        let answer = parse(
            200,
            "AUTHID:d81a\nAccess granted\nSTART_USER_SESSIONS\n\n[farm]\nname=Farm\nhost=s1\n\
             command=a=b\nstatus=S\n\n[single]\nname=Single\n\nEND_USER_SESSIONS\n",
        );
        assert!(answer.granted);
        assert_eq!(answer.authid.as_deref(), Some("d81a"));
        assert_eq!(answer.profiles.len(), 2);
        let farm = answer.profile("farm").unwrap();
        assert_eq!(farm.option("command"), Some("a=b"));
        assert_eq!(farm.option("status"), Some("S"));
        assert_eq!(answer.profile("single").unwrap().option("status"), None);
    }

    #[test]
    fn a_selected_session_is_read() {
        let line = "22403|alice-50-1795326687_stRTERMINAL_dp24|50|s1|S|||||||alice|39|";
        let answer = parse(
            200,
            &format!("AUTHID:36b2\nAccess granted\nSERVER:s1:22\nSESSION_INFO:{line}\n"),
        );
        assert_eq!(answer.server, Some(("s1".to_owned(), 22)));
        assert_eq!(answer.session_info, [line]);
        assert_eq!(answer.session_field(4), Some("s1"));
        assert_eq!(answer.session_field(5), Some("S"));
    }

    #[test]
    fn a_refusal_grants_nothing() {
        let answer = parse(401, "Access denied\n");
        assert_eq!(
            (answer.status, answer.granted, answer.server),
            (401, false, None)
        );
    }

    #[test]
    fn crlf_line_ends_are_not_accepted() {
        assert!(!parse(200, "Access granted\r\n").granted);
    }
}
