//! Is the program installed as it is packaged: 4750, root and the broker's group?

/// What fstat(2) says of the program's own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// Who owns it.
    pub owner: u32,
    /// Its type and permission bits.
    pub mode: u32,
}

/// What is wrong with the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process has not become root.
    NotRoot,
    /// The file belongs to somebody else than root.
    Owner,
    /// The file has no setuid bit.
    NoSetuid,
    /// Others than root may write the file.
    Writable,
    /// Others than the group may run the file.
    OpenToAll,
}

/// Checks the installation.
///
/// # Errors
/// With the first thing that is wrong.
pub fn check(file: OwnFile, effective_user: u32) -> Result<(), Fault> {
    let has = |bits: u32| file.mode & bits != 0;
    // The first two are what makes the rest worth looking at.
    if file.owner != 0 {
        Err(Fault::Owner)
    } else if !has(SETUID) {
        Err(Fault::NoSetuid)
    } else if effective_user != 0 {
        Err(Fault::NotRoot)
    } else if has(WRITE_GROUP | WRITE_OTHERS) {
        Err(Fault::Writable)
    } else if has(ANY_OTHERS) {
        Err(Fault::OpenToAll)
    } else {
        Ok(())
    }
}

const SETUID: u32 = 0o4000;
const WRITE_GROUP: u32 = 0o020;
const WRITE_OTHERS: u32 = 0o002;
const ANY_OTHERS: u32 = 0o007;

#[cfg(test)]
mod tests {
    use super::{Fault, OwnFile, check};

    #[test]
    fn only_an_installation_as_packaged_is_accepted() {
        let cases = [
            (0, 0o104_750, 0, Ok(())),
            (0, 0o104_710, 0, Ok(())), // as the original's package has it
            (0, 0o104_700, 0, Ok(())),
            (0, 0o100_750, 0, Err(Fault::NoSetuid)),
            (0, 0o104_750, 990, Err(Fault::NotRoot)), // a file system with nosuid
            (990, 0o104_750, 0, Err(Fault::Owner)),
            (990, 0o104_750, 990, Err(Fault::Owner)),
            (0, 0o104_770, 0, Err(Fault::Writable)),
            (0, 0o104_752, 0, Err(Fault::Writable)),
            (0, 0o104_755, 0, Err(Fault::OpenToAll)),
            (0, 0o104_751, 0, Err(Fault::OpenToAll)),
        ];
        for (owner, mode, effective_user, expected) in cases {
            let found = check(OwnFile { owner, mode }, effective_user);
            assert_eq!(found, expected, "{owner} {mode:o} run as {effective_user}");
        }
    }
}
