//! Landlock with an empty list of exceptions.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};

use super::Error;

/// The version of Landlock that knows everything we give up; older kernels take what they know.
const NEWEST: ABI = ABI::V6;

const ABSENT: &str = "this kernel has no Landlock";

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
        // What an older Landlock does not know yet, the system call filter forbids as well.
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => vec![],
        RulesetStatus::NotEnforced => vec![ABSENT.to_owned()],
    })
}

/// Whether this host can confine a monitor's file access: what it lacks, in words.
pub fn missing() -> Option<&'static str> {
    let required = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    required.handle_access(AccessFs::from_all(ABI::V1)).is_err().then_some(ABSENT)
}
