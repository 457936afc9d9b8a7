//! Which certificates do web servers of a lab have? Those of a CA that somebody made with
//! openssl(1), as many administrators do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::process::{command, run};

/// A CA for web servers; it has nothing to do with the farm's own root.
#[derive(Debug)]
pub struct WebCa {
    folder: TempDir,
}

/// A certificate for a web server, and its key, in PEM.
#[derive(Clone, Debug)]
pub struct WebCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl WebCa {
    /// Makes a CA.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a CA")?;
        let ca = Self { folder };
        let extensions = "basicConstraints = critical, CA:TRUE\n\
                          keyUsage = critical, keyCertSign\n";
        ca.openssl(CA, name, extensions, &[])?;
        Ok(ca)
    }

    /// Returns the certificate of the CA itself, in PEM: what clients must trust.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn certificate(&self) -> anyhow::Result<String> {
        read(&self.path(CA).with_extension("crt"))
    }

    /// Issues a certificate for the server that clients call `name`.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn issue(&self, name: &str) -> anyhow::Result<WebCertificate> {
        let extensions = format!(
            "basicConstraints = critical, CA:FALSE\n\
             extendedKeyUsage = serverAuth\n\
             subjectAltName = DNS:{name}\n"
        );
        let ca = self.path(CA);
        let (certificate, key) = (ca.with_extension("crt"), ca.with_extension("key"));
        let issuer = [
            "-CA".as_ref(),
            certificate.as_path(),
            "-CAkey".as_ref(),
            &key,
        ];
        self.openssl(name, name, &extensions, &issuer)?;
        let issued = self.path(name);
        Ok(WebCertificate {
            certificate: read(&issued.with_extension("crt"))?,
            key: read(&issued.with_extension("key"))?,
        })
    }

    /// Makes a key and a certificate with these extensions, signed by `issuer` or by itself.
    fn openssl(
        &self,
        file: &str,
        subject: &str,
        extensions: &str,
        issuer: &[&Path],
    ) -> anyhow::Result<()> {
        let config = format!(
            "[req]\ndistinguished_name = subject\nprompt = no\n\
             [subject]\nCN = {subject}\n[extensions]\n{extensions}"
        );
        let path = self.path(file);
        let config_file = path.with_extension("conf");
        fs::write(&config_file, config).context("writing a file for openssl")?;
        let mut request = command("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"]);
        request.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        request.args(["-extensions", "extensions", "-config"]);
        request.arg(config_file).args(issuer);
        request.arg("-keyout").arg(path.with_extension("key"));
        request.arg("-out").arg(path.with_extension("crt"));
        run(&mut request).map(drop)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The name of the CA's own files.
const CA: &str = "ca";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_leads_to_its_own_ca_only_and_holds_the_name() {
        let (own, foreign) = (WebCa::new("Own").unwrap(), WebCa::new("Foreign").unwrap());
        own.issue("broker1").unwrap();
        let check = |ca: &WebCa, name: &str| {
            let mut verify = command("openssl");
            verify.args(["verify", "-purpose", "sslserver", "-verify_hostname", name]);
            verify.arg("-CAfile").arg(ca.path("ca.crt"));
            run(verify.arg(own.path("broker1.crt")))
        };
        check(&own, "broker1").unwrap();
        assert!(check(&own, "broker2").is_err());
        assert!(check(&foreign, "broker1").is_err());
    }
}
