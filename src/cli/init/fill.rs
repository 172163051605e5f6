//! The templates of `ci/templates`, which are whole and valid files as they are, and what is put in the place of their
//! examples. In: facts of the repository. Out: text. Only values that `found` let through get here: none of them can
//! end a string of YAML, Groovy or a shell.

use super::Facts;
use super::agents::TEMPLATE;
use crate::cli::flags_init::Template;

/// What the templates call the action, until somebody says where it is: no name that anybody could register, no commit.
pub const NO_ACTION: &str = "YOUR_ORG/maestro-ci@0000000000000000000000000000000000000000";
/// The remark behind it.
const REMARK: &str = " # replace by where your copy of the action is";

/// A pipeline and where it goes.
pub struct Pipeline {
    /// The template.
    pub text: &'static str,
    /// Its place, from the top of the checkout.
    pub path: &'static str,
    /// A file that leads the CI to it, with its content; one that is there is kept.
    pub root: Option<(&'static str, &'static str)>,
    /// True where it names the action.
    pub uses_action: bool,
    /// What a person has to do.
    pub next: &'static [&'static str],
}

const SECRET: &str = "store the model's key as the repository's secret ANTHROPIC_API_KEY";
const ALLOW: &str = "Settings > Actions > General: allow GitHub Actions to create pull requests";

const RELEASE: &str =
    "make the archive that MAESTRO_RELEASE_URL is the address of: docs/ci.md, \"An archive of your own\"";

/// The pipeline of a template.
pub fn pipeline(template: Template) -> Pipeline {
    let github = |text, path, next| Pipeline { text, path, root: None, uses_action: true, next };
    match template {
        Template::Github => github(
            include_str!("../../../ci/templates/github.yml"),
            ".github/workflows/maestro-ci.yml",
            &[SECRET, ALLOW, "start it: Actions > maestro-ci > Run workflow"],
        ),
        Template::GithubTwoJobs => github(
            include_str!("../../../ci/templates/github-two-jobs.yml"),
            ".github/workflows/maestro-ci.yml",
            &[SECRET, ALLOW, "start it: Actions > maestro-ci > Run workflow"],
        ),
        Template::GithubNightly => github(
            include_str!("../../../ci/templates/github-nightly.yml"),
            ".github/workflows/maestro-ci-nightly.yml",
            &[SECRET, ALLOW, "it runs each night from the default branch; Actions > maestro-ci nightly starts it now"],
        ),
        Template::GithubOnApproval => github(
            include_str!("../../../ci/templates/github-on-approval.yml"),
            ".github/workflows/maestro-ci-on-approval.yml",
            &[SECRET, ALLOW, "merge an approved PRD into main: that starts it"],
        ),
        Template::Gitlab => Pipeline {
            text: include_str!("../../../ci/templates/gitlab-ci.yml"),
            path: ".gitlab/maestro-ci.yml",
            root: Some((".gitlab-ci.yml", "include:\n  - local: .gitlab/maestro-ci.yml\n")),
            uses_action: false,
            next: &[
                "where .gitlab-ci.yml was kept, add to it: include: {local: .gitlab/maestro-ci.yml}",
                RELEASE,
                "set the CI/CD variables that the file's head names: ANTHROPIC_API_KEY, MAESTRO_RELEASE_URL, …",
                "start it: Build > Pipelines > Run pipeline",
            ],
        },
        Template::Jenkins => Pipeline {
            text: include_str!("../../../ci/templates/Jenkinsfile"),
            path: "Jenkinsfile.maestro-ci",
            root: None,
            uses_action: false,
            next: &[
                "make a pipeline job of it: script path Jenkinsfile.maestro-ci",
                RELEASE,
                "set what the file's head names: the credentials anthropic-api-key, MAESTRO_RELEASE_URL, …",
            ],
        },
    }
}

/// A template's text with the repository's own facts.
pub fn filled(text: &str, facts: &Facts) -> String {
    let slots = slots(facts);
    slots.iter().fold(text.to_owned(), |text, (example, value)| text.replace(example, value))
}

/// What stands in the templates, and what takes its place.
fn slots(facts: &Facts) -> Vec<(String, String)> {
    let (kit, dir) = (facts.agent, facts.prd.rsplit_once('/').map(|(dir, _)| format!("{dir}/")).unwrap_or_default());
    let as_credential = |key: &str| key.to_ascii_lowercase().replace('_', "-");
    let slot = |example: &str, value: &str| (example.to_owned(), value.to_owned());
    let mut slots = vec![
        slot(TEMPLATE.package, kit.package),
        slot(TEMPLATE.key, kit.key),
        (as_credential(TEMPLATE.key), as_credential(kit.key)),
        slot("agent: claude", &format!("agent: {}", kit.name)),
        slot("AGENT: claude", &format!("AGENT: {}", kit.name)),
        slot("AGENT = 'claude'", &format!("AGENT = '{}'", kit.name)),
        slot("branches: [\"main\"]", &format!("branches: [\"{}\"]", facts.branch)),
        slot("into main:", &format!("into {}:", facts.branch)),
        slot("\"docs/**.md\"", &format!("\"{dir}**.md\"")),
        slot("'docs/*.md'", &format!("'{dir}*.md'")),
        slot("docs/prd.md", &facts.prd),
    ];
    if let Some(action) = &facts.action {
        slots.push((format!("{NO_ACTION}{REMARK}"), action.clone()));
    }
    slots
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::agents;
    use super::*;

    fn facts() -> Facts {
        let action = Some("acme/maestro-ci@1111111111111111111111111111111111111111".to_owned());
        Facts {
            prd: "specs/a.md".to_owned(),
            branch: "trunk".to_owned(),
            agent: agents::choose(Some("gemini")).unwrap(),
            action,
        }
    }

    #[test]
    fn every_example_stands_in_some_template_so_that_no_slot_is_forgotten() {
        let all: String = Template::value_variants()
            .iter()
            .map(|t| pipeline(*t))
            .map(|p| p.text.to_owned() + &p.next.concat())
            .collect();
        for (example, _) in slots(&facts()) {
            assert!(all.contains(&example), "no template has {example:?}");
        }
    }

    #[test]
    fn nothing_of_the_examples_is_left() {
        for template in Template::value_variants() {
            let text = filled(pipeline(*template).text, &facts());
            for left in ["docs/", "claude", "anthropic", "ANTHROPIC", "YOUR_ORG", "0000000", "[\"main\"]"] {
                assert!(!text.contains(left), "{template:?} still has {left:?}:\n{text}");
            }
            assert!(text.contains("GEMINI_API_KEY") || text.contains("gemini-api-key"), "{template:?}");
        }
    }
}
