//! Is a key file edited as it should be, and nothing else?

use crate::stage::{FILE, KEY, PROGRAM, ROOT, Stage};

/// No line has come or gone. The original knows only 0 and 255; whoever calls over SSH, a
/// broker of 0.0.4.3 too, looks for `OK`, which is not there with any of them.
const UNTOUCHED: i32 = 73;
/// The line may be there or not.
const UNSURE: i32 = 74;
const KEYS: &str = "/home/alice/.x2go/authorized_keys";

fn add(stage: &Stage, file: &str) -> crate::stage::Outcome {
    stage.ask(&["alice", "addauthkey", KEY, file])
}

fn remove(stage: &Stage, file: &str) -> crate::stage::Outcome {
    stage.ask(&["alice", "delauthkey", KEY, file])
}

#[test]
fn a_key_comes_once_and_goes() {
    let Some(stage) = Stage::up() else { return };
    for _ in 0..2 {
        assert!(add(&stage, FILE).is_ok());
        assert_eq!(stage.root(&format!("cat {KEYS}")), format!("{KEY}\n"));
    }
    for _ in 0..2 {
        assert!(remove(&stage, FILE).is_ok());
        // As in the original, an empty file stays.
        assert_eq!(stage.root("ls -A /home/alice/.x2go"), "authorized_keys\n");
        assert_eq!(stage.root(&format!("cat {KEYS}")), "");
    }
}

#[test]
fn removing_from_a_file_that_is_not_there_makes_none() {
    let Some(stage) = Stage::up() else { return };
    assert!(remove(&stage, FILE).is_ok());
    assert_eq!(stage.root("ls -A /home/alice"), "");
}

#[test]
fn a_key_in_a_home_that_is_away_is_not_gone() {
    let Some(stage) = Stage::up() else { return };
    assert!(add(&stage, FILE).is_ok());
    // Not mounted yet: there is nothing, or what it is mounted on.
    stage.root("mv /home/alice /home/away");
    let found = remove(&stage, FILE);
    assert!(
        found.is_refusal(UNTOUCHED, "looking for the home"),
        "{found:?}"
    );
    stage.root("mkdir /home/alice");
    let found = remove(&stage, FILE);
    assert!(
        found.is_refusal(UNTOUCHED, "belongs to somebody else"),
        "{found:?}"
    );
    stage.root("rmdir /home/alice; mv /home/away /home/alice");
    assert!(remove(&stage, FILE).is_ok());
    assert_eq!(stage.root(&format!("cat {KEYS}")), "");
    // Elsewhere, the folder is what an administrator has made.
    let file = "/home/lib/%u/keys";
    let found = remove(&stage, file);
    assert!(
        found.is_refusal(UNTOUCHED, "looking for the folder"),
        "{found:?}"
    );
    stage.root("install -d /home/lib/alice");
    assert!(remove(&stage, file).is_ok());
}

#[test]
fn a_file_of_a_group_that_is_no_longer_the_user_s_is_open_to_no_other_group() {
    let Some(stage) = Stage::up() else { return };
    // 990 is no group of alice.
    stage.root(&format!(
        "install -d -o 2001 -g 2001 /home/alice/.x2go
         install -o 2001 -g 990 -m 664 /dev/null {KEYS}"
    ));
    assert!(add(&stage, FILE).is_ok());
    assert_eq!(
        stage.root(&format!("stat -c '%a %u %g' {KEYS}")),
        "604 2001 2001\n"
    );
}

#[test]
fn a_key_and_its_file_s_name_are_on_the_disk_with_the_answer() {
    let Some(stage) = Stage::up() else { return };
    let disk = stage.folder().join("disk").display().to_string();
    let made = stage.script(
        ROOT,
        &format!(
            "truncate -s 16M {disk}; mkfs.ext4 -q -m 0 {disk} && mount -o loop,commit=300 {disk} /home/alice"
        ),
    );
    if made.code != Some(0) {
        println!("skipped: no ext4 on a loop device here: {made:?}");
        return;
    }
    stage.root(&format!(
        "chown 2001:2001 /home/alice; install -d -o 2001 -g 2001 /home/alice/.x2go
         echo mine >{KEYS}; chown 2001:2001 {KEYS}; sync"
    ));
    assert!(add(&stage, FILE).is_ok());
    // What a loss of power would leave.
    let left = stage.root(&format!(
        "cp {disk} {disk}2; mkdir /home/left; mount -o loop {disk}2 /home/left
         cat /home/left/.x2go/authorized_keys; umount /home/left /home/alice"
    ));
    assert_eq!(left, format!("mine\n{KEY}\n"));
}

#[test]
fn only_the_exact_line_goes_even_if_it_would_be_a_pattern() {
    let Some(stage) = Stage::up() else { return };
    let mine = "# mine\nssh-rsa AAAA mine\nno-pty ssh-rsa AAAA m..e\nno newline at the end";
    stage.root(&format!(
        "install -d -o 2001 -g 2001 /home/alice/.x2go
         printf '%s' '{mine}' >{KEYS}; chown 2001:2001 {KEYS}; chmod 644 {KEYS}"
    ));
    let pattern = "ssh-rsa AAAA m..e";
    let found = stage.ask(&["alice", "delauthkey", pattern, FILE]);
    assert!(found.is_ok(), "{found:?}");
    assert_eq!(stage.root(&format!("cat {KEYS}")), mine);
    assert!(stage.ask(&["alice", "addauthkey", pattern, FILE]).is_ok());
    assert_eq!(
        stage.root(&format!("cat {KEYS}")),
        format!("{mine}\n{pattern}\n")
    );
    assert!(stage.ask(&["alice", "delauthkey", pattern, FILE]).is_ok());
    assert_eq!(stage.root(&format!("cat {KEYS}")), format!("{mine}\n"));
    assert_eq!(stage.root(&format!("stat -c '%a %u' {KEYS}")), "644 2001\n");
}

#[test]
fn an_odd_place_works() {
    let Some(stage) = Stage::up() else { return };
    // Made by the administrator for the user.
    stage.root("install -d /home/lib; install -d -m 700 -o 2001 /home/lib/alice");
    let found = add(&stage, "/home/lib/%u/authorized_keys");
    assert!(found.is_ok(), "{found:?}");
    let found = add(&stage, "/home/lib/%u/%U.%G.100%%");
    assert!(found.is_ok(), "{found:?}");
    assert_eq!(
        stage.root("ls /home/lib/alice"),
        "2001.2001.100%\nauthorized_keys\n"
    );
}

#[test]
fn keys_that_are_kept_in_the_folder_of_the_broker_work() {
    let Some(stage) = Stage::up() else { return };
    // x2gobroker.conf names this place as an example for default-authorized-keys.
    let file = "/var/lib/x2gobroker/ssh/%u/authorized_keys";
    stage.root(
        "mount -t tmpfs -o mode=755 lib /var/lib
         install -d -o 990 -g 990 -m 755 /var/lib/x2gobroker{,/ssh}
         install -d -o 2001 -g 2001 -m 700 /var/lib/x2gobroker/ssh/alice",
    );
    let keys = || stage.root("cat /var/lib/x2gobroker/ssh/alice/authorized_keys");
    assert!(add(&stage, file).is_ok());
    assert_eq!(keys(), format!("{KEY}\n"));
    assert!(remove(&stage, file).is_ok());
    assert_eq!(keys(), "");
    // No folder was made for bob, and he can't make one there.
    let found = stage.ask(&["bob", "addauthkey", KEY, file]);
    assert!(
        found.is_refusal(UNTOUCHED, "Permission denied"),
        "{found:?}"
    );
}

#[test]
fn each_placeholder_is_filled_in() {
    let Some(stage) = Stage::up() else { return };
    for (file, expected) in [
        ("%h/h", "/home/alice/h"),
        ("/home/alice/%u", "/home/alice/alice"),
        ("/home/alice/%U", "/home/alice/2001"),
        ("%h/%G.g", "/home/alice/2001.g"),
        ("%h/%%u", "/home/alice/%u"),
    ] {
        let found = add(&stage, file);
        assert!(found.is_ok(), "{file}: {found:?}");
        assert_eq!(stage.root(&format!("cat '{expected}'")), format!("{KEY}\n"));
    }
}

#[test]
fn a_file_of_the_user_in_a_folder_of_root_is_edited_in_its_place() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "install -d /home/lib/alice; echo other >/home/lib/alice/keys
         chown 2001 /home/lib/alice/keys; stat -c %i /home/lib/alice/keys >/home/inode",
    );
    assert!(add(&stage, "/home/lib/%u/keys").is_ok());
    assert_eq!(
        stage.root("cat /home/lib/alice/keys"),
        format!("other\n{KEY}\n")
    );
    assert!(remove(&stage, "/home/lib/%u/keys").is_ok());
    assert_eq!(stage.root("cat /home/lib/alice/keys"), "other\n");
    stage.root("stat -c %i /home/lib/alice/keys | cmp - /home/inode");
}

#[test]
fn a_home_that_root_can_t_read_is_as_good_as_any() {
    let Some(stage) = Stage::up() else { return };
    // What a server with root_squash does: root has no more rights there than anybody.
    let squashed = "--bounding-set -dac_override,-dac_read_search,-fowner,-chown";
    let plain = stage.script(ROOT, &format!("setpriv {squashed} ls /home/alice"));
    assert!(plain.complaint.contains("Permission denied"), "{plain:?}");
    let found = stage.root(&format!(
        "setpriv --reuid 990 --regid 990 --clear-groups {squashed} \
         {PROGRAM} alice addauthkey '{KEY}' {FILE}"
    ));
    assert_eq!(found, "OK\n");
    assert_eq!(stage.root(&format!("cat {KEYS}")), format!("{KEY}\n"));
}

#[test]
fn a_home_that_the_kernel_shows_to_its_user_alone_is_as_good_as_any() {
    let Some(stage) = Stage::up() else { return };
    // FUSE, as sshfs(1) and others: all but the user who mounted it are kept out, and root
    // with all its rights is, too.
    stage.root(
        "mknod /home/fuse c 10 229 && chmod 666 /home/fuse && mount --bind /home/fuse /dev/fuse
         install -d -o 2001 -g 2001 -m 700 /home/real
         setpriv --reuid 2001 --regid 2001 --clear-groups \
             bindfs --no-allow-other /home/real /home/alice",
    );
    let plain = stage.script(ROOT, "ls /home/alice");
    assert!(plain.complaint.contains("Permission denied"), "{plain:?}");
    assert!(add(&stage, FILE).is_ok());
    let real = "/home/real/.x2go/authorized_keys";
    assert_eq!(stage.root(&format!("cat {real}")), format!("{KEY}\n"));
    assert!(remove(&stage, FILE).is_ok());
    assert_eq!(stage.root(&format!("cat {real}")), "");
    stage.root("umount /home/alice");
}

#[test]
fn another_home_is_refused() {
    let Some(stage) = Stage::up() else { return };
    let found = add(&stage, "/home/bob/.x2go/authorized_keys");
    assert!(
        found.is_refusal(UNTOUCHED, "Permission denied"),
        "{found:?}"
    );
    assert_eq!(stage.root("ls -A /home/bob"), "");
}

#[test]
fn a_place_that_can_t_be_made_is_refused() {
    let Some(stage) = Stage::up() else { return };
    let found = add(&stage, "/etc/nope/keys");
    assert!(
        found.is_refusal(UNTOUCHED, "Permission denied"),
        "{found:?}"
    );
}

#[test]
fn a_symlinked_folder_is_refused() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "install -d -o 2001 /home/alice/real
         ln -s real /home/alice/.x2go; chown -h 2001:2001 /home/alice/.x2go",
    );
    for found in [add(&stage, FILE), remove(&stage, FILE)] {
        assert!(found.is_refusal(UNTOUCHED, "symbolic link"), "{found:?}");
    }
    assert_eq!(stage.root("ls -A /home/alice/real"), "");
}

#[test]
fn a_symlinked_key_file_is_refused() {
    let Some(stage) = Stage::up() else { return };
    stage.root(&format!(
        "install -d -o 2001 /home/alice/.x2go; echo mine >/home/alice/mine
         chown 2001 /home/alice/mine; ln -s ../mine {KEYS}; chown -h 2001 {KEYS}"
    ));
    let found = add(&stage, FILE);
    assert!(found.is_refusal(UNTOUCHED, "symbolic link"), "{found:?}");
    assert_eq!(stage.root("cat /home/alice/mine"), "mine\n");
}

#[test]
fn a_link_that_root_has_made_is_followed() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "mkdir /home/disk; mv /home/alice /home/disk; ln -s disk/alice /home/alice
         ln -s /home/disk /home/far; ln -s /home/loop /home/loop",
    );
    assert!(add(&stage, FILE).is_ok());
    assert!(add(&stage, "/home/far/../far/alice/keys").code == Some(255));
    assert!(add(&stage, "/home/far/alice/keys").is_ok());
    assert_eq!(stage.root("ls -A /home/disk/alice"), ".x2go\nkeys\n");
    let found = add(&stage, "/home/loop/keys");
    assert!(found.is_refusal(UNTOUCHED, "Too many levels"), "{found:?}");
}

#[test]
fn what_is_no_file_of_the_user_is_refused() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "cd /home/alice; mkfifo pipe; mkdir folder; chown 2001 pipe folder
         install -m 666 /dev/null foreign; ln /home/alice/foreign /home/alice/linked
         truncate -s 2M large; chown 2001 large",
    );
    for (name, words) in [
        ("pipe", "no ordinary file"),
        ("folder", "Is a directory"),
        ("foreign", "belongs to somebody else"),
        ("linked", "belongs to somebody else"),
        ("large", "larger than 1 MiB"),
    ] {
        let found = add(&stage, &format!("%h/{name}"));
        assert!(found.is_refusal(UNTOUCHED, words), "{name}: {found:?}");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_leaves_nothing() {
    let Some(stage) = Stage::up() else { return };
    stage.root(&format!(
        "mount -t tmpfs -o size=64k,mode=700,uid=2001,gid=2001 small /home/alice
         install -d -o 2001 /home/alice/.x2go; seq 1000 >{KEYS}; chown 2001 {KEYS}
         cp {KEYS} /home/before; head -c 1M /dev/zero >/home/alice/fill 2>/dev/null || true"
    ));
    let found = add(&stage, FILE);
    assert!(found.is_refusal(UNTOUCHED, "No space left"), "{found:?}");
    stage.root(&format!("cmp {KEYS} /home/before"));
    assert_eq!(stage.root("ls -A /home/alice/.x2go"), "authorized_keys\n");
    stage.root("rm /home/alice/fill");
    assert!(add(&stage, FILE).is_ok());
}

#[test]
fn a_full_disk_in_a_folder_of_root_loses_nothing() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "mkdir /home/lib; mount -t tmpfs -o size=64k,mode=755 small /home/lib
         head -c 4096 /dev/zero | tr '\\0' '\\n' >/home/lib/keys; chown 2001 /home/lib/keys
         cp /home/lib/keys /home/before; head -c 1M /dev/zero >/home/lib/fill 2>/dev/null || true",
    );
    let found = add(&stage, "/home/lib/keys");
    assert!(found.is_refusal(UNSURE, "No space left"), "{found:?}");
    stage.root("cmp /home/lib/keys /home/before");
}

#[test]
fn what_a_killed_editor_left_is_cleared_away() {
    let Some(stage) = Stage::up() else { return };
    stage.root(
        "install -d -o 2001 -g 2001 /home/alice/.x2go; cd /home/alice/.x2go
         echo half >.authorized_keys.x2gobroker; chown 2001 .authorized_keys.x2gobroker",
    );
    assert!(add(&stage, FILE).is_ok());
    assert_eq!(stage.root("ls -A /home/alice/.x2go"), "authorized_keys\n");
    assert_eq!(stage.root(&format!("cat {KEYS}")), format!("{KEY}\n"));
}
