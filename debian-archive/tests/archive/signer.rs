//! A key that is made for the test, and what it signs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

pub struct Signer {
    home: tempfile::TempDir,
}

impl Signer {
    pub fn new() -> Signer {
        let signer = Signer { home: tempfile::tempdir().unwrap() };
        signer.gpg(&[
            "--passphrase",
            "",
            "--quick-generate-key",
            "Test Archive <test@archive.example>",
            "ed25519",
            "sign",
            "never",
        ]);
        signer.gpg(&["--output", signer.keyring().to_str().unwrap(), "--export"]);
        signer
    }

    pub fn keyring(&self) -> PathBuf {
        self.home.path().join("keyring.gpg")
    }

    pub fn sign(&self, text: &str) -> Vec<u8> {
        self.sign_by(text, "SHA512")
    }

    /// Signs a text by its digest of this kind.
    pub fn sign_by(&self, text: &str, digest: &str) -> Vec<u8> {
        let (plain, signed) = (self.home.path().join("text"), self.home.path().join("signed"));
        fs::write(&plain, text).unwrap();
        self.gpg(&[
            "--yes",
            "--allow-weak-digest-algos",
            "--digest-algo",
            digest,
            "--output",
            signed.to_str().unwrap(),
            "--clear-sign",
            plain.to_str().unwrap(),
        ]);
        fs::read(signed).unwrap()
    }

    fn gpg(&self, arguments: &[&str]) {
        let status = Command::new("gpg")
            .args(["--batch", "--quiet"])
            .args(arguments)
            .env("GNUPGHOME", self.home.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("gpg is needed for this test: install gnupg");
        assert!(status.success(), "gpg {arguments:?}");
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}

pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
