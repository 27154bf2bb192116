//! The shared libraries of this process.

use std::ffi::{CStr, c_int, c_void};

/// What `one` is called with: whether the program has been told of, and whom to tell.
type Teller<'a> = (bool, &'a mut dyn FnMut(&CStr));

/// Calls `found` with the name that the dynamic linker opened each shared library by, its own
/// among them; never in a program that is linked statically.
pub fn each_loaded(found: &mut dyn FnMut(&CStr)) {
    unsafe extern "C" fn one(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        teller: *mut c_void,
    ) -> c_int {
        // SAFETY: the linker's record and its string live as long as this call, and `teller` is
        // the pointer that each_loaded has passed, which nobody else uses meanwhile.
        let (name, (begun, found)) =
            unsafe { ((*info).dlpi_name, &mut *teller.cast::<Teller<'_>>()) };
        // The first is the program itself, under names that differ with the C library.
        if std::mem::replace(begun, true) && !name.is_null() {
            // SAFETY: as above; the linker's names end with a zero.
            found(unsafe { CStr::from_ptr(name) });
        }
        0
    }
    let mut teller: Teller<'_> = (false, found);
    // SAFETY: `one` takes what dl_iterate_phdr gives, and `teller` outlives the call. A panic
    // of the closure ends the process at the border to C.
    unsafe { libc::dl_iterate_phdr(Some(one), (&raw mut teller).cast()) };
}
