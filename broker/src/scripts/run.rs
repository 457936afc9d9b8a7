//! Starts one script and takes what it says, within bounds.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Why a script said nothing that counts.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It is not there, say.
    #[error("{path} can't be started")]
    Start {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the operator could have written it.
    #[error("{path} may be changed by others; it must belong to root and be writable by root only")]
    Writable {
        /// Which.
        path: PathBuf,
    },
    /// Talking to it failed.
    #[error("the script could not be talked to")]
    Talk(#[source] io::Error),
    /// It ended with an error.
    #[error("the script ended with {status}: {said}")]
    Failed {
        /// How.
        status: ExitStatus,
        /// The start of what it wrote to its standard error.
        said: String,
    },
    /// More than 64 KB.
    #[error("the script wrote more than 64 KB")]
    TooMuch,
}

/// Runs a script with `input` and returns its output. Dropped early, it kills the script.
pub(super) async fn run(path: &Path, input: Vec<u8>) -> Result<Vec<u8>, ScriptError> {
    let start = |source| ScriptError::Start {
        path: path.to_owned(),
        source,
    };
    check(path).await?;
    let mut child = command(path).spawn().map_err(start)?;
    let talked = talk(&mut child, input).await;
    // One that is still writing would wait for ever.
    if talked.is_err() {
        let _ = child.start_kill();
    }
    let status = child.wait().await.map_err(ScriptError::Talk)?;
    let (output, said) = talked?;
    if status.success() {
        Ok(output)
    } else {
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(ScriptError::Failed { status, said })
    }
}

/// The operator's own: else whoever can write it would speak for the broker.
async fn check(path: &Path) -> Result<(), ScriptError> {
    // Off the async threads: the directory may be on a slow disk.
    let script = path.to_owned();
    let metadata = tokio::task::spawn_blocking(move || std::fs::metadata(script)).await;
    let metadata = metadata.map_err(io::Error::other).flatten();
    let metadata = metadata.map_err(|source| ScriptError::Start {
        path: path.to_owned(),
        source,
    })?;
    if metadata.uid() != ROOT || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(ScriptError::Writable {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operator's scripts are programs; beside them a replica starts calls of old agents only"
)]
fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Gives the input and takes standard output and the start of standard error.
async fn talk(child: &mut Child, input: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), ScriptError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            match stdin.write_all(&input).await {
                // It need not read what it does not care for.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                other => other?,
            }
        }
        Ok(())
    };
    let read_output = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            let mut bounded = stdout.take(MAX_OUTPUT_BYTES + 1);
            bounded.read_to_end(&mut output).await?;
        }
        Ok(output)
    };
    let read_errors = async {
        let mut errors = Vec::new();
        if let Some(mut stderr) = stderr {
            (&mut stderr)
                .take(MAX_ERROR_BYTES)
                .read_to_end(&mut errors)
                .await?;
            // The rest is thrown away, so that the script can go on.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        Ok::<_, io::Error>(errors)
    };
    let (write, output, errors): (io::Result<()>, io::Result<Vec<u8>>, _) =
        tokio::join!(write, read_output, read_errors);
    write.map_err(ScriptError::Talk)?;
    let output = output.map_err(ScriptError::Talk)?;
    if u64::try_from(output.len()).map_or(true, |len| len > MAX_OUTPUT_BYTES) {
        return Err(ScriptError::TooMuch);
    }
    Ok((output, errors.map_err(ScriptError::Talk)?))
}

const ROOT: u32 = 0;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// An answer is one small object.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;
/// For the log.
const MAX_ERROR_BYTES: u64 = 1 << 10;
