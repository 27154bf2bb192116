//! HOME of the container's user, from the container's own /etc/passwd (passwd(5)).
//!
//! It is looked up after pivot_root, when the path can't lead out any more. Nothing here
//! allocates.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::read;

use super::inside;
use crate::sys::Result;

/// A file that goes on longer is no list of users.
const MOST_BYTES: usize = 4 << 20;
const NAME: &[u8] = b"HOME=";

/// `HOME=…`, with its NUL, on the stack.
pub(super) struct Home {
    bytes: [u8; 1024],
}

impl Home {
    /// The directory of the first user with this id; `/` when there is none.
    pub(super) fn look_up(uid: u32) -> Home {
        let mut home = Home { bytes: [0; 1024] };
        home.set(b"/");
        // As the engines have it, a file that can't be read is no reason not to start.
        let _ = home.read_from(c"/etc/passwd", uid);
        home
    }

    /// The entry for execve.
    pub(super) fn entry(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).ok()
    }

    fn set(&mut self, dir: &[u8]) {
        let room = self.bytes.len() - 1;
        if NAME.len() + dir.len() <= room {
            self.bytes = [0; 1024];
            self.bytes[..NAME.len()].copy_from_slice(NAME);
            self.bytes[NAME.len()..][..dir.len()].copy_from_slice(dir);
        }
    }

    fn read_from(&mut self, path: &CStr, uid: u32) -> Result<()> {
        // A fifo must not make this wait, and a device must not be read.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = inside::open_from_top(path, flags)?;
        if inside::file_type(fstat(&file)?.st_mode) != SFlag::S_IFREG {
            return Err(Errno::EINVAL);
        }
        let mut buffer = [0; 4096];
        let (mut held, mut total, mut skipping) = (0, 0, false);
        loop {
            let count = read(&file, &mut buffer[held..])?;
            total += count;
            held += count;
            let is_end = count == 0 || total > MOST_BYTES;
            let mut rest = 0;
            while let Some(length) = buffer[rest..held].iter().position(|byte| *byte == b'\n') {
                let line = &buffer[rest..rest + length];
                rest += length + 1;
                if !std::mem::take(&mut skipping)
                    && let Some(dir) = home_of(line, uid)
                {
                    self.set(dir);
                    return Ok(());
                }
            }
            if is_end {
                // The last line may lack its end.
                if let Some(dir) = home_of(&buffer[rest..held], uid).filter(|_| !skipping) {
                    self.set(dir);
                }
                return Ok(());
            }
            buffer.copy_within(rest..held, 0);
            held -= rest;
            if held == buffer.len() {
                // No user's line is so long; wait for its end.
                (held, skipping) = (0, true);
            }
        }
    }
}

/// The sixth field of a line whose third is this id.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let id = std::str::from_utf8(fields.nth(2)?).ok()?.parse::<u32>().ok()?;
    fields.nth(2).filter(|dir| id == uid && !dir.is_empty() && !dir.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::Home;

    fn home(text: &str, uid: u32) -> String {
        let path = std::env::temp_dir().join(format!(
            "minirun-home-{}-{uid}-{}",
            std::process::id(),
            text.len()
        ));
        std::fs::write(&path, text).unwrap();
        let mut home = Home { bytes: [0; 1024] };
        home.set(b"/");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        home.read_from(&name, uid).unwrap();
        std::fs::remove_file(path).unwrap();
        home.entry().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_first_user_with_the_id_counts() {
        let text = "root:x:0:0:root:/root:/bin/sh\n#x\nann:x:7:7::/home/ann:/bin/sh\nb:x:7:7::/b:";
        assert_eq!(home(text, 0), "HOME=/root");
        assert_eq!(home(text, 7), "HOME=/home/ann");
        assert_eq!(home(text, 8), "HOME=/");
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let long = format!("x:{}:5:5::/wrong:\n", "y".repeat(9000));
        let text = format!("\n:::::\n5\n{long}e:x:5:5:::\nlast:x:5:5::/right");
        assert_eq!(home(&text, 5), "HOME=/right");
        let far = format!("{}z:x:9:9::/z:/bin/sh\n", "u:x:1:1::/u:/bin/sh\n".repeat(1000));
        assert_eq!(home(&far, 9), "HOME=/z");
        let endless = format!("a:x:3:3::/{}:\n", "d".repeat(2000));
        assert_eq!(home(&endless, 3), "HOME=/", "it doesn't fit");
        assert_eq!(home("", 0), "HOME=/");
    }
}
