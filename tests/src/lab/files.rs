//! How is a file written with the owner and mode that a host needs?

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use anyhow::Context as _;

/// Makes a folder, and those above it, that belongs to the user and group `id`.
pub(crate) fn folder(path: &Path, mode: u32, id: u32) -> anyhow::Result<()> {
    let make = || {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        chown(path, Some(id), Some(id))
    };
    make().with_context(|| format!("making {}", path.display()))
}

/// Writes a file that belongs to the user and group `id`, with the folders above it.
pub(crate) fn write(path: &Path, text: &str, mode: u32, id: u32) -> anyhow::Result<()> {
    let make = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        chown(path, Some(id), Some(id))
    };
    make().with_context(|| format!("writing {}", path.display()))
}

/// Writes this machine's file `/NAME`, changed by `change`, into `layer`, with the owner
/// and mode that it has.
pub(crate) fn amend(
    layer: &Path,
    name: &str,
    change: impl FnOnce(&str) -> String,
) -> anyhow::Result<()> {
    let original = Path::new("/").join(name);
    let read =
        || Ok::<_, std::io::Error>((fs::read_to_string(&original)?, fs::metadata(&original)?));
    let (text, facts) = read().with_context(|| format!("reading {}", original.display()))?;
    let path = layer.join(name);
    write(&path, &change(&text), facts.mode() & 0o7777, facts.uid())?;
    chown(&path, None, Some(facts.gid())).with_context(|| format!("owning {}", path.display()))
}
