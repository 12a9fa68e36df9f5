//! The command line as it may be kept: without what was a secret in it.

use hb_core::secret_names::{self, names_secret};

/// Names of fields that only say where a secret is.
const POINTERS: [&str; 2] = ["api_key_env", "api_key_file"];
const MASK: &str = "***";

/// The words with secret values masked: of settings whose field is named like one, of variables for a service, and
/// of URLs with a user's password or with a query.
pub fn words_without_secrets(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_setting = false;
    let mask = |word: String| {
        let (head, setting) = match word.strip_prefix("--set=") {
            Some(setting) => ("--set=", Some(setting)),
            None => ("", is_setting.then_some(word.as_str())),
        };
        is_setting = word == "--set";
        let masked = setting.and_then(masked_setting).map(|setting| format!("{head}{setting}"));
        masked_urls(&masked.unwrap_or(word))
    };
    words.map(mask).collect()
}

fn masked_setting(setting: &str) -> Option<String> {
    let (field, value) = setting.split_once('=')?;
    let last = field.rsplit('.').next().unwrap_or(field).to_lowercase();
    let is_secret = names_secret(&last) && !POINTERS.contains(&last.as_str());
    // Variables of a service may hold anything.
    let is_variable = field.split('.').any(|part| part == "environment" || part == "env");
    // A block is kept whole or not at all.
    let block = value.to_lowercase();
    let is_doubtful = value.contains('{') && secret_names::PARTS.iter().chain(&["env"]).any(|part| block.contains(part));
    // So are the words for a server of which one is an option such as `--api-key`.
    let has_option = block.split(['[', ']', ',', ' ', '\'', '"', '=']).any(|word| word.starts_with('-') && names_secret(word));
    (is_secret || is_variable || is_doubtful || has_option).then(|| format!("{field}={MASK}"))
}

/// Masks what stands between a URL's scheme and its `@`, and the values of its query.
fn masked_urls(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let (authority, path) = match rest.find(['/', '?', '#', '\'', '"', ' ', ',']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let query = query.map_or_else(String::new, |query| {
        let values =
            query.split('&').map(|pair| pair.split_once('=').map_or(pair.to_owned(), |(name, _)| format!("{name}={MASK}")));
        format!("?{}", values.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{authority}{}{query}", masked_urls(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: &[&str]) {
        assert_eq!(words_without_secrets(words.iter().map(|word| (*word).to_owned())), expected);
    }

    #[test]
    fn secret_values_are_masked_and_everything_else_is_kept() {
        check(&["hbnode", "--leader", "r.yaml", "--json"], &["hbnode", "--leader", "r.yaml", "--json"]);
        check(
            &["--set", "servers.environment.X=s3", "--set=a.api_key=s3"],
            &["--set", "servers.environment.X=***", "--set=a.api_key=***"],
        );
        check(&["--set", "environment.HF_TOKEN=a=b"], &["--set", "environment.HF_TOKEN=***"]);
        check(
            &["--set", "servers.api_key_env=NAME", "--set", "workload.gen_tokens=5"],
            &["--set", "servers.api_key_env=NAME", "--set", "workload.gen_tokens=5"],
        );
        let args = "servers.service_config.extra_args";
        check(&["--set", &format!("{args}=[--api-key,sk-1]")], &["--set", &format!("{args}=***")]);
        check(&["--set", &format!("{args}=['--hf-token=s3']")], &["--set", &format!("{args}=***")]);
        check(
            &["--set", &format!("{args}=[--tokenizer,t]"), "--set", "workload.min_tokens=1", "--set=a.max_tokens=2"],
            &["--set", &format!("{args}=[--tokenizer,t]"), "--set", "workload.min_tokens=1", "--set=a.max_tokens=2"],
        );
        check(&["--set", "servers={environment: {HF_TOKEN: s3}}"], &["--set", "servers=***"]);
        check(&["--set", "workload.prompt_len={uniform: [1, 2]}"], &["--set", "workload.prompt_len={uniform: [1, 2]}"]);
        check(&["bench", "https://u:p@h:1/v1?key=s3&x"], &["bench", "https://***@h:1/v1?key=***&x"]);
        check(
            &["--set", "servers.endpoints=['http://u:p@a','http://b:8/']"],
            &["--set", "servers.endpoints=['http://***@a','http://b:8/']"],
        );
        check(
            &["--set", "servers.endpoints=['http://b','http://u:p@a']"],
            &["--set", "servers.endpoints=['http://b','http://***@a']"],
        );
    }
}
