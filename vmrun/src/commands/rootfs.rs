//! `vmrun rootfs`: an image's root file system as one file.

use anyhow::Result;

use crate::arguments::RootfsArguments;
use crate::home::Home;
use crate::whole_file::write_whole;

pub fn rootfs(home: &Home, arguments: &RootfsArguments) -> Result<u8> {
    let store = home.images()?;
    let image = store.resolve(&arguments.image)?;
    write_whole(&arguments.output, |file| {
        match arguments.flat {
            true => store.export_flat(&image, file)?,
            false => store.export_rootfs(&image, file)?,
        };
        Ok(())
    })?;
    Ok(0)
}
