//! Does any listing of desktops make its reader panic, keep more than it may, or let a line
//! through that it would not write itself? Names of files in /tmp stand in it: any text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::{Desktop, DesktopListing, MAX_DESKTOPS};

fuzz_target!(|text: &[u8]| {
    let listing = DesktopListing::read(text);
    assert!(listing.desktops.len() <= MAX_DESKTOPS);
    let n_lines = text.split_inclusive(|byte| *byte == b'\n').count();
    let n_read = listing.desktops.len() + listing.n_odd + listing.n_left_out;
    assert_eq!(n_read, n_lines);
    for desktop in &listing.desktops {
        let line = desktop.to_string();
        assert_eq!(Desktop::parse(&line).as_ref(), Ok(desktop));
        assert!(!line.contains(|c: char| c.is_control() || c.is_whitespace()), "{line:?}");
    }
});
