//! What the verbs about the store as a whole take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Command, Format, HistoryArguments, ImagesArguments, InspectArguments, InspectType};
use super::{LoadArguments, PullArguments, PushArguments, RmiArguments, TagArguments};

/// Writes images to one archive. Layers are written as they are stored; the same images make the same bytes.
#[derive(Debug, Args)]
pub struct SaveArguments {
    /// The file to write [default: standard output, if that is no terminal]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whose archive [default: both at once, as newer Dockers write it]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<SaveFormat>,
    /// Names or IDs; an image saved by its ID has no name in the archive
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SaveFormat {
    Oci,
    Docker,
}

/// Shows what images take on disk, in bytes that the file system has allocated. SHARED is what other images need,
/// too; UNIQUE goes when the image goes. RECLAIMABLE is what `vmrun prune --all` gives back.
#[derive(Debug, Args)]
pub struct DfArguments {
    /// Show layers, too
    #[arg(short, long)]
    pub verbose: bool,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Removes images without a name, and whatever killed commands left behind. Images that a machine runs on stay.
#[derive(Debug, Args)]
pub struct PruneArguments {
    /// Remove every image that no machine is made of
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Only images with until=TIME or AGE (such as 24h), label=NAME[=VALUE], label!=NAME[=VALUE]
    /// (may be repeated)
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Docker's long forms.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImagesArguments),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(RmiArguments),
    /// Show all that is known of images
    Inspect(InspectArguments),
    /// Show an image's layers
    History(HistoryArguments),
    /// Give an image one more name
    Tag(TagArguments),
    /// Add images from an archive or an OCI image layout
    Load(LoadArguments),
    /// Write images to an archive
    Save(SaveArguments),
    /// Get an image from a registry
    Pull(PullArguments),
    /// Put an image into a registry
    Push(PushArguments),
    /// Remove images that nobody needs
    Prune(PruneArguments),
}

/// Docker's long forms.
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Show what images take on disk
    Df(DfArguments),
    /// Remove images that nobody needs
    Prune(PruneArguments),
}

impl From<ImageCommand> for Command {
    fn from(command: ImageCommand) -> Command {
        match command {
            ImageCommand::Ls(images) => Command::Images(images),
            ImageCommand::Rm(rmi) => Command::Rmi(rmi),
            ImageCommand::Inspect(inspect) => {
                Command::Inspect(InspectArguments { r#type: Some(InspectType::Image), ..inspect })
            }
            ImageCommand::History(history) => Command::History(history),
            ImageCommand::Tag(tag) => Command::Tag(tag),
            ImageCommand::Load(load) => Command::Load(load),
            ImageCommand::Save(save) => Command::Save(save),
            ImageCommand::Pull(pull) => Command::Pull(pull),
            ImageCommand::Push(push) => Command::Push(push),
            ImageCommand::Prune(prune) => Command::Prune(prune),
        }
    }
}

impl From<SystemCommand> for Command {
    fn from(command: SystemCommand) -> Command {
        match command {
            SystemCommand::Df(df) => Command::Df(df),
            SystemCommand::Prune(prune) => Command::Prune(prune),
        }
    }
}
