//! Does any query or body make the reader of forms panic, or let through what it cleans?
#![no_main]

use broker::frontend::form;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (query, content_type, body) = input;
    let Ok(request) = form::parse(query, content_type, body) else {
        return;
    };
    let fields = [
        &request.credentials.user,
        &request.credentials.login,
        &request.sid,
        &request.event.event,
        &request.event.server,
    ];
    for field in fields {
        assert_eq!(field.trim(), field.as_str());
        assert!(!field.contains('\0'));
    }
    // A secret is in no text that may be logged.
    let password = request.credentials.password.expose();
    if password.len() > 8 && !query.contains(password) {
        let logged = format!("{:?}", request.credentials.password);
        assert!(!logged.contains(password));
    }
});
