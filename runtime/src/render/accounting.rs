//! The sum that every trial owes its reader: each request that was due, and how it ended.

use std::collections::BTreeMap;

use hb_core::report::Accounting;

use super::{
    figures,
    markup::{escape, table},
};

/// The parts of an accounting, with the class of their colour.
fn parts(accounting: &Accounting) -> [(&'static str, &'static str, u64); 6] {
    [
        ("completed", "done", accounting.completed),
        ("failed", "failed", accounting.failed.values().sum()),
        ("timed out", "late", accounting.timed_out),
        ("cancelled", "given-up", accounting.cancelled),
        ("dropped", "unsent", accounting.dropped.values().sum()),
        ("lost", "gone", accounting.lost),
    ]
}

/// The bar, the sum, and what it is made of.
pub(crate) fn section(measured: &Accounting, others: &BTreeMap<String, Accounting>) -> String {
    let mut rows = vec![row("measured", measured)];
    rows.extend(others.iter().map(|(phase, accounting)| row(phase, accounting)));
    let head = ["Phase", "Due", "Completed", "Failed", "Timed out", "Cancelled", "Dropped", "Lost"];
    format!(
        "<h3>Every request that was due</h3>\n{}{}{}{}",
        bar(measured),
        sum(measured),
        kinds(measured),
        if others.is_empty() { String::new() } else { table("numbers", &head, rows) }
    )
}

fn row(phase: &str, accounting: &Accounting) -> Vec<String> {
    let counts = parts(accounting).map(|(_, _, count)| figures::count(count));
    [escape(phase), figures::count(accounting.due)].into_iter().chain(counts).collect()
}

fn bar(accounting: &Accounting) -> String {
    let total: u64 = parts(accounting).iter().map(|(_, _, count)| count).sum();
    if total == 0 {
        return String::new();
    }
    let part = |(name, class, count): (&str, &str, u64)| match count {
        0 => String::new(),
        _ => format!("<span class=\"{class}\" style=\"flex-grow:{count}\" title=\"{} {name}\"></span>", figures::count(count)),
    };
    format!("<div class=\"bar\" aria-hidden=\"true\">{}</div>\n", parts(accounting).map(part).concat())
}

/// `1,200 due = 1,195 completed + 5 failed`, and whether that is so.
fn sum(accounting: &Accounting) -> String {
    let total: u64 = parts(accounting).iter().map(|(_, _, count)| count).sum();
    let shown = parts(accounting).into_iter().filter(|(_, class, count)| *count > 0 || *class == "done");
    let terms: Vec<String> = shown
        .map(|(name, class, count)| format!("<span class=\"term {class}\">{} {name}</span>", figures::count(count)))
        .collect();
    let judged = if total == accounting.due {
        "<span class=\"balanced\">✓ balances</span>".to_owned()
    } else {
        format!("<span class=\"unbalanced\">✕ does not balance: the parts sum to {}</span>", figures::count(total))
    };
    format!(
        "<p class=\"sum\"><b>{} due</b> {} {} {judged}</p>\n",
        figures::count(accounting.due),
        if total == accounting.due { "=" } else { "≠" },
        terms.join(" + ")
    )
}

/// What failed and what was dropped, by kind.
fn kinds(accounting: &Accounting) -> String {
    let list = |name: &str, kinds: &BTreeMap<String, u64>| {
        let texts: Vec<String> =
            kinds.iter().map(|(kind, count)| format!("<code>{}</code> {}", escape(kind), figures::count(*count))).collect();
        if texts.is_empty() { String::new() } else { format!("<p class=\"note\">{name}: {}</p>\n", texts.join(", ")) }
    };
    list("Failed by kind", &accounting.failed) + &list("Dropped by cause", &accounting.dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_does_not_balance_says_so() {
        let mut accounting =
            Accounting { due: 10, completed: 8, failed: [("http_503".to_owned(), 2)].into(), ..Accounting::default() };
        assert!(sum(&accounting).contains("✓ balances"));
        accounting.lost = 1;
        let text = sum(&accounting);
        assert!(text.contains("≠") && text.contains("the parts sum to 11"), "{text}");
    }
}
