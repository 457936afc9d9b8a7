//! Do any bytes at the authservice's socket, or in its answers, do harm?
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::{PAM_HEAD_BYTES, PamQuestion, PamVerdict, pam_message_length};

fuzz_target!(|data: &[u8]| {
    if let Some((head, _)) = data.split_first_chunk::<PAM_HEAD_BYTES>() {
        let _ = pam_message_length(*head);
    }
    if let Ok(question) = PamQuestion::read(data)
        && let Ok(frame) = question.to_frame()
    {
        let (head, message) = frame.split_first_chunk().unwrap();
        assert_eq!(pam_message_length(*head), Ok(message.len()));
        assert_eq!(PamQuestion::read(message), Ok(question));
    }
    if let Ok(verdict) = PamVerdict::read(data) {
        let frame = verdict.to_frame();
        assert_eq!(PamVerdict::read(&frame[PAM_HEAD_BYTES..]), Ok(verdict));
    }
});
