//! `vmrun rootfs`: an image's root file system as one file.

use anyhow::Result;
use rootfs_builder::store::DiskFormat;

use crate::arguments::RootfsArguments;
use crate::home::Home;
use crate::machine::FormatChoice;
use crate::whole_file::write_whole;

pub fn rootfs(home: &Home, arguments: &RootfsArguments) -> Result<u8> {
    let store = home.images()?;
    let image = store.resolve(&arguments.image)?;
    let format = match arguments.format {
        FormatChoice::Erofs => DiskFormat::Erofs,
        FormatChoice::Ext4 => DiskFormat::Ext4,
    };
    write_whole(&arguments.output, |file| {
        match arguments.flat {
            true => store.export_flat(&image, format, file)?,
            false => store.export_rootfs(&image, format, file)?,
        };
        Ok(())
    })?;
    Ok(0)
}
