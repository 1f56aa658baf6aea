//! `vmrun rmi`: remove images.

use anyhow::Result;

use super::each;
use crate::arguments::RmiArguments;
use crate::home::Home;
use crate::machine::Machines;
use crate::output::say;

/// Removes what it can, as Docker does: one image that cannot be removed does not keep the others.
pub fn rmi(home: &Home, arguments: &RmiArguments) -> Result<u8> {
    let store = home.images()?;
    let needed = Machines::open(home).images()?;
    each(&arguments.images, |image| {
        let removed = store.remove(image, arguments.force, &|id| needed.contains(&id.to_string()))?;
        removed.untagged.iter().try_for_each(|name| say(format_args!("Untagged: {name}")))?;
        removed.deleted.iter().try_for_each(|id| say(format_args!("Deleted: {id}")))
    })
}
