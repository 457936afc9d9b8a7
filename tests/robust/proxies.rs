//! Do the shipped examples of nginx and Apache lead clients to the broker, with the
//! address that each client has? And who else is believed about that?

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use tests::process::{Process, command};
use tests::wait::{Progress, wait_for};

use crate::raw::{Got, connect_from, post};
use crate::site::Site;
use crate::small_farm::{ANSWER_LIMIT, OTHER_CLIENT, Plan, START_LIMIT, SmallFarm};

const EVERYBODY: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// One profile for everybody, and one for the other client only.
const PROFILES: &str = "\
[farm]
name=Farm
host=s1 (127.0.0.1:22001)

[mine]
name=For one address
host=s1 (127.0.0.1:22001)
acl-clients-allow=127.0.0.2
";
const PLAN: Plan = Plan {
    profiles: Some(PROFILES),
    sections: |site| format!("[http]\nunix-socket = {}\n", socket(site)),
    ..Plan::ONE_SERVER
};

fn socket(site: &Site) -> String {
    site.path("http.socket").display().to_string()
}

#[test]
fn nginx_tells_the_address_of_each_client() {
    let Some(nginx) = program("/usr/sbin/nginx") else {
        return;
    };
    let farm = SmallFarm::up(PLAN);
    let port = free_port();
    let site = example("nginx.conf", &farm.site, port)
        .replace("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"));
    let dir = farm.site.path("");
    let dir = dir.display();
    let text = format!(
        "daemon off;\npid {dir}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi;\nuwsgi_temp_path {dir}/uwsgi;\n\
         scgi_temp_path {dir}/scgi;\n{site}\n}}\n"
    );
    let config = farm.site.write("nginx.conf", &without_tls(&text));
    let mut nginx = command(nginx);
    nginx
        .arg("-c")
        .arg(config)
        .arg("-g")
        .arg(user_of_this_test());
    check(&farm, &mut nginx, port);
}

#[test]
fn apache_tells_the_address_of_each_client() {
    let Some(apache) = program("/usr/sbin/apache2") else {
        return;
    };
    let farm = SmallFarm::up(PLAN);
    let port = free_port();
    let site =
        example("apache.conf", &farm.site, port).replace("<VirtualHost *:443>", "<VirtualHost *>");
    let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"];
    let modules = modules
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let dir = farm.site.path("");
    let dir = dir.display();
    let text = format!(
        "{}ServerRoot {dir}\nPidFile {dir}/apache.pid\nErrorLog {dir}/apache.log\n\
         DefaultRuntimeDir {dir}\nServerName localhost\nListen 127.0.0.1:{port}\n{site}",
        modules.concat()
    );
    let config = farm.site.write("apache.conf", &without_tls(&text));
    let mut apache = command(apache);
    apache.arg("-D").arg("FOREGROUND").arg("-f").arg(config);
    check(&farm, &mut apache, port);
}

/// Starts the proxy, and asks through it from two addresses.
fn check(farm: &SmallFarm, proxy: &mut Command, port: u16) {
    let log = farm.site.path("proxy.log");
    let mut proxy = Process::start("proxy", proxy, &log).unwrap();
    let address = SocketAddr::from((EVERYBODY, port));
    let up = wait_for(START_LIMIT, || {
        Progress::when(TcpStream::connect(address).is_ok(), || {
            "no answer yet".to_owned()
        })
    });
    up.unwrap_or_else(|error| panic!("{error}\n{}", proxy.story()));
    for (from, sees_it) in [(EVERYBODY, false), (OTHER_CLIENT, true)] {
        // A client can't talk itself into another address.
        for header in [
            "",
            "X-Forwarded-For: 127.0.0.2\r\n",
            "Forwarded: for=127.0.0.2\r\n",
        ] {
            let mut stream = connect_from(from, address).unwrap();
            let text = list(&mut stream, header);
            assert!(
                text.contains("\n[farm]\n"),
                "{from}: {text}\n{}",
                farm.story()
            );
            assert_eq!(
                text.contains("\n[mine]\n"),
                sees_it,
                "{from} {header}: {text}"
            );
        }
    }
    proxy.terminate().unwrap();
    proxy.wait_exit(ANSWER_LIMIT).unwrap();
}

#[test]
fn a_unix_socket_has_its_permissions_and_is_gone_afterwards() {
    let mut farm = SmallFarm::up(PLAN);
    let path = farm.site.path("http.socket");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let ask = |header: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream
            .write_all(&post("/plain/", header, LIST.as_bytes()))
            .unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    };
    assert!(ask("X-Forwarded-For: 127.0.0.2\r\n").contains("\n[mine]\n"));
    assert!(!ask("").contains("\n[mine]\n"));
    assert!(ask("X-Forwarded-For: unknown\r\n").starts_with("HTTP/1.1 400 "));
    farm.daemon.terminate().unwrap();
    farm.daemon.wait_exit(ANSWER_LIMIT * 2).unwrap();
    assert!(!path.exists());
}

#[test]
fn nobody_is_believed_about_an_address_but_a_proxy_that_is_named() {
    let farm = SmallFarm::up(PLAN);
    for header in [
        "X-Forwarded-For: 127.0.0.2\r\n",
        "Forwarded: for=127.0.0.2\r\n",
        "X-Real-IP: 127.0.0.2\r\n",
    ] {
        let mut stream = connect_from(EVERYBODY, farm.http).unwrap();
        let text = list(&mut stream, header);
        assert!(!text.contains("\n[mine]\n"), "{header}: {text}");
    }
    let named = SmallFarm::up(Plan {
        sections: |_| "[http]\ntrusted-proxies = 127.0.0.1\n".to_owned(),
        ..PLAN
    });
    let mut stream = connect_from(EVERYBODY, named.http).unwrap();
    let text = list(&mut stream, "X-Forwarded-For: 127.0.0.2\r\n");
    assert!(text.contains("\n[mine]\n"), "{text}");
    let mut stream = connect_from(OTHER_CLIENT, named.http).unwrap();
    let text = list(&mut stream, "X-Forwarded-For: 127.0.0.9\r\n");
    assert!(text.contains("\n[mine]\n"), "{text}");
}

#[test]
fn sockets_of_systemd_are_served() {
    let Some(activate) = program("/usr/bin/systemd-socket-activate") else {
        return;
    };
    let site = Site::new();
    let identity = site.issue("broker", crate::site::BROKER);
    let config = site.write("x2gobroker.conf", &site.replica(&identity));
    site.write(crate::site::PROFILES_FILE, PROFILES);
    let port = free_port();
    let path = site.path("activated.socket");
    let daemon = site.daemon(&config);
    let mut activated = command(activate);
    activated.arg("-l").arg(format!("127.0.0.1:{port}"));
    activated.arg("-l").arg(&path);
    activated.args(["-E", "RUST_LOG=info", "-E", "NO_COLOR=1"]);
    activated.arg(daemon.get_program()).args(daemon.get_args());
    let log = site.path("daemon.log");
    let mut daemon = Process::start("daemon", &mut activated, &log).unwrap();
    let up = wait_for(START_LIMIT, || {
        Progress::when(path.exists(), || "no socket".to_owned())
    });
    up.unwrap();
    // The first connection starts the daemon.
    let mut stream = connect_from(EVERYBODY, (EVERYBODY, port).into()).unwrap();
    let text = list(&mut stream, "");
    assert!(text.contains("\n[farm]\n"), "{text}\n{}", daemon.story());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    assert!(text.contains("It works"), "{text}");
    daemon.terminate().unwrap();
    daemon.wait_exit(ANSWER_LIMIT * 2).unwrap();
}

fn list(stream: &mut TcpStream, header: &str) -> String {
    stream
        .write_all(&post("/plain/", header, LIST.as_bytes()))
        .unwrap();
    Got::from(stream, ANSWER_LIMIT).text()
}

/// An example as it is shipped, with the socket of this test.
fn example(name: &str, site: &Site, port: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let text = fs::read_to_string(path.join(name)).unwrap();
    assert!(text.contains(SHIPPED_SOCKET), "the example has changed");
    println!("{name} on port {port}");
    text.replace(SHIPPED_SOCKET, &socket(site))
}

/// The proxy's own TLS is not what is tried here.
fn without_tls(text: &str) -> String {
    let about_tls = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("ssl_") && !line.starts_with("SSL")
    };
    let lines: Vec<&str> = text.lines().filter(about_tls).collect();
    lines.join("\n").replace(" ssl;", ";") + "\n"
}

/// The worker of nginx must be able to open the socket, as www-data is after the install.
fn user_of_this_test() -> String {
    let id = tests::process::run(command("id").arg("-un")).unwrap();
    let id = id.trim();
    if id == "root" {
        "user root;".to_owned()
    } else {
        String::new()
    }
}

fn program(path: &str) -> Option<&str> {
    let is_there = Path::new(path).exists();
    if !is_there {
        println!("skipped: {path} is not installed");
    }
    is_there.then_some(path)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((EVERYBODY, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

const LIST: &str = "task=listsessions&user=alice&password=pw";
const SHIPPED_SOCKET: &str = "/run/x2gobroker-http/socket";
