//! Text on its way into HTML and SVG. Nothing reaches a page but through here.

use std::fmt::{Display, Write};

/// A text with everything that HTML could take for markup made harmless, in attributes too.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in the page and could move a terminal's cursor.
            letter if letter.is_control() && letter != '\n' && letter != '\t' => safe.push('\u{FFFD}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// An element around content that is already markup.
pub(crate) fn element(tag: &str, attributes: &str, content: impl Display) -> String {
    let space = if attributes.is_empty() { "" } else { " " };
    format!("<{tag}{space}{attributes}>{content}</{tag}>")
}

/// An element around plain text.
pub(crate) fn text(tag: &str, attributes: &str, plain: &str) -> String {
    element(tag, attributes, escape(plain))
}

/// A table that scrolls sideways in itself when the screen is narrow. Cells are markup.
pub(crate) fn table(class: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut body = String::new();
    for row in rows {
        body.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(body, "<th scope=\"row\">{cell}</th>"),
                _ => write!(body, "<td>{cell}</td>"),
            };
        }
        body.push_str("</tr>\n");
    }
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"table\"><table class=\"{class}\"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_markup() {
        assert_eq!(escape("<script>\"&'\u{1b}[2J"), "&lt;script&gt;&quot;&amp;&#39;\u{FFFD}[2J");
    }
}
