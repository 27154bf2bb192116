//! The shared libraries of this process.

use std::ffi::{CStr, c_int, c_void};

/// Calls `found` with the name that the dynamic linker opened each shared library by, its own
/// among them; never in a program that is linked statically.
pub fn each_loaded(mut found: &mut dyn FnMut(&CStr)) {
    unsafe extern "C" fn one(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        found: *mut c_void,
    ) -> c_int {
        // SAFETY: the linker's record and its string live as long as this call, and `found` is
        // the pointer that each_loaded has passed, which nobody else uses meanwhile.
        let (name, found) =
            unsafe { ((*info).dlpi_name, &mut *found.cast::<&mut dyn FnMut(&CStr)>()) };
        if !name.is_null() {
            // SAFETY: as above; the linker's names end with a zero.
            found(unsafe { CStr::from_ptr(name) });
        }
        0
    }
    // SAFETY: `one` takes what dl_iterate_phdr gives, and `found` outlives the call. A panic
    // of the closure ends the process at the border to C.
    unsafe { libc::dl_iterate_phdr(Some(one), (&raw mut found).cast()) };
}
