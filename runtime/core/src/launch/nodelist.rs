//! Slurm's host lists: `a[001-003,7],b1`.

/// A list longer than this is a mistake, not a cluster.
const MOST_HOSTS: usize = 65_536;

/// Why a text is no host list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeListError {
    /// A bracket has no partner.
    #[error("`{list}` has a bracket without its partner")]
    Bracket {
        /// The list.
        list: String,
    },
    /// What stands in brackets is no number and no range.
    #[error("`{range}` in `{list}` is no number and no range such as 001-003")]
    Range {
        /// The list.
        list: String,
        /// The part.
        range: String,
    },
    /// A name between two commas is missing.
    #[error("`{list}` has an empty name in it")]
    Empty {
        /// The list.
        list: String,
    },
    /// More hosts than any cluster has.
    #[error("`{list}` names more than {limit} hosts")]
    TooMany {
        /// The list.
        list: String,
        /// How many are read.
        limit: usize,
    },
}

/// The hosts of a list, in its order; leading zeros are kept, several brackets in one name multiply.
///
/// # Errors
/// The text is no host list.
///
/// ```
/// assert_eq!(hb_core::launch::expand("a[08-10],b1").unwrap(), ["a08", "a09", "a10", "b1"]);
/// ```
pub fn expand(list: &str) -> Result<Vec<String>, NodeListError> {
    let mut hosts = Vec::new();
    if list.trim().is_empty() {
        return Ok(hosts);
    }
    for name in at_commas(list)? {
        if name.is_empty() {
            return Err(NodeListError::Empty { list: list.to_owned() });
        }
        hosts.extend(expand_name(name, list)?);
        check_count(hosts.len(), list)?;
    }
    Ok(hosts)
}

/// The names of a list: cut at the commas outside of brackets.
fn at_commas(list: &str) -> Result<Vec<&str>, NodeListError> {
    let refuse = || NodeListError::Bracket { list: list.to_owned() };
    let (mut names, mut start, mut is_inside) = (Vec::new(), 0, false);
    for (at, letter) in list.char_indices() {
        match letter {
            '[' if is_inside => return Err(refuse()),
            '[' => is_inside = true,
            ']' if !is_inside => return Err(refuse()),
            ']' => is_inside = false,
            ',' if !is_inside => {
                names.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if is_inside {
        return Err(refuse());
    }
    names.push(list[start..].trim());
    Ok(names)
}

/// One name with any number of brackets in it.
fn expand_name(name: &str, list: &str) -> Result<Vec<String>, NodeListError> {
    let mut hosts = vec![String::new()];
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']').ok_or_else(|| NodeListError::Bracket { list: list.to_owned() })?;
        let mut numbers = Vec::new();
        for range in inside.split(',') {
            numbers.extend(numbers_of(range.trim(), list)?);
            check_count(numbers.len() * hosts.len(), list)?;
        }
        hosts = hosts.iter().flat_map(|host| numbers.iter().map(move |number| format!("{host}{before}{number}"))).collect();
        rest = after;
    }
    hosts.iter_mut().for_each(|host| host.push_str(rest));
    Ok(hosts)
}

/// `7` or `001-003`.
fn numbers_of(range: &str, list: &str) -> Result<Vec<String>, NodeListError> {
    let refuse = || NodeListError::Range { list: list.to_owned(), range: range.to_owned() };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(refuse)
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(refuse());
    }
    check_count(usize::try_from(to - from).unwrap_or(usize::MAX).saturating_add(1), list)?;
    Ok((from..=to).map(|number| format!("{number:0width$}", width = first.len())).collect())
}

fn check_count(hosts: usize, list: &str) -> Result<(), NodeListError> {
    if hosts > MOST_HOSTS {
        return Err(NodeListError::TooMany { list: list.to_owned(), limit: MOST_HOSTS });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(list: &str, hosts: &[&str]) {
        assert_eq!(expand(list).unwrap(), hosts, "{list}");
    }

    #[test]
    fn lists_as_slurm_writes_them_are_read() {
        check("a[001-003,7],b1", &["a001", "a002", "a003", "a7", "b1"]);
        check("mel2001", &["mel2001"]);
        check("r[1-2]n[08-09]x", &["r1n08x", "r1n09x", "r2n08x", "r2n09x"]);
        check("n[9-11]", &["n9", "n10", "n11"]);
        check("", &[]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for list in ["a[1-2", "a]", "a[[1]]", "a[2-1]", "a[]", "a[x]", "a,,b", "a[1-]", "a[-1]", "a[1-99999999999999999999]"] {
            assert!(expand(list).is_err(), "{list}");
        }
        assert!(matches!(expand("a[0-9999]b[0-9999]"), Err(NodeListError::TooMany { .. })));
        assert!(matches!(expand("a[0-18446744073709551615]"), Err(NodeListError::TooMany { .. })));
    }

    proptest! {
        #[test]
        fn a_compressed_list_gives_its_hosts_back(prefix in "[a-z]{1,4}", starts in prop::collection::vec((0u64..2000, 0u64..9), 1..6), width in 1usize..5) {
            let host = |number: u64| format!("{prefix}{number:0width$}");
            let ranges: Vec<String> = starts.iter().map(|(from, more)| format!("{from:0width$}-{:0width$}", from + more)).collect();
            let hosts: Vec<String> = starts.iter().flat_map(|(from, more)| (*from..=from + more).map(host)).collect();
            prop_assert_eq!(expand(&format!("{prefix}[{}]", ranges.join(","))).unwrap(), hosts.clone());
            prop_assert_eq!(expand(&hosts.join(",")).unwrap(), hosts);
        }

        #[test]
        fn no_text_makes_it_panic(list in "[a-c0-3,\\[\\]-]{0,24}|.*") {
            let _ = expand(&list);
        }
    }
}
