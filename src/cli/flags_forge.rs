//! Flags about what is told to the forge, and those of `publish`. In: arguments. Out: what is wanted.

use std::path::PathBuf;

use clap::Args;

use crate::config::Comment;

/// Flags of a run about the forge.
#[derive(Clone, Debug, Default, Args)]
pub struct ForgeArgs {
    /// Comment on a pull or merge request: auto (the one this job belongs to, if there is one and a token), never, or
    /// its number
    #[arg(long, value_name = "auto|never|PR", env = "MAESTRO_CI_COMMENT", value_parser = comment)]
    pub comment: Option<Comment>,
    /// Make a check run of the commit, with annotations
    #[arg(long, env = "MAESTRO_CI_CHECKS")]
    pub checks: bool,
    /// Push the result branch to the remote that the checkout came from
    #[arg(long, env = "MAESTRO_CI_PUSH")]
    pub push: bool,
    /// Push, and open a pull request for the result branch, or update the one that is open
    #[arg(long, env = "MAESTRO_CI_OPEN_PR")]
    pub open_pr: bool,
}

/// Flags of `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The report of a finished run, in JSON
    #[arg(value_name = "REPORT.json")]
    pub report: PathBuf,
    /// The result branch; only this one, or one below maestro/, is pushed or gets a pull request
    #[arg(long, value_name = "NAME", env = "MAESTRO_CI_BRANCH")]
    pub branch: Option<String>,
    /// What to tell the forge.
    #[command(flatten)]
    pub forge: ForgeArgs,
}

/// `auto`, `never`, or the number of a pull request.
fn comment(text: &str) -> Result<Comment, String> {
    match text {
        "auto" => Ok(Comment::Auto),
        "never" => Ok(Comment::Never),
        number => match number.parse() {
            Ok(number) if number > 0 => Ok(Comment::PullRequest(number)),
            _ => Err("expected `auto`, `never` or the number of a pull request".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_for_comments_is_a_word_or_a_number() {
        let check = |text: &str, expected: Option<Comment>| assert_eq!(comment(text).ok(), expected, "{text}");
        check("auto", Some(Comment::Auto));
        check("never", Some(Comment::Never));
        check("7", Some(Comment::PullRequest(7)));
        for text in ["0", "-7", "seven", "7.5", "", "Auto"] {
            check(text, None);
        }
    }
}
