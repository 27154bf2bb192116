//! The word that was meant by one that was mistyped.

/// The candidate that is most like a word, if one is: a letter or two are wrong, missing, too
/// many or in each other's place, or the end of it hasn't been typed.
///
/// ```
/// let verbs = ["run", "create", "start"];
/// assert_eq!(minirun::similar::to("strat", verbs), Some("start"));
/// assert_eq!(minirun::similar::to("stop", verbs), None);
/// ```
pub fn to<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let begins = |candidate: &str| limit > 0 && candidate.starts_with(word);
    let likeness = |candidate: &'a str| match begins(candidate) {
        true => Some((0, candidate)),
        false => Some((distance(word, candidate, limit)?, candidate)),
    };
    let best = candidates.into_iter().filter_map(likeness).min_by_key(|(distance, _)| *distance);
    best.map(|(_, candidate)| candidate)
}

/// How many letters have to be changed, added, left out or swapped with the next, if no more
/// than `limit` (the optimal string alignment distance).
fn distance(one: &str, other: &str, limit: usize) -> Option<usize> {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > limit {
        return None;
    }
    // The rows before the last one and the last, for the letters of `one` so far.
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 0..one.len() {
        let mut row = vec![i + 1];
        for j in 0..other.len() {
            let changed = last[j] + usize::from(one[i] != other[j]);
            let mut least = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                let swapped: usize = before[j - 1];
                least = least.min(swapped + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.pop().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_forgiven_and_another_word_is_not() {
        let ids = ["web", "database", "4f3a2b1c0d"];
        for (word, meant) in [
            ("wbe", Some("web")),
            ("wep", Some("web")),
            ("wweb", Some("web")),
            ("databsae", Some("database")),
            ("dtabas", Some("database")),
            ("4f3", Some("4f3a2b1c0d")),
            ("we", None),
            ("", None),
            ("api", None),
            ("daemon", None),
        ] {
            assert_eq!(to(word, ids), meant, "{word}");
        }
        assert_eq!(to("web", []), None);
    }

    #[test]
    fn any_word_is_like_itself_and_within_its_limit() {
        crate::chance::fuzz(20_000, |_, chance| {
            let pieces = ["a", "b", "ü", "web", "-"];
            let (one, other) = (chance.text(&pieces), chance.text(&pieces));
            assert_eq!(distance(&one, &one, 0), Some(0));
            assert_eq!(distance(&one, &other, 5), distance(&other, &one, 5), "{one:?} {other:?}");
        });
    }
}
