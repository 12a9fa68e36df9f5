//! The verdict: the first thing on the page, with the figures that it rests on.

use hb_core::{
    report::Report,
    verdict::{Reason, Status, Verdict},
};

use super::{
    badge,
    markup::{escape, text},
    status_class, status_word,
};

/// The run's verdict with its reasons.
pub(crate) fn banner(report: &Report) -> String {
    let status = report.verdict.status;
    let lead = match (status, report.trials.is_empty()) {
        (_, true) => "No trial was begun: there is nothing to judge.",
        (Status::Valid, _) => "Nothing was found that makes these figures doubtful.",
        (Status::Suspect, _) => "Look at the reasons before you rely on these figures.",
        (Status::Invalid, _) => "Do not use these figures.",
    };
    let cut_short = report.incomplete_beside_verdict();
    let cut_short = cut_short.map(|why| format!("<p class=\"cut\"><b>The run was not completed:</b> {}</p>", escape(why)));
    format!(
        "<section class=\"verdict {}\" aria-label=\"verdict\">\n<p class=\"word\">{}</p>\n<div><p class=\"lead\">{lead}</p>{}{}</div>\n</section>\n",
        status_class(status),
        status_word(status),
        cut_short.unwrap_or_default(),
        reasons(&report.verdict)
    )
}

/// The reasons as a list; nothing if there are none.
pub(crate) fn reasons(verdict: &Verdict) -> String {
    if verdict.reasons.is_empty() {
        return String::new();
    }
    format!("<ul class=\"reasons\">\n{}</ul>\n", verdict.reasons.iter().map(reason).collect::<String>())
}

fn reason(reason: &Reason) -> String {
    let figures = reason.figures().map(|figures| text("span", "class=\"figure\"", &figures));
    format!(
        "<li>{} {} {} <code>{}</code></li>\n",
        badge(reason.status),
        escape(&reason.message),
        figures.unwrap_or_default(),
        escape(&reason.code)
    )
}
