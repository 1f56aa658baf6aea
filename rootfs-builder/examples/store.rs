//! The store from a command line, for trying and measuring it alone:
//!
//! ```text
//! cargo run --release -p rootfs-builder --example store -- DIR load PATH [NAME]
//! … DIR import FILE NAME | images | resolve NAME | rmi NAME | export NAME FILE | collect
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rootfs_builder::progress::Silent;
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{DiskFormat, ImportConfig, LoadSource, Store};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = Instant::now();
    if let Err(error) = run(&arguments) {
        eprintln!("{error}");
        std::process::exit(125);
    }
    eprintln!("{:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let open = |root: &str| Store::open(Path::new(root));
    match arguments {
        [root, "load", path] => load(&open(root)?, path, None),
        [root, "load", path, name] => load(&open(root)?, path, Some(&name.parse()?)),
        [root, "import", file, name] => {
            let config = ImportConfig { cmd: vec!["/bin/sh".into()], ..ImportConfig::default() };
            let loaded = open(root)?.import(reader(file)?, &name.parse()?, config, &Silent)?;
            println!("{}", loaded.id);
            Ok(())
        }
        [root, "images"] => {
            for image in open(root)?.images()? {
                let name = image.reference.map_or("<none>".into(), |name| name.to_string());
                println!("{name}\t{}\t{}", image.id.short(), image.size);
            }
            Ok(())
        }
        [root, "resolve", name] => {
            let image = open(root)?.resolve(name)?;
            println!("{:?}\n{:#?}", image.config(), image.disk());
            Ok(())
        }
        [root, "rmi", name] => {
            println!("{:?}", open(root)?.remove(name, false, &|_| false)?);
            Ok(())
        }
        [root, "export", name, file] => {
            let store = open(root)?;
            let image = store.resolve(name)?;
            println!("{}", store.export_rootfs(&image, DiskFormat::Erofs, &mut File::create(file)?)?);
            Ok(())
        }
        [root, "collect"] => {
            println!("{}", open(root)?.collect()?);
            Ok(())
        }
        _ => Err("see the first lines of examples/store.rs".into()),
    }
}

fn load(store: &Store, path: &str, name: Option<&Reference>) -> Result<(), Box<dyn Error>> {
    let source = match Path::new(path).is_dir() {
        true => LoadSource::Directory(PathBuf::from(path)),
        false => LoadSource::Archive(reader(path)?),
    };
    for loaded in store.load(source, name, &Silent)? {
        let name = loaded.reference.map_or("<none>".into(), |name| name.to_string());
        println!("{name}\t{}", loaded.id);
        loaded.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    }
    Ok(())
}

fn reader(path: &str) -> io::Result<Box<dyn Read>> {
    match path {
        "-" => Ok(Box::new(io::stdin())),
        path => Ok(Box::new(File::open(path)?)),
    }
}
