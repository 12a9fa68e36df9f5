//! One CSV record: fields between commas, quoted where they hold commas, quotes or line ends.

/// The record's fields.
///
/// # Errors
/// A quote that is not closed, or text after one that is.
pub(super) fn fields(record: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = record.strip_suffix('\r').unwrap_or(record);
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            None => match rest.split_once(',') {
                Some((field, after)) => (field.to_owned(), Some(after)),
                None => (rest.to_owned(), None),
            },
            Some(quoted) => {
                let (field, after) = unquoted(quoted)?;
                match after.strip_prefix(',') {
                    None if after.is_empty() => (field, None),
                    None => return Err("there is text after a closing quote".into()),
                    after => (field, after),
                }
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A quoted field, and what follows its closing quote.
fn unquoted(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart() {
        for (record, expected) in [
            ("5,ChatGPT,472", &["5", "ChatGPT", "472"][..]),
            ("a,\"b, \"\"c\"\"\nd\",", &["a", "b, \"c\"\nd", ""]),
            ("\"\"\r", &[""]),
            ("", &[""]),
        ] {
            assert_eq!(fields(record).unwrap(), expected, "{record}");
        }
        assert!(fields("a,\"b").unwrap_err().contains("not closed"));
        assert!(fields("\"a\"b,c").unwrap_err().contains("after a closing quote"));
    }
}
