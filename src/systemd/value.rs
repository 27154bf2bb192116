//! Values of D-Bus: as text, the way plans and annotations hold them, and as bytes.
//!
//! The text is that of GVariant, which busctl(1) prints and `org.systemd.property.*`
//! annotations are written in: `true`, `'text'`, `uint64 7`, `['a', 'b']`, `@a(ss) []`.

use crate::systemd::signature;

/// How deep values may be nested, by the D-Bus specification's limit for arrays.
const DEEPEST: usize = 32;

/// One value with its type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    /// A whole number of the type with this letter.
    Number(u8, i128),
    Double(f64),
    /// `s`, or an object's path (`o`) or a signature (`g`).
    Text(u8, String),
    /// The signature of its elements, and these.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Value {
        Value::Text(b's', text.into())
    }

    pub(crate) fn uint32(number: u32) -> Value {
        Value::Number(b'u', number.into())
    }

    #[cfg(test)]
    pub(crate) fn uint64(number: u64) -> Value {
        Value::Number(b't', number.into())
    }

    /// Its type in the letters of the D-Bus specification.
    pub(crate) fn signature(&self) -> String {
        match self {
            Value::Bool(_) => "b".to_owned(),
            Value::Number(code, _) | Value::Text(code, _) => char::from(*code).to_string(),
            Value::Double(_) => "d".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => {
                let fields: String = fields.iter().map(Value::signature).collect();
                format!("({fields})")
            }
            Value::Variant(_) => "v".to_owned(),
        }
    }

    /// Reads a value from its text.
    ///
    /// # Errors
    /// What is wrong with the text, in words.
    pub(crate) fn parse(text: &str) -> Result<Value, String> {
        let mut parser = Parser { rest: text };
        let value = parser.value(None, 0)?;
        match parser.rest.trim_start() {
            "" => Ok(value),
            rest => Err(format!("{rest:?} follows the value")),
        }
    }
}

/// Letters of whole numbers, their names in text, and their ranges.
const NUMBERS: &[(&str, u8, i128, i128)] = &[
    ("byte", b'y', 0, u8::MAX as i128),
    ("int16", b'n', i16::MIN as i128, i16::MAX as i128),
    ("uint16", b'q', 0, u16::MAX as i128),
    ("int32", b'i', i32::MIN as i128, i32::MAX as i128),
    ("uint32", b'u', 0, u32::MAX as i128),
    ("int64", b'x', i64::MIN as i128, i64::MAX as i128),
    ("uint64", b't', 0, u64::MAX as i128),
];

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// `wanted` is the signature that surroundings have said.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            None => Err("a value is missing".to_owned()),
            Some('@') => {
                let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
                let (wanted, rest) = (&self.rest[1..end], &self.rest[end..]);
                if signature::first(wanted).is_none_or(|first| first != wanted) {
                    return Err(format!("{wanted:?} is no type"));
                }
                self.rest = rest;
                self.value(Some(wanted), depth + 1)
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => {
                let fields = wanted.and_then(|w| w.strip_prefix('(')?.strip_suffix(')'));
                let mut fields = fields.map(signature::all).unwrap_or_default().into_iter();
                let fields = self.list(')', |this, _| this.value(fields.next(), depth + 1))?;
                fits(Value::Struct(fields), wanted)
            }
            Some('<') => {
                self.rest = &self.rest[1..];
                let inner = self.value(None, depth + 1)?;
                self.expect('>')?;
                fits(Value::Variant(Box::new(inner)), wanted)
            }
            Some(quote @ ('\'' | '"')) => {
                let text = self.quoted(quote)?;
                let code = wanted.filter(|wanted| matches!(*wanted, "o" | "g"));
                fits(Value::Text(code.map_or(b's', |code| code.as_bytes()[0]), text), wanted)
            }
            Some(_) => self.word(wanted, depth),
        }
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let element = wanted.and_then(|wanted| wanted.strip_prefix('a'));
        let items = self.list(']', |this, before: &[Value]| {
            // The first one says what all are.
            let first = before.first().map(Value::signature);
            this.value(element.or(first.as_deref()), depth + 1)
        })?;
        let element = match (element, items.first()) {
            (Some(element), _) => element.to_owned(),
            (None, Some(first)) => first.signature(),
            (None, None) => return Err("an empty array needs its type, as in @as []".to_owned()),
        };
        fits(Value::Array(element, items), wanted)
    }

    fn list(
        &mut self,
        end: char,
        mut item: impl FnMut(&mut Self, &[Value]) -> Result<Value, String>,
    ) -> Result<Vec<Value>, String> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix(end) {
                self.rest = rest;
                return Ok(items);
            }
            if !items.is_empty() {
                self.expect(',')?;
            }
            items.push(item(self, &items)?);
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => self.rest = rest,
            None => return Err(format!("{wanted} is missing before {:?}", self.rest)),
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, char @ ('\\' | '\'' | '"'))) => text.push(char),
                    _ => return Err("a backslash stands before n, t, \\ or a quote".to_owned()),
                },
                '\0' => return Err("it has a NUL byte in it".to_owned()),
                _ if char == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                _ => text.push(char),
            }
        }
        Err("a quote isn't closed".to_owned())
    }

    /// true, false, a number, or the name of a type before one.
    fn word(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let ends = |c: char| c.is_whitespace() || ",])>".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" | "false" => return fits(Value::Bool(word == "true"), wanted),
            "boolean" => return self.value(Some("b"), depth + 1),
            "double" => return self.value(Some("d"), depth + 1),
            "string" => return self.value(Some("s"), depth + 1),
            "objectpath" => return self.value(Some("o"), depth + 1),
            "signature" => return self.value(Some("g"), depth + 1),
            _ => {}
        }
        if let Some((_, code, ..)) = NUMBERS.iter().find(|(name, ..)| *name == word) {
            return self.value(Some(&char::from(*code).to_string()), depth + 1);
        }
        let unknown = || format!("{word:?} is no value; text stands in quotes, as in 'text'");
        let number = match word.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16).ok(),
            None => word.parse::<i128>().ok(),
        };
        let code = wanted.unwrap_or("i").as_bytes();
        match (number, NUMBERS.iter().find(|(_, letter, ..)| code == [*letter])) {
            (Some(number), Some((name, code, least, most))) => {
                match (least..=most).contains(&&number) {
                    true => Ok(Value::Number(*code, number)),
                    false => Err(format!("{number} is out of the range of {name}")),
                }
            }
            _ => match word.parse::<f64>() {
                Ok(number) if word.starts_with(|c: char| "+-.0123456789".contains(c)) => {
                    fits(Value::Double(number), wanted)
                }
                _ => Err(unknown()),
            },
        }
    }
}

fn fits(value: Value, wanted: Option<&str>) -> Result<Value, String> {
    let found = value.signature();
    match wanted {
        Some(wanted) if wanted != found => {
            Err(format!("a value of type {wanted} is needed, and this is one of type {found}"))
        }
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_annotations_say_is_read_with_its_type() {
        let number = |code: u8, number: i128| Value::Number(code, number);
        for (text, signature, expected) in [
            ("true", "b", Value::Bool(true)),
            (" 'inactive-or-failed' ", "s", Value::text("inactive-or-failed")),
            (r#""a \"b\"""#, "s", Value::text("a \"b\"")),
            ("7", "i", number(b'i', 7)),
            ("-7", "i", number(b'i', -7)),
            ("uint64 18446744073709551615", "t", Value::uint64(u64::MAX)),
            ("1.5", "d", Value::Double(1.5)),
            ("double 2", "d", Value::Double(2.0)),
            ("@as []", "as", Value::Array("s".into(), vec![])),
            ("['a']", "as", Value::Array("s".into(), vec![Value::text("a")])),
            (
                "[byte 0x01, 255]",
                "ay",
                Value::Array("y".into(), vec![number(b'y', 1), number(b'y', 255)]),
            ),
            (
                "[('/dev/null', 'rw')]",
                "a(ss)",
                Value::Array(
                    "(ss)".into(),
                    vec![Value::Struct(vec![Value::text("/dev/null"), Value::text("rw")])],
                ),
            ),
            ("@a(ss) []", "a(ss)", Value::Array("(ss)".into(), vec![])),
            ("<'x'>", "v", Value::Variant(Box::new(Value::text("x")))),
        ] {
            let value = Value::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!((value.signature().as_str(), value), (signature, expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_said_to_be_none() {
        let deep = "[".repeat(200);
        for (text, words) in [
            ("", "missing"),
            ("text", "in quotes"),
            ("'open", "isn't closed"),
            ("[]", "needs its type"),
            ("['a', 1]", "type s"),
            ("uint32 -1", "out of the range"),
            ("99999999999", "out of the range"),
            ("true false", "follows"),
            ("@s 1", "type"),
            ("@zz 1", "no type"),
            ("uint64", "missing"),
            ("nan", "in quotes"),
            (deep.as_str(), "too deeply"),
        ] {
            let reason = Value::parse(text).unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }
}
