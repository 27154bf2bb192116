use super::*;

/// A call of StartTransientUnit as busctl(1) of systemd 252 sent it.
const CALL: &[u8] = include_bytes!("../recorded/call.bin");

fn property(name: &str, value: &str) -> Value {
    let value = Value::parse(value).unwrap();
    Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value))])
}

fn start() -> Message {
    let properties = [
        ("Delegate", "true"),
        ("MemoryMax", "uint64 1048576"),
        ("DeviceAllow", "[('/dev/char/1:3', 'rwm')]"),
        ("AllowedCPUs", "[byte 0x03]"),
        ("PIDs", "[uint32 4711]"),
    ];
    Message {
        serial: 2,
        path: "/org/freedesktop/systemd1".to_owned(),
        interface: "org.freedesktop.systemd1.Manager".to_owned(),
        member: "StartTransientUnit".to_owned(),
        destination: "org.freedesktop.systemd1".to_owned(),
        body: vec![
            Value::text("box.scope"),
            Value::text("fail"),
            Value::Array("(sv)".to_owned(), properties.map(|(n, v)| property(n, v)).to_vec()),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ],
        ..Message::new(Kind::Call)
    }
}

#[test]
#[cfg(target_endian = "little")]
fn what_busctl_sent_is_what_is_sent_here() {
    assert_eq!(Message::decode(CALL).unwrap(), start());
    let encoded = start().encode();
    // The order of a header's fields is free; its length and what follows are not.
    assert_eq!(encoded.len(), CALL.len());
    // busctl lets systemd ask a person for a password, which an engine can't.
    assert_eq!((CALL[2], encoded[2]), (4, 0));
    assert_eq!((&encoded[..2], &encoded[3..FIXED]), (&CALL[..2], &CALL[3..FIXED]));
    let body = CALL.len() - u32::from_le_bytes(CALL[4..8].try_into().unwrap()) as usize;
    assert_eq!(encoded[body..], CALL[body..]);
    let fixed: &[u8; FIXED] = CALL[..FIXED].try_into().unwrap();
    assert_eq!(Message::rest(fixed).unwrap(), CALL.len() - FIXED);
}

#[test]
fn every_type_comes_back_as_it_was_sent() {
    let values = [
        "true",
        "byte 255",
        "int16 -2",
        "uint16 65535",
        "-3",
        "uint32 7",
        "int64 -9",
        "uint64 9",
        "1.5",
        "'text'",
        "objectpath '/a'",
        "signature 'as'",
        "['a', 'b']",
        "@a(tay) []",
        "[(uint64 1, [byte 1, 2]), (uint64 2, @ay [])]",
        "<('x', <true>)>",
    ];
    for split in 0..values.len() {
        // At every alignment.
        let body: Vec<Value> = values[split..].iter().map(|v| Value::parse(v).unwrap()).collect();
        let message = Message { reply_to: 7, body, ..Message::new(Kind::Return) };
        assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }
}

#[test]
fn a_broken_message_is_an_error_and_nothing_worse() {
    let good = start().encode();
    for end in 0..good.len() {
        assert!(Message::decode(&good[..end]).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        for byte in [0, 1, 0x7f, 0xff, b'a', b'('] {
            let mut bad = good.clone();
            bad[at] = byte;
            // Whatever it says, it says it and comes back.
            let _ = Message::decode(&bad);
        }
    }
    let mut foreign: [u8; FIXED] = good[..FIXED].try_into().unwrap();
    foreign[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(Message::rest(&foreign).unwrap_err().contains("bytes came"));
    foreign[0] = b'?';
    assert!(Message::rest(&foreign).unwrap_err().contains("isn't a D-Bus message"));
}
