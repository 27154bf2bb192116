use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::*;

/// What dbus-daemon 1.14 answered to Hello, and to a call of a systemd that it couldn't start.
const ANSWERS: &[u8] = include_bytes!("../recorded/answers.bin");

const NOBODY: Object<'_> =
    Object { destination: "org.freedesktop.systemd1", path: "/a", interface: "org.a" };

/// Somebody at a socket who says these bytes after a greeting, and ends.
struct Peer {
    path: PathBuf,
    heard: JoinHandle<Vec<u8>>,
}

impl Peer {
    fn new(name: &str, greeting: &'static str, says: Vec<u8>) -> Peer {
        let path = std::env::temp_dir().join(format!("minirun-bus-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            stream.write_all(&says).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard
        });
        Peer { path, heard }
    }

    fn bus(&self) -> Address {
        Address::Bus(format!("tcp:host=x;unix:path={},guid=0", self.path.display()))
    }

    fn private(&self) -> Address {
        Address::Private(self.path.display().to_string())
    }

    fn heard(self) -> Vec<u8> {
        std::fs::remove_file(&self.path).unwrap();
        self.heard.join().unwrap()
    }
}

const GREETING: &str = "DATA\r\nOK 0123456789abcdef\r\n";

#[test]
#[cfg(target_endian = "little")]
fn a_bus_is_greeted_and_its_refusal_understood() {
    let peer = Peer::new("recorded", GREETING, ANSWERS.to_vec());
    let mut connection = Connection::open(&[peer.bus()]).unwrap();
    match connection.call(NOBODY, "GetUnit", vec![Value::text("x")]) {
        Err(Failure::Refused(name, words)) => {
            assert_eq!(name, "org.freedesktop.DBus.Error.Spawn.ChildExited");
            assert!(words.ends_with("exited with status 1"), "{words}");
        }
        other => panic!("{other:?}"),
    }
    drop(connection);
    let heard = peer.heard();
    assert!(heard.starts_with(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\nl\x01"));
}

#[test]
fn a_signal_that_came_before_the_answer_is_not_lost() {
    let signal = |result: &str| Message {
        member: "JobRemoved".to_owned(),
        body: vec![Value::text(result)],
        ..Message::new(Kind::Signal)
    };
    let answer = Message { reply_to: 1, ..Message::new(Kind::Return) };
    let says = [signal("other"), signal("done"), answer].map(|message| message.encode()).concat();
    let peer = Peer::new("signal", GREETING, says);
    let mut connection = Connection::open(&[peer.private()]).unwrap();
    assert_eq!(connection.call(NOBODY, "Do", Vec::new()), Ok(Vec::new()));
    let wanted = |body: &[Value]| (body == [Value::text("done")]).then_some(7);
    assert_eq!(connection.await_signal("JobRemoved", wanted), Ok(7));
    let end = connection.await_signal("JobRemoved", wanted);
    assert_eq!(end, Err(Failure::Broken("the connection was closed".to_owned())));
    drop(connection);
    peer.heard();
}

#[test]
fn who_refuses_the_greeting_is_named_and_the_next_address_tried() {
    let peer = Peer::new("refuses", "REJECTED KERBEROS\r\n", Vec::new());
    let nobody = Address::Private("/nowhere/private".to_owned());
    let failure = Connection::open(&[peer.bus(), nobody]).unwrap_err();
    assert_eq!(
        failure,
        Failure::Broken("/nowhere/private: ENOENT (no such file or directory)".to_owned())
    );
    peer.heard();
    let peer = Peer::new("refuses", "REJECTED KERBEROS\r\n", Vec::new());
    match Connection::open(&[peer.private()]) {
        Err(Failure::Broken(words)) => assert!(words.contains("REJECTED"), "{words}"),
        other => panic!("{other:?}"),
    }
    peer.heard();
}

#[test]
fn addresses_are_unescaped() {
    assert_eq!(unescape("/run/a%20b%2"), b"/run/a b%2");
    assert_eq!(unescape("100%"), b"100%");
}
