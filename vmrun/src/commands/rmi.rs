//! `vmrun rmi`: remove images.

use anyhow::Result;

use crate::arguments::RmiArguments;
use crate::home::Home;
use crate::machine::Machines;
use crate::output::complain;

/// Removes what it can, as Docker does: one image that cannot be removed does not keep the others.
pub fn rmi(home: &Home, arguments: &RmiArguments) -> Result<u8> {
    let store = home.images()?;
    let needed = Machines::open(home).images()?;
    let mut code = 0;
    for image in &arguments.images {
        match store.remove(image, arguments.force, &|id| needed.contains(&id.to_string())) {
            Ok(removed) => {
                removed.untagged.iter().for_each(|name| println!("Untagged: {name}"));
                removed.deleted.iter().for_each(|id| println!("Deleted: {id}"));
            }
            Err(error) => {
                complain(&error.into());
                code = crate::FAILED;
            }
        }
    }
    Ok(code)
}
