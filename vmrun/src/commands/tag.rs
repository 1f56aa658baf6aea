//! `vmrun tag`: one more name for an image.

use anyhow::Result;

use crate::arguments::TagArguments;
use crate::home::Home;

pub fn tag(home: &Home, arguments: &TagArguments) -> Result<u8> {
    home.images()?.tag(&arguments.source, &arguments.target.parse()?)?;
    Ok(0)
}
