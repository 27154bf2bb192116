//! Session keyrings (keyctl(2)).

use std::ffi::CStr;

use super::{Errno, Result, syscall};

/// The longest description of a key, with its type, owner and permissions.
const MOST_BYTES: usize = 4096 + 256;

/// Joins the session keyring of this name, made if it isn't there (KEYCTL_JOIN_SESSION_KEYRING).
/// Gives its serial number.
///
/// # Errors
/// `ENOSYS` from a kernel without keys, `EDQUOT` when this user has too many, `EACCES` when
/// the keyring may not be searched.
pub fn join_session_keyring(name: &CStr) -> Result<u64> {
    // SAFETY: the name is a C string that outlives the call.
    let key = unsafe {
        syscall(
            libc::SYS_keyctl,
            [libc::KEYCTL_JOIN_SESSION_KEYRING as u64, name.as_ptr() as u64, 0, 0, 0, 0],
        )
    }?;
    Ok(key as u64)
}

/// Adds permissions to those that a key has (KEYCTL_DESCRIBE, KEYCTL_SETPERM).
///
/// # Errors
/// `EACCES` when the key isn't this process's to change.
pub fn add_permissions(key: u64, permissions: u32) -> Result<()> {
    let mut buffer = [0u8; MOST_BYTES];
    // SAFETY: the kernel writes no more than the buffer's length, or nothing.
    let length = unsafe {
        syscall(
            libc::SYS_keyctl,
            [
                libc::KEYCTL_DESCRIBE as u64,
                key,
                buffer.as_mut_ptr() as u64,
                buffer.len() as u64,
                0,
                0,
            ],
        )
    }?;
    let description = buffer.get(..length as usize).ok_or(Errno::EOVERFLOW)?;
    let all = own_permissions(description).ok_or(Errno::EINVAL)? | permissions;
    // SAFETY: integers only.
    unsafe { syscall(libc::SYS_keyctl, [libc::KEYCTL_SETPERM as u64, key, all.into(), 0, 0, 0]) }
        .map(drop)
}

/// The fourth field of `type;uid;gid;permissions;description`, in hexadecimal.
fn own_permissions(description: &[u8]) -> Option<u32> {
    let field = description.split(|byte| *byte == b';').nth(3)?;
    u32::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::own_permissions;

    #[test]
    fn permissions_are_read_from_a_description() {
        assert_eq!(own_permissions(b"keyring;0;0;3f1b0000;_ses.box\0"), Some(0x3f1b_0000));
        assert_eq!(own_permissions(b"keyring;0"), None);
    }
}
