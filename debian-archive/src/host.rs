//! Where the archive is, by this host's own configuration of apt.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use registry::Patience;

use crate::sources_list::Mirrors;

const MIRROR: &str = "http://deb.debian.org/debian";
const SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security";
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// What apt takes for a no.
const NO: [&str; 6] = ["no", "false", "without", "off", "disable", "0"];

/// Where the archive is and who may have signed it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address below which `dists/` and `pool/` are.
    pub mirror: String,
    /// The same for suites whose names end in `-security`; without it there are none.
    pub security_mirror: Option<String>,
    /// The keys that indices may be signed by, as gpgv reads them.
    pub keyring: PathBuf,
    /// The way to the mirror: `http://HOST:PORT`, or `DIRECT` for none; without it the environment has the word.
    pub proxy: Option<String>,
    /// The same for the security mirror.
    pub security_proxy: Option<String>,
    /// The release of Debian that this host has, if it is one.
    pub release: Option<String>,
    /// Take indices that were good until a day that has passed.
    pub allow_expired: bool,
    pub patience: Patience,
}

impl Options {
    /// What this host's apt uses; on a host without apt, Debian's own servers.
    pub fn of_host() -> Options {
        let release = std::fs::read_to_string("/etc/os-release").ok().and_then(|text| debian_release(&text));
        Options { release, ..Options::of(Mirrors::of(Path::new("/etc/apt")), Apt::ask) }
    }

    fn of(mirrors: Mirrors, ask: impl Fn(&str) -> Apt) -> Options {
        let mirror = mirrors.main.unwrap_or_else(|| MIRROR.into());
        let security_mirror = mirrors.security.unwrap_or_else(|| SECURITY_MIRROR.into());
        let said = ask(&mirror);
        Options {
            security_proxy: ask(&security_mirror).proxy,
            security_mirror: Some(security_mirror),
            keyring: keyring(),
            release: None,
            proxy: said.proxy,
            allow_expired: said.allow_expired,
            patience: Patience::default(),
            mirror,
        }
    }

    /// Another mirror, which stands for itself: nobody else is asked for security updates. The way there is apt's.
    pub fn at(self, mirror: &str) -> Options {
        self.at_by(mirror, Apt::ask)
    }

    fn at_by(self, mirror: &str, ask: impl Fn(&str) -> Apt) -> Options {
        let mirror = mirror.trim_end_matches('/').to_owned();
        let proxy = ask(&mirror).proxy;
        Options { mirror, proxy, security_mirror: None, security_proxy: None, ..self }
    }

    /// The way to one of the mirrors.
    pub(crate) fn proxy_to(&self, mirror: &str) -> Option<&str> {
        let proxy = if mirror == self.mirror { &self.proxy } else { &self.security_proxy };
        proxy.as_deref()
    }
}

fn keyring() -> PathBuf {
    let there = KEYRINGS.iter().find(|path| Path::new(path).exists());
    there.unwrap_or(&KEYRINGS[0]).into()
}

/// The codename in an os-release(5) of Debian's own.
fn debian_release(text: &str) -> Option<String> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']))
    };
    let codename = value("VERSION_CODENAME").filter(|_| value("ID") == Some("debian"))?;
    codename.bytes().all(|byte| byte.is_ascii_lowercase()).then(|| codename.to_owned())
}

/// What apt.conf(5) says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Apt {
    proxy: Option<String>,
    allow_expired: bool,
}

impl Apt {
    /// Asks `apt-config`; a host without it has no such configuration.
    fn ask(mirror: &str) -> Apt {
        let (scheme, rest) = mirror.split_once("://").unwrap_or(("http", mirror));
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let output = Command::new("apt-config")
            .arg("shell")
            .args(["PROXY", &format!("Acquire::{scheme}::Proxy")])
            .args(["HOST_PROXY", &format!("Acquire::{scheme}::Proxy::{host}")])
            .args(["CHECK", "Acquire::Check-Valid-Until"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        output.map(|output| Apt::parse(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default()
    }

    /// Lines as for a shell: `NAME='value'`.
    fn parse(text: &str) -> Apt {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches('\'').to_owned()).filter(|value| !value.is_empty())
        };
        Apt {
            proxy: value("HOST_PROXY").or_else(|| value("PROXY")),
            allow_expired: value("CHECK")
                .is_some_and(|check| NO.contains(&check.to_ascii_lowercase().as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_config_prints_is_understood() {
        let said = Apt::parse("PROXY='http://proxy:3128'\nCHECK='No'\n");
        assert_eq!(said, Apt { proxy: Some("http://proxy:3128".into()), allow_expired: true });
        let said = Apt::parse("PROXY='http://proxy:3128'\nHOST_PROXY='DIRECT'\nCHECK='true'\n");
        assert_eq!(said, Apt { proxy: Some("DIRECT".into()), allow_expired: false });
        assert_eq!(Apt::parse(""), Apt::default());
    }

    #[test]
    fn a_host_of_debians_has_a_release() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(debian_release(text).as_deref(), Some("bookworm"));
        assert_eq!(debian_release(&text.replace("ID=debian", "ID=\"ubuntu\"")), None);
        assert_eq!(debian_release("ID=debian\n"), None);
        assert_eq!(debian_release("ID=debian\nVERSION_CODENAME=../x\n"), None);
    }

    #[test]
    fn the_way_to_each_mirror_is_its_own() {
        let ask = |mirror: &str| {
            let proxy = ["inside", "outside"].into_iter().find(|host| mirror.contains(host));
            Apt { proxy: proxy.map(|host| format!("http://proxy.{host}")), allow_expired: false }
        };
        let (main, security) = ("http://inside/debian", "http://outside/debian-security");
        let mirrors = Mirrors { main: Some(main.into()), security: Some(security.into()) };
        let options = Options::of(mirrors, ask);
        assert_eq!(options.proxy_to(main), Some("http://proxy.inside"));
        assert_eq!(options.proxy_to(security), Some("http://proxy.outside"));
        let other = options.clone().at_by("http://outside/debian/", ask);
        assert_eq!(other.proxy_to(&other.mirror), Some("http://proxy.outside"));
        let other = options.at_by("http://elsewhere/debian", ask);
        assert_eq!(other.proxy_to(&other.mirror), None);
    }
}
