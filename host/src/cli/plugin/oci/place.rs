//! Where a reference leads: a registry, or a folder.

use super::{OciError, layout::Layout};
use oci_client::Reference;

/// What begins a reference to a folder.
const FOLDER: &str = "oci:";

#[derive(Debug)]
pub(super) enum Place {
    Registry(Reference),
    Layout(Layout),
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, OciError> {
        let bad = |why: &str| OciError::Reference(text.to_owned(), why.to_owned());
        let Some(rest) = text.strip_prefix(FOLDER) else {
            // A name alone would be Docker's own registry, which nobody means here.
            if !text.split('/').next().is_some_and(|first| first.contains(['.', ':']) || first == "localhost") || !text.contains('/') {
                return Err(bad("it needs a registry, e.g. registry.example.org/desk/greeter:1.0.0"));
            }
            return text.parse().map(Self::Registry).map_err(|e| bad(&e.to_string()));
        };
        let (folder, which) = match rest.split_once('@') {
            Some((folder, digest)) => (folder, Which::Digest(digest.to_owned())),
            None => match rest.rsplit_once(':') {
                Some((folder, tag)) if !tag.contains('/') => (folder, Which::Tag(tag.to_owned())),
                _ => return Err(bad("it needs a tag or a digest: oci:FOLDER:TAG")),
            },
        };
        let good = match &which {
            Which::Tag(tag) => !tag.is_empty() && tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
            Which::Digest(digest) => is_sha256(digest),
        };
        match good && !folder.is_empty() {
            true => Ok(Self::Layout(Layout { folder: folder.into(), which })),
            false => Err(bad("oci:FOLDER:TAG or oci:FOLDER@sha256:DIGEST")),
        }
    }
}

/// Which one in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    Tag(String),
    Digest(String),
}

/// `sha256:` and 64 hex digits.
pub(super) fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_registries_and_folders() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for good in ["registry.example.org/desk/greeter:1.0.0", "localhost:5000/greeter:1", &format!("127.0.0.1:5000/a/b@{digest}")] {
            assert!(matches!(Place::parse(good), Ok(Place::Registry(_))), "{good}");
        }
        for (good, folder) in
            [("oci:./store:1.0.0", "./store"), (&format!("oci:/srv/store@{digest}"), "/srv/store"), ("oci:/a:b/c:1", "/a:b/c")]
        {
            let Ok(Place::Layout(layout)) = Place::parse(good) else { panic!("{good}") };
            assert_eq!(layout.folder.to_str(), Some(folder));
        }
        for bad in [
            "greeter",
            "greeter:1.0.0",
            "desk/greeter:1.0.0",
            "",
            "registry.example.org/UPPER:1",
            "oci:store",
            "oci::1",
            "oci:./a:b/c",
            "oci:s@sha256:1",
        ] {
            assert!(matches!(Place::parse(bad), Err(OciError::Reference(..))), "{bad}");
        }
    }
}
