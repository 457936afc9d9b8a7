//! Does any command line make x2gobroker-ssh panic, and does a command that sshd did not run
//! mean what its words mean, with no shell anywhere?
#![no_main]

use broker::cli::ssh::{Command, Options};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    /// What the program is started with.
    Words(Vec<String>),
    /// What an SSH client asks for, beside words of the administrator.
    Original(Vec<String>, String),
    /// A call of X2Go Client with these values.
    Call { values: Vec<(u8, String)>, framed: bool },
}

const UUID: &str = "832d4325-b16c-4d38-a7e4-b1ef5aea707b";
const NAMES: [&str; 16] = [
    "--task", "--user", "--login", "--authid", "--sid", "--backend", "--event", "--server",
    "--client", "--cmd", "--display", "--start", "--elapsed", "--newpass", "--profile-id", "-C",
];

fuzz_target!(|input: Input| match input {
    Input::Words(words) => {
        let _ = Command::read(&words, None);
    }
    Input::Original(words, original) => {
        if let Ok(Command::Ask { frame: Some(frame), .. }) = Command::read(&words, Some(&original)) {
            // Nothing of the client's is printed but the lines that it asked for.
            let (begin, end) = (frame.begin(), frame.end());
            assert!(begin.len() == 50 && end.len() == 48, "{begin} {end}");
            assert!(original.contains(&begin) && original.contains(&end));
        }
    }
    Input::Call { values, framed } => call(&values, framed),
});

/// The same words mean the same, whether they come as words or quoted in a line.
fn call(values: &[(u8, String)], framed: bool) {
    let words = values.iter().flat_map(|(name, value)| {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        [name.to_owned(), value.clone()]
    });
    let words: Vec<String> = words.collect();
    let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    let quoted: Vec<String> = words.iter().map(quote).collect();
    let mut line = format!("/usr/bin/x2gobroker-ssh {}", quoted.join(" "));
    if framed {
        let script = format!(
            "echo \"X2GODATABEGIN:{UUID}\"; export PATH=\"/bin\";export TERM=\"dumb\"; {line}; \
             echo \"X2GODATAEND:{UUID}\";"
        );
        line = format!("bash -l -c {}", quote(&script));
    }
    // What has no line breaks and is not too long comes through.
    let Ok(read) = Command::read(&[], Some(&line)) else { return };
    let direct = Command::read(&words, None);
    assert_eq!(options(&read), options(&direct.expect("the same words")));
}

fn options(command: &Command) -> Option<&Options> {
    match command {
        Command::Ask { options, .. } => Some(options),
        _ => None,
    }
}
