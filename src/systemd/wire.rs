//! Values and messages as bytes (D-Bus specification, "Marshaling" and "Message Format").
//!
//! Both ends are on one machine, so numbers are in its own byte order.

use super::signature;
use super::value::Value;

/// The letter for this machine's byte order.
const ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
/// What comes before the fields of a header and their length.
pub(super) const FIXED: usize = 16;
/// Longer messages are none of those that are waited for; the protocol's limit is 128 MiB.
const LONGEST: usize = 16 << 20;
const DEEPEST: usize = 64;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
}

/// One message; fields that it doesn't have are empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) serial: u32,
    pub(super) reply_to: u32,
    pub(super) path: String,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) destination: String,
    pub(super) body: Vec<Value>,
}

impl Message {
    pub(super) fn new(kind: Kind) -> Message {
        let empty = String::new;
        Message {
            kind,
            serial: 0,
            reply_to: 0,
            path: empty(),
            interface: empty(),
            member: empty(),
            error: empty(),
            destination: empty(),
            body: Vec::new(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.put(value));
        let signature = self.body.iter().map(Value::signature).collect::<String>();
        let texts = [
            (1, b'o', &self.path),
            (2, b's', &self.interface),
            (3, b's', &self.member),
            (4, b's', &self.error),
            (6, b's', &self.destination),
            (8, b'g', &signature),
        ];
        let field = |code: i128, value: Value| {
            Value::Struct(vec![Value::Number(b'y', code), Value::Variant(Box::new(value))])
        };
        let texts = texts.into_iter().filter(|(_, _, text)| !text.is_empty());
        let mut fields: Vec<Value> =
            texts.map(|(code, kind, text)| field(code, Value::Text(kind, text.clone()))).collect();
        if self.reply_to != 0 {
            fields.push(field(5, Value::uint32(self.reply_to)));
        }
        let mut message = Writer { bytes: vec![ORDER, self.kind as u8, 0, 1] };
        message.put(&Value::uint32(body.bytes.len() as u32));
        message.put(&Value::uint32(self.serial));
        message.put(&Value::Array("(yv)".to_owned(), fields));
        message.align(8);
        message.bytes.extend(body.bytes);
        message.bytes
    }

    /// How many bytes follow the first [`FIXED`].
    ///
    /// # Errors
    /// When this is no message.
    pub(super) fn rest(fixed: &[u8; FIXED]) -> Result<usize, String> {
        if fixed[0] != ORDER || fixed[3] != 1 {
            return Err("what came isn't a D-Bus message of this machine".to_owned());
        }
        let word = |at: usize| Reader { bytes: fixed, at }.length();
        let (body, fields) = (word(4)?, word(12)?);
        let rest = fields.next_multiple_of(8) + body;
        if rest > LONGEST { Err(format!("a message of {rest} bytes came")) } else { Ok(rest) }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// Where it isn't one.
    pub(super) fn decode(bytes: &[u8]) -> Result<Message, String> {
        let kinds = [Kind::Call, Kind::Return, Kind::Error, Kind::Signal];
        let kind = bytes.get(1).and_then(|kind| kinds.into_iter().find(|k| *k as u8 == *kind));
        let mut message = Message::new(kind.ok_or("a message of no known kind came")?);
        let mut reader = Reader { bytes, at: 8 };
        if let Value::Number(_, serial) = reader.one("u", 0)? {
            message.serial = serial as u32;
        }
        let mut signature = String::new();
        if let Value::Array(_, fields) = reader.one("a(yv)", 0)? {
            for field in fields {
                let Value::Struct(field) = field else { continue };
                let [Value::Number(_, code), Value::Variant(value)] = field.as_slice() else {
                    continue;
                };
                match (code, value.as_ref()) {
                    (1, Value::Text(_, text)) => message.path.clone_from(text),
                    (2, Value::Text(_, text)) => message.interface.clone_from(text),
                    (3, Value::Text(_, text)) => message.member.clone_from(text),
                    (4, Value::Text(_, text)) => message.error.clone_from(text),
                    (5, Value::Number(_, serial)) => message.reply_to = *serial as u32,
                    (6, Value::Text(_, text)) => message.destination.clone_from(text),
                    (8, Value::Text(_, text)) => signature.clone_from(text),
                    _ => {}
                }
            }
        }
        reader.align(8)?;
        for one in signature::all(&signature) {
            message.body.push(reader.one(one, 0)?);
        }
        Ok(message)
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn word(&mut self, number: usize) {
        self.align(4);
        self.bytes.extend((number as u32).to_ne_bytes());
    }

    fn put(&mut self, value: &Value) {
        self.align(alignment(value.signature().as_bytes()));
        match value {
            Value::Bool(yes) => self.word(usize::from(*yes)),
            Value::Number(b'y', number) => self.bytes.push(*number as u8),
            Value::Number(b'n' | b'q', number) => {
                self.bytes.extend((*number as u16).to_ne_bytes());
            }
            Value::Number(b'i' | b'u', number) => {
                self.bytes.extend((*number as u32).to_ne_bytes());
            }
            Value::Number(_, number) => self.bytes.extend((*number as u64).to_ne_bytes()),
            Value::Double(number) => self.bytes.extend(number.to_ne_bytes()),
            Value::Text(b'g', text) => self.signature(text),
            Value::Text(_, text) => {
                self.word(text.len());
                self.bytes.extend(text.as_bytes());
                self.bytes.push(0);
            }
            Value::Array(element, items) => {
                self.word(0);
                let length_at = self.bytes.len() - 4;
                // Padding before the first element doesn't count.
                self.align(alignment(element.as_bytes()));
                let start = self.bytes.len();
                items.iter().for_each(|item| self.put(item));
                let length = (self.bytes.len() - start) as u32;
                self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_ne_bytes());
            }
            Value::Struct(fields) => fields.iter().for_each(|field| self.put(field)),
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.put(value);
            }
        }
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }
}

/// The boundary on which values of a type begin.
fn alignment(signature: &[u8]) -> usize {
    match signature.first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at = self.at.saturating_add(count);
        taken.ok_or_else(|| "a D-Bus message ends too early".to_owned())
    }

    fn align(&mut self, to: usize) -> Result<(), String> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "a D-Bus message ends too early".to_owned())
    }

    fn length(&mut self) -> Result<usize, String> {
        self.align(4)?;
        Ok(u32::from_ne_bytes(self.number()?) as usize)
    }

    fn text(&mut self, length: usize) -> Result<String, String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    /// One value of a complete type.
    fn one(&mut self, signature: &str, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err("a D-Bus message is nested too deeply".to_owned());
        }
        self.align(alignment(signature.as_bytes()))?;
        let code = signature.bytes().next().unwrap_or_default();
        Ok(match code {
            b'y' => Value::Number(code, self.number::<1>()?[0].into()),
            b'n' => Value::Number(code, i16::from_ne_bytes(self.number()?).into()),
            b'q' => Value::Number(code, u16::from_ne_bytes(self.number()?).into()),
            b'i' => Value::Number(code, i32::from_ne_bytes(self.number()?).into()),
            b'u' | b'h' => Value::Number(code, u32::from_ne_bytes(self.number()?).into()),
            b'x' => Value::Number(code, i64::from_ne_bytes(self.number()?).into()),
            b't' => Value::Number(code, u64::from_ne_bytes(self.number()?).into()),
            b'd' => Value::Double(f64::from_ne_bytes(self.number()?)),
            b'b' => Value::Bool(self.length()? != 0),
            b's' | b'o' => {
                let length = self.length()?;
                Value::Text(code, self.text(length)?)
            }
            b'g' => Value::Text(code, self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                Value::Variant(Box::new(self.one(&inner, depth + 1)?))
            }
            b'a' => {
                let element = &signature[1..];
                let length = self.length()?;
                self.align(alignment(element.as_bytes()))?;
                let end = self.at.saturating_add(length);
                let mut items = Vec::new();
                while self.at < end {
                    items.push(self.one(element, depth + 1)?);
                }
                Value::Array(element.to_owned(), items)
            }
            b'(' | b'{' => {
                let inner = &signature[1..signature.len() - 1];
                let fields = signature::all(inner).into_iter();
                Value::Struct(fields.map(|one| self.one(one, depth + 1)).collect::<Result<_, _>>()?)
            }
            _ => return Err(format!("a D-Bus message has a value of type {signature:?}")),
        })
    }

    fn signature(&mut self) -> Result<String, String> {
        let length = self.number::<1>()?[0];
        let text = self.text(length.into())?;
        match signature::all(&text).concat() == text {
            true => Ok(text),
            false => Err(format!("a D-Bus message has a value of type {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests;
