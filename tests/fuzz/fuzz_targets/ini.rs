//! Does any file make the reader of INI files or of session profiles panic, or grow?
#![no_main]

use broker::ini::Ini;
use broker::profiles::SessionProfiles;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (ini, errors) = Ini::parse_leniently(text);
    // Python takes a lone CR for a line break, too.
    let n_lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap_or(u32::MAX);
    assert!(errors.iter().all(|error| error.line <= n_lines));
    assert_eq!(Ini::parse(text).is_ok(), errors.is_empty());
    let n_bytes: usize = ini
        .sections()
        .flat_map(|section| section.entries())
        .map(|entry| entry.key.len() + entry.value.len())
        .sum();
    assert!(n_bytes <= text.len());
    if let Ok((profiles, _)) = SessionProfiles::parse("profiles", text) {
        for profile in &profiles {
            assert!(profiles.get(profile.id.as_str()).is_some());
        }
    }
});
