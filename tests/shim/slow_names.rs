//! What of log-ins when the name service takes its time? A module of the name service in the
//! stage answers late.

use proto::v1;
use tokio::task::JoinSet;

use crate::temporary_keys::{Server, key, outcome};

/// Asked first, it knows nobody, and takes a tenth of a second to say so.
const SLOW: &str = r#"
cat >/home/slow.c <<'END'
#include <nss.h>
#include <pwd.h>
#include <unistd.h>
enum nss_status _nss_slow_getpwnam_r(const char *n, struct passwd *p, char *b, size_t l, int *e)
{ usleep(100000); return NSS_STATUS_NOTFOUND; }
END
cc -shared -fPIC -o /usr/lib/libnss_slow.so.2 /home/slow.c
echo 'passwd: slow files' >/home/nsswitch.conf
mount --bind /home/nsswitch.conf /etc/nsswitch.conf
getent passwd alice >/dev/null"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_get_their_keys_though_each_look_up_takes_a_while() {
    let settings = "keys = 'command'\nkeys_socket = 'FOLDER/run/keys.sock'";
    let Some(server) = Server::up(settings) else {
        return;
    };
    server.stage.root(SLOW);
    let mut asking = JoinSet::new();
    for number in 0..20u8 {
        let mut client = server.client();
        asking.spawn(async move {
            let user = ["alice", "bob"][usize::from(number % 2)];
            outcome(&mut client, user, key(number, 20)).await
        });
    }
    let outcomes = asking.join_all().await;
    let n_installed = outcomes
        .iter()
        .filter(|outcome| **outcome == v1::KeyOutcome::Installed)
        .count();
    assert_eq!(n_installed, 20, "{outcomes:?}");
}
