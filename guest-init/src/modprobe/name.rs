//! Names of modules, as they are looked up and as the files are called.

/// A module's name or alias as it is looked up: dashes are underscores, except in brackets.
pub fn with_underscores(name: &str) -> String {
    let mut in_brackets = false;
    let letters = name.chars().map(|letter| {
        in_brackets = (in_brackets || letter == '[') && letter != ']';
        if letter == '-' && !in_brackets { '_' } else { letter }
    });
    letters.collect()
}

/// `kernel/fs/erofs/erofs.ko` is `erofs`.
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    with_underscores(file.strip_suffix(".ko").unwrap_or(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_stay_in_brackets() {
        assert_eq!(with_underscores("net-pf-[0-9]-x"), "net_pf_[0-9]_x");
    }
}
