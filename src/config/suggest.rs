//! The word that somebody probably meant. Pure; it says nothing when nothing is close.

/// The candidate closest to `word`, if one is close enough to be a slip of the fingers.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let measured = candidates.into_iter().map(|c| (strsim::osa_distance(&word, &plain(c)), c));
    let (distance, candidate) = measured.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count().div_ceil(4)).then_some(candidate)
}

fn plain(word: &str) -> String {
    word.trim().to_ascii_lowercase().replace('-', "_")
}

/// A suggestion as people read it.
pub(super) fn did_you_mean(what: impl std::fmt::Display) -> String {
    format!("did you mean `{what}`?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(closest(word, ["resource_limits", "agent", "lint"]), expected, "{word}");
    }

    #[test]
    fn a_slip_is_corrected_and_another_word_is_left_alone() {
        check("resource_limit", Some("resource_limits"));
        check("Resource-Limits", Some("resource_limits"));
        check("lnit", Some("lint"));
        check("agnet", Some("agent"));
        check("banana", None);
        check("", None);
    }
}
