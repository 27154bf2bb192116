//! Types of D-Bus in letters: where one ends and the next begins.

/// The first complete type of a signature; `None` when it doesn't begin with one.
pub(super) fn first(signature: &str) -> Option<&str> {
    let end = end(signature.as_bytes(), 0, 0)?;
    signature.get(..end)
}

/// The complete types of a signature, up to what is none.
pub(super) fn all(mut signature: &str) -> Vec<&str> {
    let mut types = Vec::new();
    while let Some(one) = first(signature) {
        types.push(one);
        signature = &signature[one.len()..];
    }
    types
}

fn end(letters: &[u8], at: usize, depth: usize) -> Option<usize> {
    if depth > 64 {
        return None;
    }
    let list = |close: u8| {
        // A structure of nothing would take no bytes, and an array of them never end.
        let mut at = end(letters, at + 1, depth + 1)?;
        while *letters.get(at)? != close {
            at = end(letters, at, depth + 1)?;
        }
        Some(at + 1)
    };
    match letters.get(at)? {
        b'a' => end(letters, at + 1, depth + 1),
        b'(' => list(b')'),
        b'{' => list(b'}'),
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
        | b'v' | b'h' => Some(at + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        assert_eq!(all("ssa(sv)a(sa(sv))"), ["s", "s", "a(sv)", "a(sa(sv))"]);
        assert_eq!(all("a{sv}u?"), ["a{sv}", "u"]);
        assert_eq!(first("a"), None);
        assert_eq!(first("(s"), None);
        assert_eq!(first("a()"), None);
        assert_eq!(first(&"a".repeat(100)), None);
    }
}
