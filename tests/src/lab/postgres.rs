//! How do the X2Go servers of a lab share one session database, as a farm of x2gobroker 0.0.4.3
//! has it? By x2goserver's own means, in a real PostgreSQL.

use std::time::Duration;

use anyhow::Context as _;

use super::accounts::ACCOUNTS;
use super::{DATABASE_HOST, HostName, Lab, ListedSession, x2goserver};

impl Lab {
    /// Makes a host use the one session database, in a lab that has one. The X2Go servers do so
    /// already.
    ///
    /// # Errors
    /// When there is none, or the host can't be set up.
    pub fn share_database(&self, host: HostName) -> anyhow::Result<()> {
        let database = DATABASE_HOST.to_string();
        let script = ["sh", "-ec", SHARE, "share", &database, Self::SHARED];
        self.exec(host, "root", &[&script[..], &ACCOUNTS].concat())
            .map(drop)
    }

    /// The sessions of `user` on one server, as the one database has them.
    pub(super) fn shared_sessions(
        &self,
        server: HostName,
        user: &str,
    ) -> anyhow::Result<Vec<ListedSession>> {
        let query = x2goserver::SESSIONS_OF_USER.replace("USER", &user.replace('\'', "''"));
        let query = format!("{query} AND server = '{server}'");
        let ask = ["psql", "-U", "postgres", "-d", "x2go_sessions"];
        let ask = [&ask[..], &["-Atc", &query]].concat();
        let rows = self.exec(DATABASE_HOST, "root", &ask)?;
        let rows = rows.lines();
        Ok(rows
            .filter_map(|row| x2goserver::stored(server, row))
            .collect())
    }

    /// Whether the X2Go servers share one session database.
    pub(super) fn has_one_database(&self) -> bool {
        self.hosts.contains_key(&DATABASE_HOST)
    }
}

/// Starts PostgreSQL on its host, and has one of the servers make the session database there.
/// The people of the lab may use it; the farm users may not, since each costs half a second.
pub(super) fn set_up(lab: &mut Lab, first: HostName) -> anyhow::Result<()> {
    let found = ["sh", "-c", "ls -d /usr/lib/postgresql/*/bin | tail -n 1"];
    let found = lab.exec(DATABASE_HOST, "root", &found)?;
    let programs = found.trim();
    lab.exec(
        DATABASE_HOST,
        "root",
        &["sh", "-ec", INIT, "init", programs],
    )?;
    let server = format!("{programs}/postgres");
    let as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres"];
    let run = ["--init-groups", &server, "-D", DATA];
    // Nothing here outlives a crash, so nothing waits for a disk.
    let options = ["-c", "listen_addresses=*", "-c", "fsync=off"];
    let argv = [&as_postgres[..], &run, &options].concat();
    let mut postgres = lab.start(DATABASE_HOST, "root", "postgres", &argv)?;
    postgres.wait_for_log(READY_LIMIT, &["ready to accept connections"])?;
    lab.keep(DATABASE_HOST, postgres)?;
    let database = DATABASE_HOST.to_string();
    let create = ["sh", "-ec", CREATE, "create", &database, Lab::SHARED];
    lab.exec(first, "root", &[&create[..], &ACCOUNTS].concat())
        .context("making the session database")?;
    for server in lab.servers() {
        lab.share_database(server)?;
    }
    Ok(())
}

const DATA: &str = "/var/lib/postgresql/lab";

const INIT: &str = r#"
    install -d -o postgres -g postgres /run/postgresql
    install -m 644 /dev/null /tmp/password
    echo of-pgadmin >/tmp/password
    cd /
    setpriv --reuid=postgres --regid=postgres --init-groups "$1/initdb" --no-sync \
        --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 \
        --pwfile=/tmp/password -D /var/lib/postgresql/lab
    rm /tmp/password
    echo 'host all all 10.77.0.0/24 scram-sha-256' >>/var/lib/postgresql/lab/pg_hba.conf
"#;

/// As an administrator does it on the first server: x2godbadmin(8) makes the database, an account
/// in it for x2goserver and one for each user, and writes their passwords into files.
const CREATE: &str = r#"
    database=$1 shared=$2
    shift 2
    cd /etc/x2go/x2gosql
    sed -i "s/^backend=.*/backend=postgres/; s/^host=localhost/host=$database/" sql
    echo of-pgadmin >passwords/pgadmin
    x2godbadmin --createdb
    install -d -m 700 "$shared/passwords"
    cp passwords/x2gopgadmin "$shared/passwords"
    for user; do
        x2godbadmin --adduser "$user"
        cp "/home/$user/.x2go/pgsqlpass" "$shared/passwords/$user"
    done
"#;

/// And on all others: the same passwords.
const SHARE: &str = r#"
    database=$1 shared=$2
    shift 2
    cd /etc/x2go/x2gosql
    sed -i "s/^backend=.*/backend=postgres/; s/^host=localhost/host=$database/" sql
    install -m 600 "$shared/passwords/x2gopgadmin" passwords/x2gopgadmin
    for user; do
        install -d -m 700 -o "$user" -g "$user" "/home/$user/.x2go"
        install -m 600 -o "$user" -g "$user" "$shared/passwords/$user" \
            "/home/$user/.x2go/pgsqlpass"
    done
"#;

/// It reads its files and binds; slow only on a machine that is busy.
const READY_LIMIT: Duration = Duration::from_secs(20);
