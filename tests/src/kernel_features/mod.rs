//! What kernels can from which version on: the table that the probe program (`kernel_features`) tries row by row, and
//! what the end-to-end test expects of each kernel by it.

mod table;
mod trying;

pub use table::FEATURES;
pub use trying::is_there;

/// A kernel's version: `6.12.95` of `6.12.95+deb12-cloud-amd64`.
pub type Version = (u32, u32, u32);

/// Something that a program can find in a kernel, or not.
#[derive(Debug)]
pub struct Feature {
    pub name: &'static str,
    /// The first version with it, and those of older stable series that got it later.
    pub since: Version,
    pub backports: &'static [Version],
    pub needs: &'static [Need],
    /// Where that is written.
    pub source: &'static str,
    pub trial: Trial,
}

/// What a feature depends on beside the version.
#[derive(Debug)]
pub enum Need {
    /// A configuration option, by its name without `CONFIG_`.
    Config(&'static str),
    /// A security module that is in the list of those that start: `lsm=` on the command line, else CONFIG_LSM.
    SecurityModule(&'static str),
    /// A word on the command line, in versions before this one.
    BootOption(&'static str, Version),
}

/// How a feature is tried.
#[derive(Debug)]
pub enum Trial {
    /// A system call with arguments that make no sense: only a kernel without it says that there is none.
    SystemCall { number: i64, arguments: [i64; 6] },
    /// A call that succeeds, on what is made for it.
    Works(fn() -> bool),
    /// An operation of io_uring, by its number.
    IoUring(u8),
    /// A version of Landlock's interface.
    Landlock(i64),
}

/// A kernel as far as the table needs it.
#[derive(Debug)]
pub struct Kernel<'a> {
    pub version: Version,
    /// The configuration file.
    pub config: &'a str,
    pub command_line: &'a str,
}

impl Feature {
    /// Whether a kernel ought to have it.
    pub fn is_expected(&self, kernel: &Kernel<'_>) -> bool {
        let series = |version: &Version| (version.0, version.1);
        let backported = self
            .backports
            .iter()
            .any(|version| series(version) == series(&kernel.version) && kernel.version >= *version);
        (kernel.version >= self.since || backported) && self.needs.iter().all(|need| need.is_met(kernel))
    }
}

impl Need {
    fn is_met(&self, kernel: &Kernel<'_>) -> bool {
        match self {
            Need::Config(option) => ["y", "m"].contains(&kernel.option(option).unwrap_or_default()),
            Need::SecurityModule(module) => {
                let mut chosen =
                    kernel.command_line.split_whitespace().filter_map(|word| word.strip_prefix("lsm="));
                let list = chosen.next_back().or_else(|| kernel.option("LSM")).unwrap_or_default();
                list.trim_matches('"').split(',').any(|name| name == *module)
            }
            Need::BootOption(word, before) => {
                kernel.version >= *before || kernel.command_line.split_whitespace().any(|said| said == *word)
            }
        }
    }
}

impl<'a> Kernel<'a> {
    fn option(&self, name: &str) -> Option<&'a str> {
        self.config
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_")?.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The version of a release such as `6.12.95+deb12-cloud-amd64`; Debian's older ones have it in no name.
pub fn version_of(text: &str) -> Option<Version> {
    let digits = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.').next()?;
    let mut numbers = digits.split('.').map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some((number()?, number()?, number().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn kernel<'a>(version: Version, config: &'a str, command_line: &'a str) -> Kernel<'a> {
        Kernel { version, config, command_line }
    }

    fn feature(name: &str) -> &'static Feature {
        FEATURES.iter().find(|feature| feature.name == name).unwrap()
    }

    #[test]
    fn every_row_is_there_once_and_says_where_it_is_from() {
        let names: HashSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
        assert_eq!(names.len(), FEATURES.len());
        assert!(FEATURES.iter().all(|feature| !feature.source.is_empty() && !feature.name.contains(' ')));
    }

    #[test]
    fn version_configuration_and_command_line_decide() {
        let secret = feature("memfd_secret");
        let config = "CONFIG_SECRETMEM=y\n";
        assert!(!secret.is_expected(&kernel((6, 1, 0), config, "")));
        assert!(secret.is_expected(&kernel((6, 1, 0), config, "quiet secretmem.enable=1")));
        assert!(secret.is_expected(&kernel((6, 5, 0), config, "")));
        assert!(!secret.is_expected(&kernel((6, 5, 0), "# CONFIG_SECRETMEM is not set\n", "")));
        let landlock = feature("landlock_abi_1");
        let config = "CONFIG_SECURITY_LANDLOCK=y\nCONFIG_LSM=\"landlock,yama\"\n";
        assert!(landlock.is_expected(&kernel((5, 13, 0), config, "")));
        assert!(!landlock.is_expected(&kernel((5, 13, 0), config, "lsm=yama")));
    }

    #[test]
    fn a_backport_is_for_its_own_series() {
        let shutdown = feature("io_uring_shutdown");
        let expected = |version| shutdown.is_expected(&kernel(version, "CONFIG_IO_URING=y\n", ""));
        assert_eq!(
            [(5, 10, 161), (5, 10, 162), (5, 4, 300), (5, 11, 0)].map(expected),
            [false, true, false, true]
        );
    }

    #[test]
    fn versions_are_read_from_releases() {
        assert_eq!(version_of("6.12.95+deb12-cloud-amd64"), Some((6, 12, 95)));
        assert_eq!(version_of("5.10.223-1"), Some((5, 10, 223)));
        assert_eq!(version_of("7.2"), Some((7, 2, 0)));
        assert_eq!(version_of("linux"), None);
    }
}
