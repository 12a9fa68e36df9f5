//! Whether the model that answers is the one that was asked, by its name: servers write one model in several ways.

/// Endings that name a file and not a model.
const FILE_ENDINGS: [&str; 2] = [".gguf", ".safetensors"];

/// Whether `answered` can be another spelling of `asked`: without owner or folder, in other case, with Ollama's
/// `:latest`, as a file's name, or with the date of a version behind it. No name is no other name.
#[must_use]
pub fn is_same_model(asked: &str, answered: &str) -> bool {
    if answered == asked || answered.is_empty() {
        return true;
    }
    let (asked, answered) = (plain(asked), plain(answered));
    let is_dated = |long: &str, short: &str| {
        let rest = long.strip_prefix(short).and_then(|rest| rest.strip_prefix(['-', '@', ':']));
        rest.is_some_and(|rest| rest.len() >= 4 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
    };
    answered == asked || is_dated(&answered, &asked) || is_dated(&asked, &answered)
}

/// The last part of a path, in small letters, without what names a file or a default.
fn plain(name: &str) -> String {
    let last = name.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or(name).to_lowercase();
    let last = last.strip_suffix(":latest").unwrap_or(&last);
    FILE_ENDINGS.iter().find_map(|ending| last.strip_suffix(ending)).unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_is_the_same_model() {
        for (asked, answered) in [
            ("m", "m"),
            ("m", ""),
            ("meta-llama/Llama-3-8B", "llama-3-8b"),
            ("llama-3-8b", "/models/meta-llama/Llama-3-8B/"),
            ("llama2", "llama2:latest"),
            ("tiny", "/srv/models/tiny.gguf"),
            ("gpt-4o", "gpt-4o-2024-08-06"),
        ] {
            assert!(is_same_model(asked, answered), "{asked} {answered}");
        }
    }

    #[test]
    fn another_model_is_another_one() {
        for (asked, answered) in [
            ("llama-3-70b", "llama-3-8b"),
            ("llama-3", "llama-3-8b"),
            ("llama-3-8b", "llama-3-8b-awq"),
            ("llama2:13b", "llama2:7b"),
            ("llama2", "llama2:70b"),
            ("m", "n"),
        ] {
            assert!(!is_same_model(asked, answered), "{asked} {answered}");
        }
    }
}
