//! How is x2gobroker-ssh used?

/// Shown with errors.
pub(super) const SHORT: &str = "\
usage: x2gobroker-ssh [-h] [--task TASK] [--user USER] [--login LOGIN]
                      [--authid AUTHID] [--sid PROFILE] [--backend BACKEND]
                      [--newpass PASSWORD] [--event EVENT] [--server SERVER]
                      [--client CLIENT] [--cmd COMMAND] [--display DISPLAY]
                      [--start TIME] [--elapsed SECONDS] [--socket FILE]
";

/// Shown when it is asked for.
pub(super) const LONG: &str = "\
usage: x2gobroker-ssh [options]

Asks the X2Go session broker of this host, for a client that has logged in by SSH.
Clients run it; their URL of the broker is ssh://USER@HOST:PORT/usr/bin/x2gobroker-ssh.

Who asks is the user who runs it; there is no other password. Members of the group
x2gobroker-users may. Only the account of the daemon may ask for somebody else.

options:
  --task TASK           listsessions, selectsession, setpass, testcon or clientevent
  --user USER           the user of the broker
  --login LOGIN         the account on the X2Go servers
  --authid AUTHID       what the last answer gave; also --auth-cookie, --next-authid
  --sid PROFILE         the session profile, or the session; also --profile-id
  --backend BACKEND     a backend other than the default one
  --newpass PASSWORD    of setpass; - reads it from standard input, since others on this
                        host can see the options of a program
  --event EVENT         what happened to a session; beside it, of clientevent:
  --server, --client, --cmd, --display, --start, --elapsed
  --socket FILE         where the daemon is asked [default: /run/x2gobroker-ssh/socket]
  -C FILE, -d, -i, -b, -D, -P, -L
                        of a daemon; taken, and without effect
  -M SSH                taken; there is no other mode
  -h, --help            this text
  --version             the version

environment:
  SSH_CLIENT, SSH_CONNECTION
                        the address of the client, as sshd sets it
  SSH_ORIGINAL_COMMAND  what the client wanted to run, when sshd runs x2gobroker-ssh instead
                        (command=\"/usr/bin/x2gobroker-ssh\" in authorized_keys, or
                        ForceCommand). No shell reads it, and only a call of x2gobroker-ssh
                        is understood. Options that you set yourself win.

exit codes:
  0    answered; also when access is denied or the backend is switched off, with
       nothing on standard output
  1    there is no such backend, or the daemon is of another version
  2    wrong options
  69   no daemon
  75   the daemon can't answer now
  126  not a member of the group
  254  no task
";
