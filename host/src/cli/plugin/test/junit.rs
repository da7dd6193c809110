//! Results as JUnit XML, which build servers read.

use super::{Complaint, Played};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

pub(super) fn report(plugin: &str, played: &[Played]) -> Result<String, Complaint> {
    let mut report = Report::new(plugin);
    for file in played {
        let mut suite = TestSuite::new(file.path.display().to_string());
        for verdict in &file.verdicts {
            let status = match verdict.problems.as_slice() {
                [] => TestCaseStatus::success(),
                problems => {
                    let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    failed.set_message(problems.first().map_or("", String::as_str)).set_description(problems.join("\n"));
                    failed
                }
            };
            let mut case = TestCase::new(&*verdict.name, status);
            case.set_classname(plugin).set_time(verdict.took).set_system_out(verdict.lines.join("\n"));
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|e| Complaint::failed(format!("the JUnit file could not be made: {e}")))
}
