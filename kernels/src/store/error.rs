//! What can go wrong with the stored kernels.

use std::io;
use std::path::PathBuf;

use super::LONGEST_NAME;
use crate::feature::Feature;
use crate::{image, modules, source};

/// Why something could not be done with the stored kernels. Each is one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use {} as the store of kernels: {cause}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot store {what} in {}: {cause}", store.display())]
    Store {
        what: &'static str,
        store: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot take a kernel from {}: {cause}", path.display())]
    Source {
        path: PathBuf,
        #[source]
        cause: source::Error,
    },
    #[error("cannot take a kernel from {sources}: {cause}")]
    Image {
        sources: String,
        #[source]
        cause: image::Error,
    },
    #[error(
        "there are modules in {sources}, but no kernel: add the package that has boot/vmlinuz-{version} \
         (Ubuntu's linux-image-…, Fedora's kernel-core-…) in the same command"
    )]
    NoImage { sources: String, version: String },
    #[error("there is no kernel in {sources}")]
    Empty { sources: String },
    #[error("there is no kernel of release {release} in {sources}")]
    NoRelease { sources: String, release: String },
    #[error(
        "the kernel in {sources} is {version}, and goes by another name than its modules or its configuration: give its \
         whole release, --release {version}"
    )]
    LeftOut { sources: String, version: String },
    #[error("the kernel is version {kernel}, but its modules are for {modules}")]
    Versions { kernel: String, modules: String },
    #[error(
        "there is the kernel {version} in {sources}, but neither modules nor a configuration, without which nobody knows \
         what it can do: add the package that has lib/modules/{version} (Ubuntu's linux-modules-…) in the same command"
    )]
    NoModules { sources: String, version: String },
    #[error(
        "{0:?} cannot be a kernel's name: letters, digits, and inside it the signs . _ + - ~ : make one, at most \
         {LONGEST_NAME} of them"
    )]
    Name(String),
    #[error("there is another kernel named {0} already: choose a name with --name, or remove it")]
    Exists(String),
    #[error("there is no kernel named {0}: `vmrun kernel ls` lists those there are")]
    NotFound(String),
    #[error(
        "there is no default kernel: get one with `vmrun kernel pull debian:6.12`, give one with `vmrun kernel add`, or \
             choose one of `vmrun kernel ls` with `vmrun kernel default`"
    )]
    NoDefault,
    #[error("the kernel {0} was replaced or removed while it was being started: try again")]
    Replaced(String),
    #[error("the stored kernel {name} is damaged: {why}: remove it and add it again")]
    Damaged { name: String, why: String },
    #[error(
        "the stored kernel {0} was made by a newer vmrun: upgrade vmrun, or remove the kernel and add it again"
    )]
    Newer(String),
    #[error("the kernel {kernel} lacks {missing}, needed for {feature}")]
    Lacks { kernel: String, feature: Feature, missing: String },
    #[error("the kernel {kernel}: {cause}")]
    Modules {
        kernel: String,
        #[source]
        cause: modules::Error,
    },
}
