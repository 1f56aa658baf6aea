//! The order in which modules have to be loaded.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::modinfo::ModuleInfo;
use super::{Error, ModuleTree};

/// After so many looks at a module soft dependencies are no longer considered: what fails is tried again for everyone
/// who asks for it, and a made-up tree could go on with that for ever. Real kernels need a few hundred.
const LOOKS_LIMIT: usize = 100_000;

/// The modules that `roots` need, themselves included, each behind what it depends on. Built-in
/// ones are left out. The roots keep their order as far as dependencies allow, so that what is
/// wanted first is there first.
pub fn load_order(tree: &ModuleTree, roots: &[&str]) -> Result<Vec<String>, Error> {
    let mut order = Order {
        tree,
        known: HashMap::new(),
        placed: HashSet::new(),
        open: Vec::new(),
        modules: Vec::new(),
        looks: 0,
    };
    for root in roots {
        order.place(root, None)?;
    }
    Ok(order.modules)
}

struct Order<'a> {
    tree: &'a ModuleTree,
    /// What modules say of themselves, once they were unpacked for it.
    known: HashMap<String, Rc<ModuleInfo>>,
    placed: HashSet<String>,
    /// The chain of modules whose dependencies are being placed.
    open: Vec<String>,
    modules: Vec<String>,
    looks: usize,
}

impl Order<'_> {
    fn place(&mut self, name: &str, needed_by: Option<&str>) -> Result<(), Error> {
        if self.placed.contains(name) || self.tree.is_built_in(name) {
            return Ok(());
        }
        self.looks += 1;
        // No real chain is half as deep; a made-up one must not end the stack.
        if self.open.iter().any(|open| open == name) || self.open.len() > 64 {
            let names: Vec<_> = self.open.iter().take(8).map(String::as_str).collect();
            return Err(Error::Circle(names.join(", ")));
        }
        if !self.tree.has(name) {
            let name = name.to_owned();
            return Err(match needed_by {
                Some(needed_by) => Error::MissingDependency { name, needed_by: needed_by.into() },
                None => Error::Missing { name },
            });
        }
        self.open.push(name.to_owned());
        let info = self.info(name)?;
        for wanted in &info.wants_before {
            self.place_wanted(wanted)?;
        }
        for dependency in &info.depends {
            self.place(dependency, Some(name))?;
        }
        self.open.pop();
        self.placed.insert(name.to_owned());
        self.modules.push(name.to_owned());
        Ok(())
    }

    fn info(&mut self, name: &str) -> Result<Rc<ModuleInfo>, Error> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let info = Rc::new(self.tree.info(name)?);
        self.known.insert(name.to_owned(), info.clone());
        Ok(info)
    }

    /// A soft dependency is a module or a crypto algorithm's name, and nothing is wrong when there is none, when it
    /// depends on this very module (crypto_algapi wants cryptomgr, which uses it), or on one that is missing.
    fn place_wanted(&mut self, wanted: &str) -> Result<(), Error> {
        let provider = if self.tree.has(wanted) {
            wanted.to_owned()
        } else if self.tree.built_in_provides(wanted)
            || self.tree.built_in_provides(&format!("crypto-{wanted}"))
        {
            return Ok(());
        } else {
            match self.tree.crypto_providers(wanted)?.first() {
                Some(provider) => provider.clone(),
                None => return Ok(()),
            }
        };
        if self.open.contains(&provider) || self.looks > LOOKS_LIMIT {
            return Ok(());
        }
        let (open, modules) = (self.open.len(), self.modules.len());
        match self.place(&provider, None) {
            Err(Error::Circle(_) | Error::MissingDependency { .. }) => {
                self.open.truncate(open);
                for placed in self.modules.drain(modules..) {
                    self.placed.remove(&placed);
                }
                Ok(())
            }
            placed => placed,
        }
    }
}
