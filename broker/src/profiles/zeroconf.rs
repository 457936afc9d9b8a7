//! Which session profile does the backend `zeroconf` offer?

use super::SessionProfiles;

/// The one profile, which starts `desktop` on localhost.
#[must_use]
pub fn zeroconf(desktop: &str) -> SessionProfiles {
    let text = format!("[{ID}]\ncommand={desktop}\n{OPTIONS}");
    let read = SessionProfiles::parse("zeroconf", &text);
    // A test reads it.
    read.map(|(profiles, _)| profiles).unwrap_or_default()
}

/// The original makes a new one for each answer, so no client knows one by heart.
const ID: &str = "7b0b9d4e-55c6-4c0f-9b39-6c2f0a1d8e57";

/// All options in the order of the original, which names the profile last.
const OPTIONS: &str = "\
kdrive=0
defsndport=1
useiconv=0
iconvfrom=UTF-8
height=600
export=
quality=9
fullscreen=0
layout=
useexports=1
width=800
speed=2
soundsystem=pulse
print=1
type=auto
sndport=4713
xinerama=1
variant=
usekbd=1
fstunnel=1
applications=TERMINAL,WWWBROWSER,MAILCLIENT,OFFICE
multidisp=0
sshproxyport=22
sound=1
rootless=0
iconvto=UTF-8
soundtunnel=1
dpi=96
sshport=22
setdpi=0
pack=16m-jpeg
user=
host=localhost
directrdp=0
name=LOCALHOST
";

#[cfg(test)]
mod tests {
    use super::zeroconf;

    #[test]
    fn there_is_one_profile_on_localhost() {
        let profiles = zeroconf("MATE");
        let profile = profiles.iter().next().unwrap();
        assert_eq!(profiles.len(), 1);
        assert_eq!((profile.command.as_str(), profile.sshport), ("MATE", 22));
        assert_eq!(profile.host_names, "localhost");
        assert_eq!(profile.options().len(), 36);
    }
}
