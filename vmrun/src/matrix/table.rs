//! The grid of a matrix: programs across and kernels down, or the other way round where images are many.

use unicode_width::UnicodeWidthStr;

use super::plan::Plan;

/// What a cell comes to in a few words, or is about to.
pub type Text<'a> = &'a dyn Fn(usize) -> String;

/// Rows of a table, the first its heading.
pub fn grid(plan: &Plan, text: Text<'_>) -> Vec<Vec<String>> {
    let mut programs = Vec::new();
    for image in 0..plan.images.len() {
        programs.extend((0..plan.commands.len()).map(|command| (image, command)));
    }
    let title = |(image, command): (usize, usize)| plan.program(image, command);
    let kernels = 0..plan.kernels.len();
    if programs.len() > plan.kernels.len() {
        let names = plan.kernels.iter().map(|kernel| kernel.name.clone());
        let heading = ["IMAGE".to_owned()].into_iter().chain(names).collect();
        let rows = programs.iter().map(|&(image, command)| {
            let cells = kernels.clone().map(|kernel| text(plan.index(kernel, image, command)));
            [title((image, command))].into_iter().chain(cells).collect()
        });
        return [heading].into_iter().chain(rows).collect();
    }
    let heading = ["KERNEL", "RELEASE"].map(str::to_owned).into_iter();
    let heading = heading.chain(programs.iter().copied().map(title)).collect();
    let rows = plan.kernels.iter().zip(kernels).map(|(choice, kernel)| {
        let cells = programs.iter().map(|&(image, command)| text(plan.index(kernel, image, command)));
        [choice.name.clone(), choice.release.clone()].into_iter().chain(cells).collect()
    });
    [heading].into_iter().chain(rows).collect()
}

/// The rows as lines, each column as wide as its widest cell, and at least as wide as `least`.
pub fn lines(rows: &[Vec<String>], least: usize) -> Vec<String> {
    let mut widths = vec![least; rows.first().map_or(0, Vec::len)];
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |row: &Vec<String>| {
        let padded = |(cell, width): (&String, &usize)| {
            format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width())))
        };
        let cells: Vec<String> = row.iter().zip(&widths).map(padded).collect();
        cells.join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Names come from files; a terminal must not obey them.
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::matrix::cell::{Cell, Expectation};
    use crate::matrix::plan::{KernelChoice, NamedCommand};

    /// A plan of that many kernels and images, and those commands.
    pub fn plan_of(kernels: usize, images: usize, commands: &[Option<&str>]) -> Plan {
        let choice =
            |number| KernelChoice { name: format!("k{number}"), release: format!("{number}.0-test") };
        let command =
            |name: &Option<&str>| NamedCommand { name: name.map(str::to_owned), words: vec!["true".into()] };
        let mut plan = Plan {
            kernels: (0..kernels).map(choice).collect(),
            images: (0..images).map(|number| format!("image{number}")).collect(),
            commands: commands.iter().map(command).collect(),
            cells: Vec::new(),
        };
        for kernel in 0..kernels {
            for image in 0..images {
                for command in 0..commands.len() {
                    let expectation = Expectation::default();
                    let cell = Cell { kernel, image, command, words: Vec::new(), timeout: None, expectation };
                    plan.cells.push(cell);
                }
            }
        }
        plan
    }

    #[test]
    fn kernels_are_rows_unless_images_are_more() {
        let text = |cell: usize| format!("cell {cell}");
        assert_eq!(
            lines(&grid(&plan_of(2, 1, &[None]), &text), 0),
            ["KERNEL   RELEASE    image0", "k0       0.0-test   cell 0", "k1       1.0-test   cell 1"]
        );
        assert_eq!(
            lines(&grid(&plan_of(1, 2, &[None]), &text), 0),
            ["IMAGE    k0", "image0   cell 0", "image1   cell 1"]
        );
        let named = grid(&plan_of(2, 1, &[Some("a"), Some("b")]), &text);
        assert_eq!(named[0], ["KERNEL", "RELEASE", "image0 a", "image0 b"]);
        assert_eq!(named[2], ["k1", "1.0-test", "cell 2", "cell 3"]);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        assert_eq!(lines(&[vec!["a\x1b[2Jb".into()]], 0), ["a?[2Jb"]);
    }

    #[test]
    fn columns_stand_below_one_another_whatever_the_script() {
        let rows =
            [["中文", "x"], ["abcd", "y"], ["e\u{301}", "z"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(lines(&rows, 0), ["中文   x", "abcd   y", "e\u{301}      z"]);
    }
}
