//! Who has signed an index. `gpgv` looks at it, as it does for apt: key expiry, revocation, subkeys and weak digests
//! are judged there, and not by us.

use std::io;
use std::path::Path;

use crate::gpgv;

/// How a clear-signed text begins. What does not is not shown to gpgv, which would also unpack and decrypt.
const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// The text that was signed, without its signature, and by whom.
#[derive(Debug)]
pub struct Signed {
    pub text: Vec<u8>,
    pub signers: Vec<String>,
}

/// Why a text is not taken.
#[derive(Debug)]
pub enum Refusal {
    NoGpgv(std::io::Error),
    Reason(String),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        Refusal::Reason(error.to_string())
    }
}

/// Checks a clear-signed text by the keys of `keyring`. One good signature is enough, as for apt: an archive signs
/// with its next release's key too, which a keyring need not have yet. A bad one is too many.
pub fn check(message: &[u8], keyring: &Path) -> Result<Signed, Refusal> {
    let begins = message.strip_prefix(BEGIN).and_then(|rest| rest.first());
    if !matches!(begins, Some(b'\n' | b'\r')) {
        return Err(Refusal::Reason("it has no signature: it is no clear-signed text".into()));
    }
    let directory = tempfile::tempdir()?;
    let signed = directory.path().join("signed");
    std::fs::write(&signed, message)?;
    // What was signed is part of what was sent.
    let limit = message.len() as u64;
    let output = gpgv::run(gpgv::command(&signed, keyring, directory.path()), limit, gpgv::PATIENCE);
    let output = output.map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Refusal::NoGpgv(cause),
        _ => Refusal::Reason(cause.to_string()),
    })?;
    let signers = judge(&String::from_utf8_lossy(&output.status)).map_err(Refusal::Reason)?;
    Ok(Signed { text: output.text, signers })
}

/// What gpgv's status lines (doc/DETAILS of GnuPG) come to.
fn judge(status: &str) -> Result<Vec<String>, String> {
    let mut signers: Vec<String> = Vec::new();
    let mut reason = "it has no signature".to_owned();
    let mut texts = 0;
    // What is said of the signature that is being looked at.
    let mut good: Option<String> = None;
    for line in status.lines() {
        let Some(line) = line.strip_prefix("[GNUPG:] ") else { continue };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, who) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "PLAINTEXT" => texts += 1,
            "NEWSIG" => good = None,
            "GOODSIG" => good = Some(who.to_owned()),
            "VALIDSIG" => signers.extend(good.take().map(|who| format!("{who} {first}"))),
            "BADSIG" => return Err(format!("the signature of {who} is wrong: it was changed on the way")),
            "EXPKEYSIG" => reason = format!("the key of {who} has expired"),
            "EXPSIG" => reason = format!("the signature of {who} has expired"),
            "REVKEYSIG" => reason = format!("the key of {who} was revoked"),
            "ERRSIG" => reason = format!("the signature by the key {first} is of a kind that does not count"),
            "NO_PUBKEY" => reason = format!("it was signed by the key {first}, which is not there"),
            _ => {}
        }
    }
    match (signers.is_empty(), texts) {
        (false, 1) => Ok(signers),
        (false, _) => Err("it has more than one signed text".into()),
        (true, _) => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 01 Debian (12) <ftp@debian.org>\n[GNUPG:] VALIDSIG AB12 2026-01-01 1\n";

    #[test]
    fn what_is_not_clear_signed_is_not_unpacked() {
        let packed = std::process::Command::new("sh")
            .args([
                "-c",
                "head -c 300000 /dev/zero | gpg --batch --homedir . --compress-algo bzip2 -z 9 --store",
            ])
            .current_dir(tempfile::tempdir().unwrap().path())
            .stderr(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(packed.status.success(), "gpg is needed for this test: install gnupg");
        let not_clear = [
            &packed.stdout[..],
            b"",
            b"-----BEGIN PGP MESSAGE-----\n\n",
            b"\n-----BEGIN PGP SIGNED MESSAGE-----\n",
        ];
        for message in not_clear {
            let refused = check(message, Path::new("/dev/null")).unwrap_err();
            assert!(
                matches!(&refused, Refusal::Reason(why) if why == "it has no signature: it is no clear-signed text"),
                "{refused:?}"
            );
        }
        // Between the lines of a clear-signed one, it is never more than was sent.
        let behind =
            [b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nx\n", &packed.stdout[..]].concat();
        assert!(check(&behind, Path::new("/dev/null")).is_err());
    }

    #[test]
    fn one_good_signature_is_enough_beside_unknown_ones() {
        let status = format!(
            "[GNUPG:] PLAINTEXT 74 0 \n[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 02 1 8 01 0 9\n[GNUPG:] NO_PUBKEY 02\n{GOOD}"
        );
        assert_eq!(judge(&status).unwrap(), ["Debian (12) <ftp@debian.org> AB12"]);
    }

    #[test]
    fn a_bad_or_worthless_signature_is_not() {
        let with = |what: &str| judge(&format!("[GNUPG:] PLAINTEXT 74 0 \n{what}")).unwrap_err();
        assert!(with(&format!("{GOOD}[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 03 X")).contains("X is wrong"));
        for what in ["EXPKEYSIG", "EXPSIG", "REVKEYSIG"] {
            let status =
                format!("[GNUPG:] NEWSIG\n[GNUPG:] {what} 01 X\n[GNUPG:] VALIDSIG AB12 2026-01-01 1\n");
            assert!(with(&status).contains("X"), "{what}");
        }
        assert!(with("[GNUPG:] NEWSIG\n[GNUPG:] NO_PUBKEY 02").contains("02, which is not there"));
        assert!(with("").contains("no signature"));
        assert!(with(&format!("[GNUPG:] PLAINTEXT 74 0 \n{GOOD}")).contains("more than one"));
    }
}
