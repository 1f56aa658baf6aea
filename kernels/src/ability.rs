//! What a kernel can do for vmrun.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{ConfigSource, KernelConfig, Setting};
use crate::feature::{Feature, KernelOption};
use crate::modules::ModuleTree;

/// How a kernel offers a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ability {
    BuiltIn,
    /// By one module or more, which must be loaded.
    Module,
    /// Not at all, for want of this option (`CONFIG_…`), this module's file or a newer kernel.
    Absent {
        missing: String,
    },
    /// Nobody said: neither a configuration nor modules came with the kernel. It may be tried.
    Unknown,
}

impl Ability {
    /// Whether a machine may count on the feature, or at least try.
    pub fn usable(&self) -> bool {
        !matches!(self, Ability::Absent { .. })
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ability::BuiltIn => to.write_str("built in"),
            Ability::Module => to.write_str("module"),
            Ability::Absent { missing } => write!(to, "absent ({missing})"),
            Ability::Unknown => to.write_str("not known"),
        }
    }
}

/// How a kernel offers each feature.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Abilities(BTreeMap<Feature, Ability>);

impl<'de> Deserialize<'de> for Abilities {
    /// A newer vmrun may have known more features, and more ways to offer one: the former are passed over, and the
    /// latter not known.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Abilities, D::Error> {
        let written = BTreeMap::<String, serde_json::Value>::deserialize(from)?;
        let known = written.into_iter().filter_map(|(feature, ability)| {
            let feature =
                Feature::deserialize(feature.into_deserializer()).map_err(drop::<ValueError>).ok()?;
            Some((feature, serde_json::from_value(ability).unwrap_or(Ability::Unknown)))
        });
        Ok(Abilities(known.collect()))
    }
}

impl Abilities {
    /// How the kernel offers `feature`.
    pub fn of(&self, feature: Feature) -> &Ability {
        self.0.get(&feature).unwrap_or(&Ability::Unknown)
    }

    /// Every feature with how it is offered, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Feature, &Ability)> {
        self.0.iter().map(|(feature, ability)| (*feature, ability))
    }

    /// Whether machines may count on all of `features`.
    pub fn usable(&self, features: &[Feature]) -> bool {
        features.iter().all(|feature| self.of(*feature).usable())
    }

    /// Works the abilities out from what came with the kernel of that release.
    pub(crate) fn find(
        release: (u32, u32),
        config: Option<&KernelConfig>,
        modules: &ModuleTree,
    ) -> Abilities {
        let ability = |feature: Feature| {
            let options = feature.options().iter();
            let found = options.map(|option| option_ability(option, config, modules));
            match (found.reduce(weaker).unwrap_or(Ability::Unknown), feature.first_release()) {
                (found, Some(first)) if found.usable() && release < first => {
                    Ability::Absent { missing: format!("the {feature} of Linux {}.{}", first.0, first.1) }
                }
                (found, _) => found,
            }
        };
        Abilities(Feature::ALL.into_iter().map(|feature| (feature, ability(feature))).collect())
    }
}

/// What `config` and `modules` can tell at all.
pub(crate) fn knowledge(config: Option<ConfigSource>, modules: &ModuleTree) -> ConfigSource {
    match config {
        Some(source) => source,
        None if modules.is_empty() => ConfigSource::Nothing,
        None => ConfigSource::Modules,
    }
}

fn option_ability(option: &KernelOption, config: Option<&KernelConfig>, modules: &ModuleTree) -> Ability {
    let by_config = config.map(|config| config.setting(option.name));
    let is_file = option.module.is_some_and(|module| modules.has(module));
    let absent = || Ability::Absent { missing: format!("CONFIG_{}", option.name) };
    match (by_config, option.module) {
        (Some(Setting::Yes), _) => Ability::BuiltIn,
        (Some(Setting::Module), Some(_)) if is_file => Ability::Module,
        (Some(Setting::Module), Some(module)) => Ability::Absent { missing: format!("{module}.ko") },
        (Some(_), _) => absent(),
        (None, _) if modules.is_empty() => Ability::Unknown,
        (None, Some(module)) if modules.is_built_in(module) => Ability::BuiltIn,
        (None, Some(_)) if is_file => Ability::Module,
        (None, Some(_)) => absent(),
        // A switch leaves no trace among the modules. Every distribution sets these.
        (None, None) if option.name == "VIRTIO_MMIO_CMDLINE_DEVICES" => absent(),
        (None, None) => Ability::BuiltIn,
    }
}

/// A feature is offered as its weakest option is.
fn weaker(one: Ability, other: Ability) -> Ability {
    let strength = |ability: &Ability| match ability {
        Ability::Absent { .. } => 0,
        Ability::Unknown => 1,
        Ability::Module => 2,
        Ability::BuiltIn => 3,
    };
    if strength(&other) < strength(&one) { other } else { one }
}
