//! What to write where a server points elsewhere. Nobody follows it: in the load its time would be in every answer.

use reqwest::{Response, Url, header::LOCATION};

/// Says where an answer to a question about `path` points, and the URL to write instead.
pub(super) fn sentence(answer: &Response, path: &str) -> String {
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    said(answer.url(), path, location)
}

fn said(asked: &Url, path: &str, location: Option<&str>) -> String {
    let Some(mut target) = location.and_then(|location| asked.join(location).ok()) else {
        return "a redirection without a `Location`, which is not followed; write the URL of the server behind it".to_owned();
    };
    // What is shown is no place for secrets.
    target.set_query(None);
    target.set_fragment(None);
    let (is_named, is_itself) = (target.set_username("").is_ok() && target.set_password(None).is_ok(), target == *asked);
    let begun = if is_named { format!("it points to `{target}`, and is not followed") } else { "it points elsewhere".to_owned() };
    match target.as_str().strip_suffix(path) {
        Some(base) if !is_itself => {
            format!("{begun}; write `{base}` instead, in `servers.endpoints` or as the URL of `hbnode bench`")
        }
        _ => format!("{begun}; as `{path}` is asked of every server, no URL leads there: write that of the server behind it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(location: Option<&str>, expected: &str) {
        let asked = Url::parse("http://old:8000/v1/completions").unwrap();
        let sentence = said(&asked, "/v1/completions", location);
        assert!(sentence.contains(expected), "{location:?}: {sentence}");
    }

    #[test]
    fn the_url_to_write_is_the_one_that_the_same_path_belongs_to() {
        check(
            Some("https://new/v1/completions"),
            "it points to `https://new/v1/completions`, and is not followed; write `https://new` instead",
        );
        check(Some("/team/v1/completions"), "write `http://old:8000/team` instead");
        check(Some("https://u:secret@new/v1/completions?key=secret"), "it points to `https://new/v1/completions`");
        for nowhere in ["/v2/completions", "/v1/completions/", "/v1/completions", "https://new/login"] {
            check(Some(nowhere), "no URL leads there");
        }
        check(Some("http://["), "without a `Location`");
        check(None, "without a `Location`");
    }
}
