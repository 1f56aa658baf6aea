//! A kernel's configuration: which options it was built with.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// How an option is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Yes,
    Module,
    No,
}

/// Where the knowledge of a kernel's abilities comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigSource {
    /// A `config-VERSION` that came with the kernel.
    File,
    /// The copy inside the kernel (CONFIG_IKCONFIG).
    Embedded,
    /// None was found: the list of built-in modules and the modules themselves.
    Modules,
    /// Neither configuration nor modules: nothing is known.
    Nothing,
    /// What a newer vmrun, which added the kernel, found it by.
    #[serde(other)]
    Other,
}

impl std::fmt::Display for ConfigSource {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.pad(match self {
            ConfigSource::File => "config file",
            ConfigSource::Embedded => "IKCONFIG",
            ConfigSource::Modules => "modules.builtin",
            ConfigSource::Nothing => "nothing (no config, no modules)",
            ConfigSource::Other => "what a newer vmrun found",
        })
    }
}

/// The options of a `.config`, without their `CONFIG_`.
#[derive(Debug, Default)]
pub struct KernelConfig {
    options: HashMap<String, Setting>,
}

impl KernelConfig {
    /// Reads `.config` text. Lines that set strings or numbers are left out.
    pub fn parse(text: &str) -> KernelConfig {
        let mut options = HashMap::new();
        for line in text.lines() {
            let Some((name, value)) = line.strip_prefix("CONFIG_").and_then(|line| line.split_once('='))
            else {
                continue;
            };
            match value.trim() {
                "y" => options.insert(name.to_owned(), Setting::Yes),
                "m" => options.insert(name.to_owned(), Setting::Module),
                _ => None,
            };
        }
        KernelConfig { options }
    }

    /// Whether this text is a kernel configuration at all.
    pub fn recognise(text: &str) -> bool {
        text.lines().any(|line| line.starts_with("CONFIG_") && line.contains('='))
    }

    pub fn setting(&self, option: &str) -> Setting {
        self.options.get(option).copied().unwrap_or(Setting::No)
    }

    /// Whether the kernel has hooks in its functions for tracers.
    pub fn traces_functions(&self) -> bool {
        self.setting("DYNAMIC_FTRACE") == Setting::Yes
    }

    /// Whether the kernel refuses modules without a signature that it knows.
    pub fn insists_on_signatures(&self) -> bool {
        ["MODULE_SIG_FORCE", "LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY"]
            .iter()
            .any(|option| self.setting(option) == Setting::Yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_apart() {
        let config = KernelConfig::parse(
            "# Linux\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"y\"\nCONFIG_E=3\n",
        );
        assert_eq!(config.setting("A"), Setting::Yes);
        assert_eq!(config.setting("B"), Setting::Module);
        for unset in ["C", "D", "E", "F"] {
            assert_eq!(config.setting(unset), Setting::No, "{unset}");
        }
    }
}
