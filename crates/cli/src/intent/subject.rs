//! What is to run: an image, an app, or a name that may be either.

use crate::hint::Failure;
use berth_protocol::{AssetId, AssetKind};
use berth_wire::units::OciDigest;

/// An image's name as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageName {
    /// `name@sha256:…`: what a registry, or a local engine that fetched it there, knows it by.
    Manifest {
        /// All of it.
        reference: String,
        /// The digest.
        digest: OciDigest,
    },
    /// `sha256:…`: the id in a local engine.
    Config(OciDigest),
    /// A name to ask the local engine about.
    Local(String),
}

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An app, by its id.
    App(AssetId),
    /// An app, by its name.
    AppNamed(String),
    /// An image.
    Image(ImageName),
    /// An image of the local engine, or an app.
    Either(String),
    /// An image under a shared app of one's choice.
    Under(AssetId, ImageName),
}

impl Subject {
    /// Reads `app:NAME`, `image:NAME`, an asset id, an image with digest, or a plain name.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(name) = text.strip_prefix("app:") {
            return Ok(Self::app_id(name)?.unwrap_or_else(|| Self::AppNamed(name.to_owned())));
        }
        if let Some(name) = text.strip_prefix("image:") {
            return ImageName::parse(name).map(Self::Image);
        }
        if let Some(app) = Self::app_id(text)? {
            return Ok(app);
        }
        match ImageName::parse(text)? {
            ImageName::Local(name) => Ok(Self::Either(name)),
            pinned @ (ImageName::Manifest { .. } | ImageName::Config(_)) => Ok(Self::Image(pinned)),
        }
    }

    fn app_id(text: &str) -> Result<Option<Self>, Failure> {
        if !text.starts_with("0x") {
            return Ok(None);
        }
        let shown = "`berth app list` shows the apps";
        let id: AssetId = text.parse().map_err(|error| Failure::usage("app-id", format!("{error}")).hint(shown))?;
        if id.kind() == AssetKind::App {
            return Ok(Some(Self::App(id)));
        }
        let message = format!("{id} is no app: its last byte says that it is a {:?}", id.kind());
        Err(Failure::usage("app-id", message).hint(shown))
    }
}

impl ImageName {
    /// Reads `name@sha256:…`, `sha256:…`, or a name.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |error: berth_wire::units::ParseSha256Error| {
            Failure::usage("image", format!("`{text}` is no image by digest"))
                .because(&error)
                .hint("`docker images --digests` shows names with their digests")
        };
        if text.starts_with("sha256:") {
            return text.parse().map(Self::Config).map_err(wrong);
        }
        match text.split_once('@') {
            Some((name, digest)) if !name.is_empty() => {
                let digest = digest.parse().map_err(wrong)?;
                Ok(Self::Manifest { reference: text.to_owned(), digest })
            }
            Some(_) => Err(Failure::usage("image", format!("`{text}` has no name before the `@`"))
                .hint("write NAME@sha256:…, or only sha256:…")),
            None if text.is_empty() || text.chars().any(char::is_whitespace) => {
                Err(Failure::usage("image", format!("`{text}` is neither an image nor an app"))
                    .hint("write the name of an image of the local engine, or of an app"))
            }
            None => Ok(Self::Local(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_naming_a_subject_is_told_apart() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let parsed: OciDigest = digest.parse().expect("64 digits");
        assert_eq!(Subject::parse(&digest), Ok(Subject::Image(ImageName::Config(parsed))));
        let pinned = format!("busybox@{digest}");
        assert_eq!(
            Subject::parse(&pinned),
            Ok(Subject::Image(ImageName::Manifest { reference: pinned.clone(), digest: parsed }))
        );
        assert_eq!(Subject::parse("busybox:1.36"), Ok(Subject::Either("busybox:1.36".into())));
        assert_eq!(Subject::parse("app:docker"), Ok(Subject::AppNamed("docker".into())));
        let app = format!("0x{}01", "11".repeat(31));
        assert_eq!(Subject::parse(&app), Ok(Subject::App(app.parse().expect("an app's id"))));
        for wrong in [format!("0x{}03", "11".repeat(31)), "0x12".into(), "x@sha256:12".into(), "@sha256:12".into()] {
            assert!(Subject::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
