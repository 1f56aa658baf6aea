use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::matrix::cell::{End, Failure};
use crate::matrix::table::tests::plan_of;

/// A matrix of two kernels and two images: passed, exit code 3, panicked, skipped.
fn with_report(check: impl FnOnce(&Report<'_>)) {
    let mut plan = plan_of(2, 2, &[None]);
    plan.images[1] = "a|b <&\">".into();
    plan.cells[3].expectation.skip = Some("no such *thing*".into());
    let directory = tempfile::tempdir().unwrap();
    let folder = Folder::make(Some(&directory.path().join("out")), &plan).unwrap();
    let cell = PathBuf::from("k0/image0");
    fs::create_dir_all(folder.path().join(&cell)).unwrap();
    fs::write(folder.path().join(&cell).join("stdout"), b"]]> & \x1b\xff\n").unwrap();
    let ran = |end: End, verdict: Verdict| Trial {
        end: Some(end),
        duration: Duration::from_millis(1250),
        folder: Some(cell.clone()),
        ..Trial::without_machine(verdict)
    };
    let exit = Failure::ExitCode { code: 3, expected: 0 };
    let mut panicked = ran(End::Panicked, Verdict::Failed(Failure::Panicked));
    panicked.kernel_lines = vec!["Kernel panic - not syncing: \u{1}".into()];
    let trials = [
        ran(End::Exited { code: 0 }, Verdict::Passed),
        ran(End::Exited { code: 3 }, Verdict::Failed(exit)),
        panicked,
        Trial::without_machine(Verdict::Skipped),
    ];
    let trials = trials.into_iter().enumerate().collect();
    check(&Report { plan: &plan, trials: &trials, folder: &folder, bisect: None });
}

#[test]
fn the_table_and_the_tally_say_what_came_of_each() {
    with_report(|report| {
        let table = report.render(MatrixFormat::Table).unwrap();
        assert_eq!(
            table.lines().collect::<Vec<_>>(),
            [
                "KERNEL   RELEASE    image0          a|b <&\">",
                "k0       0.0-test   passed 1.2s     exit 3 1.2s",
                "k1       1.0-test   panicked 1.2s   skipped"
            ]
        );
        assert_eq!(report.tally().to_string(), "4 cells: 1 passed, 2 failed, 1 skipped");
        let shortened = Tally { shortened: 1, ..report.tally() };
        assert_eq!(
            shortened.to_string(),
            "4 cells: 1 passed, 2 failed, 1 skipped; 1 wrote more than is kept"
        );
        let complaints = report.complaints();
        assert_eq!(complaints[0], "a|b <&\"> on k0: failed: exit code 3 (1.2s)");
        assert!(
            complaints[1].contains("panicked") && complaints[1].contains("not syncing"),
            "{complaints:?}"
        );
    });
}

#[test]
fn json_has_all_of_it() {
    with_report(|report| {
        let json: serde_json::Value =
            serde_json::from_str(&report.render(MatrixFormat::Json).unwrap()).unwrap();
        assert_eq!(json["summary"]["failed"], 2);
        let cells = json["cells"].as_array().unwrap();
        assert_eq!((&cells[1]["exit_code"], &cells[1]["result"]), (&3.into(), &"failed".into()));
        assert_eq!((&cells[2]["end"], &cells[2]["exit_code"]), (&"panic".into(), &serde_json::Value::Null));
        assert!(cells[2]["kernel_log"][0].as_str().unwrap().contains("not syncing"));
        assert_eq!(cells[3]["reason"], "no such *thing*");
        report.keep().unwrap();
        assert!(report.folder.path().join(DOCUMENT).exists());
    });
}

#[test]
fn junit_is_xml_whatever_is_in_it() {
    use quick_xml::Reader;
    use quick_xml::events::Event;
    with_report(|report| {
        let xml = report.render(MatrixFormat::Junit).unwrap();
        assert!(xml.chars().all(|character| character == '\n' || !character.is_control()), "{xml}");
        let mut reader = Reader::from_str(&xml);
        let mut elements = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) | Event::Empty(start) => {
                    for attribute in start.attributes() {
                        attribute.unwrap();
                    }
                    elements.push(start.name().as_ref().to_owned());
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let count = |name: &str| elements.iter().filter(|element| *element == name).count();
        assert_eq!(["testsuite", "testcase", "failure", "skipped"].map(count), [2, 4, 2, 1]);
        let root = xml.lines().nth(1).unwrap();
        assert!(root.contains("tests=\"4\" failures=\"2\" errors=\"0\" time=\"3.750\">"), "{root}");
        assert!(xml.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("name=\"a|b &lt;&amp;&quot;&gt;\"") && xml.contains("]]&gt; &amp;"), "{xml}");
    });
}

#[test]
fn markdown_is_a_table_whatever_names_are() {
    with_report(|report| {
        let text = report.render(MatrixFormat::Markdown).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| KERNEL | RELEASE | image0 | a\\|b \\<&\"\\> |");
        assert_eq!(lines[1], "|---|---|---|---|");
        assert_eq!(lines[2], "| k0 | 0.0-test | passed 1.2s | **exit 3** 1.2s |");
        assert!(text.contains("\n4 cells: 1 passed, 2 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("skipped: no such \\*thing\\*"), "{text}");
    });
}
