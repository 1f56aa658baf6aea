//! From what the kernel asks for to modules that are loaded, in order.

use rustix::fd::OwnedFd;

use super::load::load;
use super::name::{name_of, with_underscores};
use super::rules::Rules;
use super::trie::Trie;

/// Soft dependencies go no deeper in any real kernel.
const DEEPEST: usize = 16;

pub struct Resolver<'a> {
    disk: &'a OwnedFd,
    rules: &'a Rules,
    /// Modules that have been dealt with, and how.
    done: Vec<(String, bool)>,
    depth: usize,
}

impl<'a> Resolver<'a> {
    pub fn new(disk: &'a OwnedFd, rules: &'a Rules) -> Resolver<'a> {
        Resolver { disk, rules, done: Vec::new(), depth: 0 }
    }

    /// Loads all that `name` stands for: a module, or every one that has it as an alias. Whether that is there now.
    pub fn request(&mut self, name: &str) -> bool {
        let name = with_underscores(name);
        let named = self.rules.aliases_of(&name);
        if !named.is_empty() {
            return self.all(&named, true);
        }
        if self.line_of(&name).is_some() {
            return self.all(&[name], false);
        }
        match self.look_up("modules.alias.bin", &name) {
            modules if modules.is_empty() => self.is_built_in(&name),
            modules => self.all(&modules, true),
        }
    }

    fn all(&mut self, modules: &[String], by_alias: bool) -> bool {
        let mut loaded = false;
        for module in modules {
            if !(by_alias && self.rules.is_blacklisted(module)) {
                loaded |= self.module(module);
            }
        }
        loaded
    }

    /// Loads a module with what it needs and wants. Whether it is there now.
    fn module(&mut self, name: &str) -> bool {
        if let Some((_, loaded)) = self.done.iter().find(|(done, _)| done == name) {
            return *loaded;
        }
        let Some(line) = self.line_of(name) else { return self.is_built_in(name) };
        // It counts as loaded while it is being loaded: soft dependencies may go round.
        self.done.push((name.to_owned(), true));
        let place = self.done.len() - 1;
        let loaded = self.depth < DEEPEST && !self.rules.is_replaced(name) && self.with_others(name, &line);
        self.done[place].1 = loaded;
        loaded
    }

    /// `line` is the module's of modules.dep: its file, and those that it needs, the last to be loaded first.
    fn with_others(&mut self, name: &str, line: &str) -> bool {
        let Some((path, needed)) = line.split_once(':') else { return false };
        self.depth += 1;
        let (before, after) = self.rules.soft_dependencies(name);
        for wanted in before {
            self.request(&wanted);
        }
        let ready = needed.split_whitespace().rev().all(|path| self.module(&name_of(path)));
        let loaded = ready && load(self.disk, path, &self.rules.options(name));
        for wanted in after.iter().filter(|_| loaded) {
            self.request(wanted);
        }
        self.depth -= 1;
        loaded
    }

    fn line_of(&self, name: &str) -> Option<String> {
        Trie::open(self.disk, "modules.dep.bin").and_then(|trie| trie.exact(name)).ok()?.into_iter().next()
    }

    fn look_up(&self, index: &str, alias: &str) -> Vec<String> {
        Trie::open(self.disk, index).and_then(|trie| trie.matching(alias)).unwrap_or_default()
    }

    fn is_built_in(&self, name: &str) -> bool {
        let built_in = Trie::open(self.disk, "modules.builtin.bin").and_then(|trie| trie.exact(name));
        built_in.is_ok_and(|found| !found.is_empty())
            || !self.look_up("modules.builtin.alias.bin", name).is_empty()
    }
}
