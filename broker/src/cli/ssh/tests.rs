//! Command lines, alone and behind sshd.

use super::{Command, CommandError, Done, Sshd, perform};

fn read(args: &str, original: Option<&str>) -> Result<Command, CommandError> {
    let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
    Command::read(&args, original)
}

fn done(args: &str, original: Option<&str>) -> Done {
    perform(read(args, original).unwrap(), &Sshd::default())
}

#[test]
fn without_a_task_there_is_the_usage_and_254() {
    // golden/ssh-broker/notask.txt
    let done = done("", None);
    assert_eq!(done.code, 254);
    assert!(done.answer.starts_with("\nusage: x2gobroker"));
    assert!(
        done.answer
            .ends_with("\nNo task specified, doing nothing...\n\n")
    );
}

#[test]
fn an_event_without_a_task_is_taken_in_silence() {
    // golden/ssh-broker/event-only.txt
    assert_eq!(done("--user alice --event CONNECTED", None), Done::with(0));
}

#[test]
fn the_client_is_greeted_and_helped() {
    let greeted = done("", Some("echo \"LOGIN OK\""));
    assert_eq!(greeted, Done::answered("LOGIN OK\n".to_owned()));
    assert!(done("--help", None).answer.contains("exit codes:"));
    assert!(
        done("--version", None)
            .answer
            .starts_with("x2gobroker-ssh ")
    );
}

#[test]
fn a_call_of_its_own_goes_before_the_command_that_sshd_did_not_run() {
    let original = Some("/usr/bin/x2gobroker-ssh --task testcon --backend zeroconf");
    let task = |args| match read(args, original) {
        Ok(Command::Ask { options, .. }) => {
            let request = options.request("");
            format!("{} {}", request.task, request.backend)
        }
        other => format!("{other:?}"),
    };
    assert_eq!(task(""), "testcon zeroconf");
    assert_eq!(task("--backend inifile"), "testcon inifile");
    assert_eq!(task("--task listsessions"), "listsessions ");
    assert_eq!(task("--event CONNECTED"), "Ok(Nothing)");
}

#[test]
fn another_command_is_refused() {
    for original in ["id", "bash", "scp -t x", "x2gobroker-ssh; id", ""] {
        let refused = read("", Some(original)).unwrap_err();
        assert!(matches!(refused, CommandError::Original(_)), "{original}");
    }
    let socket = "x2gobroker-ssh --task testcon --socket /tmp/mine";
    let refused = read("", Some(socket)).unwrap_err();
    assert!(matches!(refused, CommandError::Options(_)));
}

#[test]
fn the_answer_stands_between_the_lines_of_the_client_even_if_there_is_none() {
    let uuid = "832d4325-b16c-4d38-a7e4-b1ef5aea707b";
    let original = format!(
        "bash -l -c 'echo \"X2GODATABEGIN:{uuid}\"; export PATH=\"/bin\"; \
         /usr/bin/x2gobroker-ssh --task testcon; echo \"X2GODATAEND:{uuid}\";'"
    );
    let folder = tempfile::tempdir().unwrap();
    let args = format!("--socket {}", folder.path().join("none").display());
    let done = done(&args, Some(&original));
    assert_eq!(done.code, 69);
    assert!(done.said.contains("does not run"), "{}", done.said);
    let lines = format!("X2GODATABEGIN:{uuid}\nX2GODATAEND:{uuid}\n");
    assert_eq!(done.answer, lines);
}

#[test]
fn the_address_is_the_first_word_of_what_sshd_says() {
    let sshd = |client: &str| Sshd {
        original_command: None,
        client: Some(client.to_owned()),
    };
    assert_eq!(sshd("10.77.0.20 40000 22").client(), "10.77.0.20");
    assert_eq!(
        sshd("fe80::1%eth0 1 fe80::2%eth0 22").client(),
        "fe80::1%eth0"
    );
    assert_eq!(Sshd::default().client(), "");
}
