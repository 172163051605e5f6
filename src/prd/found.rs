//! A requirement as one source tells it, before the sources are joined.
//! Made by `frontmatter` and `requirements`, consumed by `join`.

use crate::core::{Confidence, Priority};

/// Where a requirement was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Frontmatter,
    Table,
    Heading,
    List,
}

impl Origin {
    /// The word for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Frontmatter => "the frontmatter",
            Self::Table => "the table",
            Self::Heading => "the heading",
            Self::List => "the list",
        }
    }
}

/// The part of the body that belongs to a requirement, where its criteria and checks stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// A row or a frontmatter entry: nothing can stand inside.
    None,
    /// Index of a section.
    Section(usize),
    /// Index of the block of a list item.
    Item(usize),
}

/// A requirement, from one source.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) notes: String,
    /// As it was written; empty where it was not.
    pub(super) priority: String,
    pub(super) confidence: Option<Confidence>,
    /// Heading of the section; empty for the frontmatter.
    pub(super) section: String,
    /// Byte offset.
    pub(super) at: usize,
    pub(super) origin: Origin,
    pub(super) home: Home,
}

impl Found {
    /// The priority as a word of ours, where it is one.
    pub(super) fn priority(&self) -> Option<Priority> {
        Priority::parse(self.priority.trim_matches(['*', '_', '`', ' ', '.']))
    }
}
