//! What is answered to the prompts of PAM's modules?
//!
//! A broker's client sends one text as password, and with `setpass` a new one. Nobody can
//! be asked anything else in between, so each prompt is answered from those, or refused.

use std::cell::Cell;

use proto::PamQuestion;
use zeroize::Zeroizing;

/// A prompt of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt<'a> {
    /// For something that is not shown: a password.
    Hidden(&'a str),
    /// For something that is shown: a code, say.
    Visible,
}

/// What a client sent, by what it answers.
#[derive(Clone)]
pub(crate) struct Answers {
    password: Zeroizing<Vec<u8>>,
    /// What stood behind the separator.
    code: Option<Zeroizing<Vec<u8>>>,
    new: Option<Zeroizing<Vec<u8>>>,
    stage: Cell<Stage>,
    n_prompts: Cell<usize>,
}

/// What PAM does with the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It checks who the user is.
    Login { is_first: bool },
    /// It changes the password. The new one may have been given already.
    Change { new_was_given: bool },
}

impl Answers {
    /// The answers of a question. With a separator, what stands behind the last one in the
    /// password is a code of its own.
    pub(crate) fn new(question: &PamQuestion, separator: Option<char>) -> Self {
        let (password, code) = match separator.and_then(|at| split(&question.password, at)) {
            Some((password, code)) => (password.to_vec().into(), Some(code.to_vec().into())),
            None => (question.password.clone(), None),
        };
        Self {
            password,
            code,
            new: question.new_password.clone(),
            stage: Cell::new(Stage::Login { is_first: true }),
            n_prompts: Cell::new(0),
        }
    }

    /// From now on prompts are about another password.
    pub(crate) fn begin_change(&self) {
        self.stage.set(Stage::Change {
            new_was_given: false,
        });
    }

    /// What this prompt is answered with; none when nothing can be.
    pub(crate) fn to(&self, prompt: Prompt<'_>) -> Option<&[u8]> {
        let n_prompts = self.n_prompts.get() + 1;
        self.n_prompts.set(n_prompts);
        if n_prompts > MAX_PROMPTS {
            return None;
        }
        match self.stage.get() {
            Stage::Login { is_first } => self.at_login(prompt, is_first),
            Stage::Change { new_was_given } => self.at_change(prompt, new_was_given),
        }
    }

    /// The password, and then the code. Without a code, modules that ask for the password
    /// each for itself are given it.
    fn at_login(&self, prompt: Prompt<'_>, is_first: bool) -> Option<&[u8]> {
        self.stage.set(Stage::Login { is_first: false });
        match (prompt, &self.code) {
            (Prompt::Hidden(_), _) if is_first => Some(&self.password),
            (Prompt::Hidden(_) | Prompt::Visible, Some(code)) if !is_first => Some(code),
            (Prompt::Hidden(_), _) => Some(&self.password),
            (Prompt::Visible, _) => None,
        }
    }

    /// Modules ask for the old password and then, more than once, for the new one; which
    /// is meant, only the text tells. The child has no locale, so that it is English.
    fn at_change(&self, prompt: Prompt<'_>, new_was_given: bool) -> Option<&[u8]> {
        let Prompt::Hidden(text) = prompt else {
            return None;
        };
        let text = text.to_ascii_lowercase();
        let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let is_new = holds(NEW) || (new_was_given && !holds(OLD));
        if !is_new {
            return Some(&self.password);
        }
        self.stage.set(Stage::Change {
            new_was_given: true,
        });
        self.new.as_deref().map(Vec::as_slice)
    }
}

/// What stands before and behind the last separator, when something does.
fn split(password: &[u8], separator: char) -> Option<(&[u8], &[u8])> {
    let mut utf8 = [0; 4];
    let separator = separator.encode_utf8(&mut utf8).as_bytes();
    let at = password
        .windows(separator.len())
        .rposition(|window| window == separator)?;
    let (before, behind) = password.split_at_checked(at)?;
    let behind = behind.get(separator.len()..)?;
    (!before.is_empty() && !behind.is_empty()).then_some((before, behind))
}

/// What prompts for a new password say: those of Linux-PAM, sssd, winbind and Kerberos.
const NEW: &[&str] = &["new", "retype", "re-type", "again", "confirm", "repeat"];

/// What prompts for the old one say.
const OLD: &[&str] = &["current", "old", "login"];

/// Some modules ask again and again when an answer does not please them.
const MAX_PROMPTS: usize = 16;

#[cfg(test)]
mod tests {
    use proto::PamQuestion;
    use zeroize::Zeroizing;

    use super::{Answers, MAX_PROMPTS, Prompt};

    fn answers(password: &str, separator: Option<char>) -> Answers {
        let question = PamQuestion {
            user: "alice".to_owned(),
            password: Zeroizing::new(password.as_bytes().to_vec()),
            client: String::new(),
            new_password: Some(Zeroizing::new(b"next".to_vec())),
        };
        Answers::new(&question, separator)
    }

    fn said(answers: &Answers, prompt: Prompt<'_>) -> Option<String> {
        let said = answers.to(prompt);
        said.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn one_text_answers_hidden_prompts_and_a_code_only_where_it_is_configured() {
        let hidden = Prompt::Hidden("Password: ");
        let table = [
            ("secret", None, [Some("secret"), Some("secret"), None]),
            ("a,123", None, [Some("a,123"), Some("a,123"), None]),
            ("a,123", Some(','), [Some("a"), Some("123"), Some("123")]),
            (
                "a,b,123",
                Some(','),
                [Some("a,b"), Some("123"), Some("123")],
            ),
            ("secret", Some(','), [Some("secret"), Some("secret"), None]),
            (",123", Some(','), [Some(",123"), Some(",123"), None]),
            ("a,", Some(','), [Some("a,"), Some("a,"), None]),
            ("a§1", Some('§'), [Some("a"), Some("1"), Some("1")]),
        ];
        for (password, separator, expected) in table {
            let answers = answers(password, separator);
            let found = [hidden, hidden, Prompt::Visible].map(|prompt| said(&answers, prompt));
            assert_eq!(
                found,
                expected.map(|text| text.map(str::to_owned)),
                "{password}"
            );
        }
        // A first question that is shown is none for a password.
        assert_eq!(said(&answers("a,1", Some(',')), Prompt::Visible), None);
    }

    /// The prompts of pam_unix(8), pam_sss(8), pam_winbind(8), pam_krb5(5) and pam_ldap(5).
    #[test]
    fn modules_that_change_a_password_are_told_the_old_and_the_new_one() {
        let modules: [&[(&str, &str)]; 5] = [
            &[
                ("Current password: ", "old"),
                ("New password: ", "next"),
                ("Retype new password: ", "next"),
            ],
            &[
                ("Current Password: ", "old"),
                ("New Password: ", "next"),
                ("Reenter new Password: ", "next"),
            ],
            &[
                ("(current) NT password: ", "old"),
                ("Enter new NT password: ", "next"),
                ("Retype new NT password: ", "next"),
            ],
            &[
                ("Current Kerberos password: ", "old"),
                ("Enter new Kerberos password: ", "next"),
                ("Retype new Kerberos password: ", "next"),
            ],
            &[
                ("Enter login(LDAP) password: ", "old"),
                ("New password: ", "next"),
                ("Re-enter: ", "next"),
            ],
        ];
        for prompts in modules {
            let answers = answers("old", None);
            answers.begin_change();
            for (prompt, expected) in prompts {
                let found = said(&answers, Prompt::Hidden(prompt));
                assert_eq!(found.as_deref(), Some(*expected), "{prompt}");
            }
            assert_eq!(said(&answers, Prompt::Visible), None);
        }
    }

    #[test]
    fn a_module_that_asks_for_ever_is_not_answered_for_ever() {
        let answers = answers("secret", None);
        for _ in 0..MAX_PROMPTS {
            assert!(answers.to(Prompt::Hidden("?")).is_some());
        }
        assert!(answers.to(Prompt::Hidden("?")).is_none());
    }
}
