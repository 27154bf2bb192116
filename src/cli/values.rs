//! The values of options, from text to what they mean. Strict: what isn't understood
//! whole is refused.

use std::time::Duration;

use minirun::{Capability, PosixRlimitType};

/// `UID[:GID]`; the gid is 0 when it isn't given, as with `docker run`.
pub fn user(text: &str) -> Result<(u32, u32), String> {
    user_and_group(text).map(|(uid, gid)| (uid, gid.unwrap_or(0)))
}

/// `UID[:GID]`, where the group can be left as it is.
pub fn user_and_group(text: &str) -> Result<(u32, Option<u32>), String> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
        None => Ok((id(text)?, None)),
    }
}

/// A user's or a group's number.
pub fn id(text: &str) -> Result<u32, String> {
    // str::parse takes a leading plus.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The last id means "no change" to the kernel (setresuid(2)).
    text.parse::<u32>().ok().filter(|id| digits && *id != u32::MAX).ok_or_else(|| {
        format!("{text:?} is not a number from 0 to 4294967294; names aren't looked up")
    })
}

/// `1.5s`, `200ms`, `2m`, `1h`, or a plain number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1.0));
    let seconds = plain_number(number).map(|number| number * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{text:?} is not a time such as 500ms, 30s, 5m or 1h"))
}

/// A time to wait for again and again.
pub fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        // Times further away than the clock goes can't be reckoned with.
        interval if interval.as_secs() > 86400 => Err("it can be a day at most".to_owned()),
        interval => Ok(interval),
    }
}

/// Bytes, or with a suffix `b`, `k`, `m`, `g`, `t` (powers of 1024; `kb`, `MiB` … too).
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 65536, 512k, 100m or 2g");
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let shift = match lower.as_bytes().last() {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        _ => 0,
    };
    let number = if shift == 0 { lower } else { &lower[..lower.len() - 1] };
    let bytes = plain_number(number).ok_or_else(wrong)? * (1u64 << shift) as f64;
    if bytes < i64::MAX as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// A signal by number, or by name with or without SIG; real-time ones as programs of the
/// GNU C library count them (signal(7)), whatever library this program was built with.
pub fn signal(text: &str) -> Result<i32, String> {
    const REALTIME: std::ops::RangeInclusive<i32> = 34..=64;
    let wrong = || format!("unknown signal {text:?}; such as KILL, SIGKILL, 9 or RTMIN+3");
    if let Ok(number) = text.parse::<i32>() {
        return (0..=64).contains(&number).then_some(number).ok_or_else(wrong);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let (base, offset) = match name.get(..5) {
        Some("RTMIN") => (*REALTIME.start(), &name[5..]),
        Some("RTMAX") => (*REALTIME.end(), &name[5..]),
        _ => {
            let known = format!("SIG{name}").parse::<nix::sys::signal::Signal>();
            return known.map(|signal| signal as i32).map_err(|_| wrong());
        }
    };
    let offset = if offset.is_empty() { Ok(0) } else { offset.parse::<i32>() };
    let number = offset.ok().and_then(|offset| base.checked_add(offset));
    number.filter(|number| REALTIME.contains(number)).ok_or_else(wrong)
}

/// A number of processors, such as 0.5.
pub fn cpus(text: &str) -> Result<f64, String> {
    plain_number(text).ok_or_else(|| format!("{text:?} is not a number such as 0.5 or 2"))
}

/// Digits with at most one point: neither a sign, nor an exponent, nor `nan`.
fn plain_number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// A capability's name, with or without `CAP_`, in any case; `ALL` is `None`.
pub fn capability(text: &str) -> Result<Option<Capability>, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    if name == "ALL" {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|_| format!("{text:?} is no capability; see capabilities(7)"))
}

/// A capability's name; `ALL` isn't one.
pub fn one_capability(text: &str) -> Result<Capability, String> {
    capability(text)?.ok_or_else(|| format!("{text:?} names no single capability"))
}

/// `NAME=SOFT[:HARD]`, as `ulimit` and `docker run --ulimit` have it.
pub fn ulimit(text: &str) -> Result<(PosixRlimitType, u64, u64), String> {
    const KINDS: &[(&str, PosixRlimitType)] = &[
        ("as", PosixRlimitType::RlimitAs),
        ("core", PosixRlimitType::RlimitCore),
        ("cpu", PosixRlimitType::RlimitCpu),
        ("data", PosixRlimitType::RlimitData),
        ("fsize", PosixRlimitType::RlimitFsize),
        ("locks", PosixRlimitType::RlimitLocks),
        ("memlock", PosixRlimitType::RlimitMemlock),
        ("msgqueue", PosixRlimitType::RlimitMsgqueue),
        ("nice", PosixRlimitType::RlimitNice),
        ("nofile", PosixRlimitType::RlimitNofile),
        ("nproc", PosixRlimitType::RlimitNproc),
        ("rss", PosixRlimitType::RlimitRss),
        ("rtprio", PosixRlimitType::RlimitRtprio),
        ("rttime", PosixRlimitType::RlimitRttime),
        ("sigpending", PosixRlimitType::RlimitSigpending),
        ("stack", PosixRlimitType::RlimitStack),
    ];
    let names = || KINDS.iter().map(|row| row.0).collect::<Vec<_>>().join(" ");
    let wrong = || format!("{text:?} is not NAME=SOFT[:HARD] with a NAME of: {}", names());
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let kind = KINDS.iter().find(|row| row.0 == name).ok_or_else(wrong)?.1;
    let limit = |text: &str| match text {
        "unlimited" | "infinity" | "-1" => Ok(u64::MAX),
        digits => digits.parse().map_err(|_| wrong()),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if soft > hard {
        return Err(format!("the soft limit of {text:?} is above its hard limit"));
    }
    Ok((kind, soft, hard))
}

/// A bind mount as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

/// `SRC:DST[:ro|rw]`.
pub fn bind(text: &str) -> Result<Bind, String> {
    let wrong = || format!("{text:?} is not SRC:DST[:ro] with an absolute DST");
    let mut parts = text.split(':');
    let (source, target) = (parts.next().unwrap_or(""), parts.next().ok_or_else(wrong)?);
    let read_only = match parts.next() {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return Err(wrong()),
    };
    if source.is_empty() || !target.starts_with('/') || parts.next().is_some() {
        return Err(wrong());
    }
    Ok(Bind { source: source.to_owned(), target: target.to_owned(), read_only })
}

/// `DST[:OPTION,…]`.
pub fn tmpfs(text: &str) -> Result<(String, Vec<String>), String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(format!("{text:?} is not DST[:OPTIONS] with an absolute DST"));
    }
    let options = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned);
    Ok((target.to_owned(), options.collect()))
}

/// A switch of `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityOption {
    NoNewPrivileges(bool),
    SeccompUnconfined,
    /// The name of a file.
    SeccompProfile(String),
}

/// `no-new-privileges[=true|false]`, `seccomp=unconfined` or `seccomp=FILE`.
pub fn security_option(text: &str) -> Result<SecurityOption, String> {
    match text.split_once(['=', ':']).unwrap_or((text, "")) {
        ("no-new-privileges", "" | "true") => Ok(SecurityOption::NoNewPrivileges(true)),
        ("no-new-privileges", "false") => Ok(SecurityOption::NoNewPrivileges(false)),
        ("seccomp", "unconfined") => Ok(SecurityOption::SeccompUnconfined),
        ("seccomp", "") => Err("seccomp needs unconfined or the name of a profile's file".into()),
        ("seccomp", file) => Ok(SecurityOption::SeccompProfile(file.to_owned())),
        _ => Err(format!("{text:?} is neither no-new-privileges[=false] nor seccomp=…")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_and_nothing_else() {
        assert_eq!(user("1000"), Ok((1000, 0)));
        assert_eq!(user("1000:5"), Ok((1000, 5)));
        for bad in ["", "abc", "1x", "-1", "+1", "1:", ":1", "4294967295", "1:2:3", " 1"] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "1e3", "inf", "nan", "1x", "1 s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("512k"), Ok(512 << 10));
        assert_eq!(bytes("1.5G"), Ok(3 << 29));
        assert_eq!(bytes("100MiB"), Ok(100 << 20));
        assert_eq!(bytes("10mb"), Ok(10 << 20));
        for bad in ["", "k", "-1", "1e9", "9999999t", "1q"] {
            assert!(bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn capabilities_come_in_any_spelling() {
        assert_eq!(capability("net_raw"), Ok(Some(Capability::NetRaw)));
        assert_eq!(capability("CAP_SYS_ADMIN"), Ok(Some(Capability::SysAdmin)));
        assert_eq!(capability("all"), Ok(None));
        assert!(capability("CAP_NONSENSE").is_err());
    }

    #[test]
    fn binds_need_both_ends() {
        let bound = bind("./a:/b:ro").unwrap();
        assert_eq!(
            (bound.source.as_str(), bound.target.as_str(), bound.read_only),
            ("./a", "/b", true)
        );
        for bad in ["", "/a", ":/b", "/a:b", "/a:/b:rx", "/a:/b:ro:x"] {
            assert!(bind(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ulimits_are_soft_and_hard() {
        assert_eq!(ulimit("nofile=64:128"), Ok((PosixRlimitType::RlimitNofile, 64, 128)));
        assert_eq!(ulimit("core=unlimited"), Ok((PosixRlimitType::RlimitCore, u64::MAX, u64::MAX)));
        for bad in ["nofile", "nofile=", "nofile=2:1", "files=1", "nofile=a"] {
            assert!(ulimit(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn signals_come_by_number_and_by_name() {
        for (text, number) in [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
        ] {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for bad in ["", "SIG", "65", "-9", "NOPE", "RTMIN-1", "RTMAX+1", "RTMIN+x", "9x"] {
            assert!(signal(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_group_can_be_left_as_it_is() {
        assert_eq!(user_and_group("5"), Ok((5, None)));
        assert_eq!(user_and_group("5:6"), Ok((5, Some(6))));
        assert!(user_and_group("1x").is_err() && user_and_group("abc").is_err());
    }

    #[test]
    fn any_text_is_a_value_within_its_bounds_or_is_refused() {
        let pieces = [
            "ms",
            "s",
            "m",
            "h",
            "d",
            "k",
            "KiB",
            "t",
            "1.5",
            "42",
            "unlimited",
            "nofile=",
            "core=",
            "SIG",
            "KILL",
            "RTMIN",
            "RTMAX",
            "rt",
            "CAP_",
            "all",
            "sys_admin",
            "/mnt",
            "ro",
            "rw",
            "size=1m",
            "seccomp",
            "unconfined",
            "no-new-privileges",
            "true",
            "false",
        ];
        let mut understood = [0; 11];
        let count = crate::chance::fuzz(20_000, |_, chance| {
            let text = chance.text(&pieces);
            let outcomes = [
                user_and_group(&text).map(|(uid, gid)| {
                    assert!(uid != u32::MAX && gid != Some(u32::MAX));
                    assert_eq!(user(&text), Ok((uid, gid.unwrap_or(0))));
                }),
                duration(&text).map(drop),
                interval(&text).map(|time| assert!(!time.is_zero() && time.as_secs() <= 86400)),
                bytes(&text).map(|bytes| assert!(bytes < i64::MAX as u64, "{text:?}")),
                signal(&text).map(|number| assert!((0..=64).contains(&number), "{text:?}")),
                cpus(&text).map(|number| assert!(number >= 0.0, "{text:?}")),
                capability(&text)
                    .map(|one| assert_eq!(one_capability(&text).ok(), one, "{text:?}")),
                ulimit(&text).map(|(_, soft, hard)| assert!(soft <= hard, "{text:?}")),
                bind(&text).map(|bind| {
                    let typed = format!("{}:{}", bind.source, bind.target);
                    let rest = text.strip_prefix(&typed).unwrap();
                    assert!(["", ":ro", ":rw"].contains(&rest), "{text:?}");
                }),
                tmpfs(&text).map(|(target, _)| assert!(target.starts_with('/'))),
                security_option(&text).map(drop),
            ];
            for (outcome, count) in outcomes.iter().zip(&mut understood) {
                *count += u32::from(outcome.is_ok());
            }
        });
        if count.is_some_and(|count| count >= 20_000) {
            assert!(understood.iter().all(|count| *count > 0), "{understood:?}");
        }
    }
}
