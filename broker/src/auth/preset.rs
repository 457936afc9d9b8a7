//! With which AUTHID do clients begin?

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use proto::Secret;
use tracing::warn;

use crate::config::AuthIdConfig;

/// The preset AUTHID: of the file, else of the configuration. The file is read each time,
/// as it may be changed at any; a file that is there and can't be read means none at all.
pub(super) async fn of(config: &AuthIdConfig) -> Option<Secret> {
    let Some(path) = config.preset_file.clone() else {
        return config.preset.clone();
    };
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Ok(Some(preset)) => Some(preset),
        Ok(None) => config.preset.clone(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => config.preset.clone(),
        Err(error) => {
            warn!(path = shown, error = %error, "the file of my-cookie-file can't be read");
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Secret>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(first_value(&String::from_utf8_lossy(&text)))
}

/// The first line that is no comment, up to its first blank.
fn first_value(text: &str) -> Option<Secret> {
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let value = line.split_whitespace().next()?;
    Some(Secret::new(value.to_owned()))
}

/// The packaged file has some lines of comment and one value.
const MAX_BYTES: u64 = 64 * 1024;
