//! One package of a suite's list.

use crate::hash;
use crate::stanza::Stanza;
use crate::version::Version;

/// A package as the archive's signed list describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: Version,
    pub architecture: String,
    /// Which packages it depends on: their names, the first of each choice.
    pub depends: Vec<String>,
    /// Where it lies below the mirror's address.
    pub filename: String,
    /// In bytes.
    pub size: u64,
    pub sha256: String,
    /// In which suite it was found.
    pub suite: String,
    /// Who has signed the list that it is in.
    pub signers: Vec<String>,
}

impl Package {
    /// From its stanza; none when something is missing or cannot be.
    pub(crate) fn parse(stanza: &Stanza, suite: &str, signers: &[String]) -> Option<Package> {
        let field = |name| stanza.field(name);
        let filename = field("Filename")?;
        let sha256 = field("SHA256").filter(|sha256| hash::is(sha256))?;
        // It becomes an address and the name of a file here.
        let sound = filename.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\?#%".contains(&byte))
        });
        let depends = stanza.words("Depends").join(" ");
        Some(Package {
            name: field("Package")?.to_owned(),
            version: Version::new(field("Version")?),
            architecture: field("Architecture")?.to_owned(),
            depends: depends
                .split(',')
                .filter_map(|choice| choice.split(['|', '(']).next()?.split_whitespace().next())
                .map(str::to_owned)
                .collect(),
            filename: sound.then(|| filename.to_owned())?,
            size: field("Size")?.parse().ok()?,
            sha256: sha256.to_owned(),
            suite: suite.to_owned(),
            signers: signers.to_vec(),
        })
    }

    /// The name of its file.
    pub fn file_name(&self) -> &str {
        self.filename.rsplit('/').next().unwrap_or(&self.filename)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Stanzas;

    fn parse(filename: &str, sha256: &str) -> Option<Package> {
        let text = format!(
            "Package: linux-image-6\nVersion: 6-1\nArchitecture: amd64\nDepends: kmod, a (>= 1) | b,\n c\n\
             Filename: {filename}\nSize: 12\nSHA256: {sha256}\n"
        );
        Package::parse(&Stanzas::new(text.as_bytes()).next().unwrap().unwrap(), "sid", &[])
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_packages() {
        let sha256 = "a".repeat(64);
        let package = parse("pool/main/l/linux/x.deb", &sha256).unwrap();
        assert_eq!((package.file_name(), package.size), ("x.deb", 12));
        assert_eq!(package.depends, ["kmod", "a", "c"]);
        for bad in ["/x.deb", "pool/../x", "pool//x", "x y", "pool/.", "x%2f..", "x?y"] {
            assert_eq!(parse(bad, &sha256), None, "{bad}");
        }
        assert_eq!(parse("x.deb", "../../etc/passwd"), None);
    }
}
