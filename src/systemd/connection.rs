//! A connection to a bus, or to systemd itself: one call at a time.
//!
//! Own code rather than a crate: zbus brings an async stack of 200 crates, `dbus` the C
//! library, and rustbus an old nix besides ours; what is needed is a socket, two lines of
//! greeting and five methods.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use super::value::Value;
use super::wire::{FIXED, Kind, Message};

/// How long systemd may take for an answer, or for a job.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest line of a greeting.
const LINE: usize = 512;

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The other side's answer: the name of an error, and words.
    Refused(String, String),
    /// There was no answer.
    Broken(String),
}

impl Failure {
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Failure::Refused(found, _) if found == name)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Broken(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer came".to_owned(),
            io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
            _ => match error.raw_os_error() {
                Some(errno) => crate::error::errno_in_words(nix::errno::Errno::from_raw(errno)),
                None => error.to_string(),
            },
        })
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Failure::Broken(words)
    }
}

/// Whom a call is for: the name on the bus, the object and its interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
}

const BUS: Object<'_> = Object {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A message bus, as the addresses of the D-Bus specification, separated by `;`.
    Bus(String),
    /// The socket at which systemd itself takes calls from root or its user.
    Private(String),
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    is_bus: bool,
    serial: u32,
    /// Signals that came before they were waited for.
    signals: VecDeque<Message>,
}

impl Connection {
    /// Connects to the first address that answers.
    pub(super) fn open(addresses: &[Address]) -> Result<Connection, Failure> {
        let mut failure = Failure::Broken("no address of a bus is known".to_owned());
        for address in addresses {
            match Connection::to(address) {
                Ok(connection) => return Ok(connection),
                Err(failed) => {
                    let (Address::Bus(place) | Address::Private(place)) = address;
                    failure = match failed {
                        Failure::Broken(words) => Failure::Broken(format!("{place}: {words}")),
                        refused => refused,
                    };
                }
            }
        }
        Err(failure)
    }

    fn to(address: &Address) -> Result<Connection, Failure> {
        let stream = match address {
            Address::Bus(addresses) => connect(addresses)?,
            Address::Private(path) => UnixStream::connect(path)?,
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let is_bus = matches!(address, Address::Bus(_));
        let mut connection = Connection { stream, is_bus, serial: 0, signals: VecDeque::new() };
        connection.greet()?;
        if is_bus {
            connection.call(BUS, "Hello", Vec::new())?;
        }
        Ok(connection)
    }

    /// The socket says who this process is; naming a uid could be wrong in a user namespace.
    ///
    /// All of it in one piece, as sd-bus does: systemd's own socket doesn't look again at
    /// what has come together with BEGIN, so a first call behind it could wait for ever.
    fn greet(&mut self) -> Result<(), Failure> {
        self.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK"] {
            let line = self.line()?;
            if !line.starts_with(expected) {
                return Err(Failure::Broken(format!("it answered the greeting with {line:?}")));
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LINE {
                return Err(Failure::Broken("its greeting has no end".to_owned()));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Calls a method and waits for what it returns.
    pub(super) fn call(
        &mut self,
        object: Object<'_>,
        member: &str,
        body: Vec<Value>,
    ) -> Result<Vec<Value>, Failure> {
        self.serial += 1;
        let serial = self.serial;
        let call = Message {
            serial,
            path: object.path.to_owned(),
            interface: object.interface.to_owned(),
            member: member.to_owned(),
            destination: object.destination.to_owned(),
            body,
            ..Message::new(Kind::Call)
        };
        self.stream.write_all(&call.encode())?;
        loop {
            let message = self.receive()?;
            match message.kind {
                Kind::Return if message.reply_to == serial => return Ok(message.body),
                Kind::Error if message.reply_to == serial => {
                    let words = match message.body.first() {
                        Some(Value::Text(_, words)) => words.clone(),
                        _ => String::new(),
                    };
                    return Err(Failure::Refused(message.error, words));
                }
                Kind::Signal => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// Asks the bus for the signals of an interface; systemd's own socket gives all.
    pub(super) fn listen(&mut self, object: Object<'_>, member: &str) -> Result<(), Failure> {
        if !self.is_bus {
            return Ok(());
        }
        let Object { destination, path, interface } = object;
        let rule = format!(
            "type='signal',sender='{destination}',path='{path}',interface='{interface}',\
             member='{member}'"
        );
        self.call(BUS, "AddMatch", vec![Value::text(rule)]).map(drop)
    }

    /// Waits for a signal; `wanted` says of its arguments whether it is the one.
    pub(super) fn await_signal<T>(
        &mut self,
        member: &str,
        wanted: impl Fn(&[Value]) -> Option<T>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.receive()?,
            };
            let is_meant = message.kind == Kind::Signal && message.member == member;
            if is_meant && let Some(found) = wanted(&message.body) {
                return Ok(found);
            }
            // Other signals may come for ever.
            if start.elapsed() > PATIENCE {
                return Err(Failure::Broken("no answer came".to_owned()));
            }
        }
    }

    fn receive(&mut self) -> Result<Message, Failure> {
        let mut fixed = [0; FIXED];
        self.stream.read_exact(&mut fixed)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(FIXED + Message::rest(&fixed)?, 0);
        self.stream.read_exact(&mut bytes[FIXED..])?;
        Ok(Message::decode(&bytes)?)
    }
}

/// Tries each of `unix:path=…;unix:abstract=…`.
fn connect(addresses: &str) -> io::Result<UnixStream> {
    let mut failed = io::Error::other("no address of a local socket");
    for address in addresses.split(';').filter_map(|address| address.strip_prefix("unix:")) {
        for (key, value) in address.split(',').filter_map(|pair| pair.split_once('=')) {
            let value = unescape(value);
            let connected = match key {
                "path" => UnixStream::connect(std::ffi::OsString::from_vec(value)),
                "abstract" => SocketAddr::from_abstract_name(value)
                    .and_then(|address| UnixStream::connect_addr(&address)),
                _ => continue,
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
    }
    Err(failed)
}

/// `%41` stands for the byte 0x41.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                plain.extend(&part.as_bytes()[2..]);
            }
            None => plain.extend([b"%", part.as_bytes()].concat()),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
