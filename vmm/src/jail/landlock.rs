//! Landlock with an empty list of exceptions.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};

use super::Error;

/// The version of Landlock that knows everything we give up; older kernels take what they know.
const NEWEST: ABI = ABI::V6;

/// Denies this thread, and those it starts, every use of a path, TCP, and sockets and signals of others.
pub fn give_up_files() -> Result<Vec<String>, Error> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => vec![],
        RulesetStatus::PartiallyEnforced => vec!["this kernel's Landlock is an older one".to_owned()],
        RulesetStatus::NotEnforced => vec!["this kernel has no Landlock".to_owned()],
    })
}
