-- The session database of x2goserver 4.1.0.3 on SQLite, as `x2godbadmin --createdb` makes it
-- (dumped with sqlite3 .schema). The file is /var/lib/x2go/x2go_sessions, 0660 root:x2gouser.
CREATE TABLE sessions(
    session_id varchar(500) primary key,
    display integer not null,
    uname varchar(100) not null,
    server varchar(100) not null,
    client inet,
    status char(1) not null default 'R',
    init_time timestamp not null default CURRENT_TIMESTAMP,
    last_time timestamp not null default CURRENT_TIMESTAMP,
    cookie char(33),
    agent_pid int,
    gr_port int,
    sound_port int,
    fs_port int,
    tekictrl_port int,
    tekidata_port int,
    unique(display));
CREATE TABLE messages(mess_id varchar(20) primary key, message text);
CREATE TABLE user_messages(
    mess_id varchar(20) not null,
    uname varchar(100) not null);
CREATE TABLE used_ports(
    server varchar(100) not null,
    session_id varchar(500) references sessions on delete cascade,
    port integer primary key);
CREATE TABLE mounts(
    session_id varchar(500) references sessions on delete restrict,
    path varchar(512) not null,
    client inet not null,
    primary key(path,client));
CREATE TRIGGER fkd_mounts_session_id
    BEFORE DELETE ON sessions
    FOR EACH ROW BEGIN
    SELECT CASE
    WHEN ((SELECT session_id FROM mounts WHERE session_id = OLD.session_id) IS NOT NULL)
    THEN RAISE(ABORT, 'delete on table "sessions" violates foreign key on table "mounts"')
    END;
    END;
CREATE TRIGGER fkd_ports_session_id
    BEFORE DELETE ON sessions
    FOR EACH ROW
    BEGIN
    DELETE FROM used_ports WHERE session_id = OLD.session_id;
    END;
