//! What is GitLab's own: the paths of a merge request's notes. The rest is as with GitHub, in `comment`.

use super::access::Place;

/// The notes of a merge request.
pub(super) fn notes(place: &Place) -> String {
    format!("/projects/{}/merge_requests/{}/notes", segment(&place.site.repository), place.number)
}

/// One of them.
pub(super) fn note(place: &Place, id: u64) -> String {
    format!("{}/{id}", notes(place))
}

/// A project by its number, or by its path as one segment of another.
fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::super::access::Site;
    use super::super::ci::ForgeKind;
    use super::*;

    #[test]
    fn a_projects_path_is_one_segment() {
        let site = |repository: &str| Site {
            kind: ForgeKind::GitLab,
            api_url: String::new(),
            repository: repository.to_owned(),
        };
        let place = |repository: &str| Place { site: site(repository), number: 7 };
        assert_eq!(notes(&place("group/sub/name")), "/projects/group%2Fsub%2Fname/merge_requests/7/notes");
        assert_eq!(note(&place("42"), 9), "/projects/42/merge_requests/7/notes/9");
    }
}
