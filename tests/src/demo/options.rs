//! What can be asked of the demo on its command line?

/// What was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// End after the show.
    pub(super) once: bool,
    /// Only say how to use it.
    pub(super) help: bool,
}

impl Options {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// With a sentence, when there is an argument that is not known.
    pub(super) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--once" => options.once = true,
                "-h" | "--help" => options.help = true,
                other => return Err(format!("The demo does not know the option {other:?}.")),
            }
        }
        Ok(options)
    }
}

/// The answer to `--help`.
pub(super) const HELP: &str = "\
Shows on loopback what x2gobroker does: three X2Go servers with their agents, two replicas
of the broker, twelve logins, and what happens when something is lost.

Usage: cargo xtask demo [--once]

  --once      End after the show: exit code 0 when all that it claims held, else 1.
              Without it the farm stays up to be tried out, until Ctrl-C.
  -h, --help  Print this text.

Environment: NO_COLOR=1 prints without colours; X2GOBROKER_BIN_DIR names the folder of the
programs, where it is not the one of the demo.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn the_command_line_is_read() {
        let check = |arguments: &[&str], once, help| {
            assert_eq!(
                parse(arguments),
                Ok(Options { once, help }),
                "{arguments:?}"
            );
        };
        check(&[], false, false);
        check(&["--once"], true, false);
        check(&["--help"], false, true);
        check(&["-h", "--once"], true, true);
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert!(parse(&["--twice"]).is_err_and(|text| text.contains("--twice")));
    }
}
