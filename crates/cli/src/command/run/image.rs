//! From what was typed to an app, and an image under a shared one.

use crate::{
    book::Book,
    hint::Failure,
    intent::{ImageName, Subject},
    settings::Settings,
};
use berth_protocol::AssetId;
use berth_wire::{job::Image, units::OciDigest};

/// How long the local engine may take to say what an image is.
const ENGINE_DEADLINE_S: u64 = 10;

/// An app, and the image under it if it is the shared app.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) app: AssetId,
    pub(crate) image: Option<Image>,
}

/// What the local engine says.
enum Local {
    Image(Image),
    /// It has no such image.
    Absent,
    /// It can't be asked; why.
    NoEngine(String),
}

/// Finds out what is to run.
pub(crate) async fn resolve(settings: &Settings, book: &Book, subject: &Subject) -> Result<Resolved, Failure> {
    match subject {
        Subject::App(app) => Ok(Resolved { app: *app, image: None }),
        Subject::AppNamed(name) => match book.app_named(name).await? {
            Some(app) => Ok(Resolved { app, image: None }),
            None => Err(Failure::not_found("app-unknown", format!("no app `{name}` is on offer"))
                .hint("`berth app list` shows what is")),
        },
        Subject::Under(app, name) => Ok(Resolved { app: *app, image: Some(image(name).await?) }),
        Subject::Image(name) => under_docker(settings, book, image(name).await?).await,
        Subject::Either(name) => {
            let local_name = ImageName::Local(name.clone());
            let (app, local) = tokio::join!(book.app_named(name), inspect(&local_name));
            match (app?, local) {
                (None, Local::Image(image)) => under_docker(settings, book, image).await,
                (Some(app), Local::Absent | Local::NoEngine(_)) => Ok(Resolved { app, image: None }),
                (Some(app), Local::Image(_)) => {
                    let message = format!("`{name}` is both an image of the local engine and an app ({app})");
                    Err(Failure::usage("subject-ambiguous", message).hint(format!("write image:{name}, or app:{name}")))
                }
                (None, absent) => Err(missing(name, &absent)),
            }
        }
    }
}

async fn image(name: &ImageName) -> Result<Image, Failure> {
    match name {
        ImageName::Manifest { reference, digest } => {
            Ok(Image { reference: reference.clone(), config: None, manifest: Some(*digest) })
        }
        ImageName::Config(digest) => Ok(Image { reference: digest.to_string(), config: Some(*digest), manifest: None }),
        ImageName::Local(reference) => match inspect(name).await {
            Local::Image(image) => Ok(image),
            absent @ (Local::Absent | Local::NoEngine(_)) => Err(missing(reference, &absent)),
        },
    }
}

/// The digests of an image in the words of `app register`, too.
pub(crate) async fn pinned(text: &str) -> Result<Image, Failure> {
    image(&ImageName::parse(text)?).await
}

fn missing(name: &str, local: &Local) -> Failure {
    match local {
        Local::NoEngine(cause) => {
            let mut failure =
                Failure::preflight("no-engine", format!("`{name}` needs a Docker engine to say what image it is"));
            failure.causes.push(cause.clone());
            failure
                .hint("start Docker, or set DOCKER_HOST to where it listens")
                .hint("or name the image by digest (name@sha256:…, sha256:…), which needs no engine here")
        }
        Local::Absent | Local::Image(_) => Failure::not_found(
            "image-absent",
            format!("neither an image of the local engine nor an app is called `{name}`"),
        )
        .hint(format!("`docker pull {name}` or `docker build -t {name} .` brings the image here"))
        .hint("name it by digest (name@sha256:…) if only the workers have it; `berth app list` shows the apps"),
    }
}

async fn under_docker(settings: &Settings, book: &Book, image: Image) -> Result<Resolved, Failure> {
    let app = match settings.docker_app() {
        Some(text) => text.parse().map_err(|error| Failure::usage("profile", format!("docker_app: {error}")))?,
        None => book.app_named("docker").await?.ok_or_else(|| {
            Failure::not_found("app-unknown", "the shared app `docker` is not on offer, so images can't be run")
                .hint("`berth app register docker` offers it")
        })?,
    };
    Ok(Resolved { app, image: Some(image) })
}

/// Asks the local engine. An engine with the containerd store says the manifest's digest where others say the
/// configuration's; the image's repository digests tell which it is.
async fn inspect(name: &ImageName) -> Local {
    let ImageName::Local(reference) = name else { return Local::Absent };
    let ask = async {
        let docker = bollard::Docker::connect_with_defaults()?;
        docker.inspect_image(reference).await
    };
    let answer = tokio::time::timeout(core::time::Duration::from_secs(ENGINE_DEADLINE_S), ask).await;
    let found = match answer {
        Ok(Ok(found)) => found,
        Ok(Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => return Local::Absent,
        Ok(Err(error)) => return Local::NoEngine(error.to_string()),
        Err(_) => return Local::NoEngine(format!("no answer within {ENGINE_DEADLINE_S} s")),
    };
    let Some(id) = found.id.as_deref().and_then(|id| id.parse::<OciDigest>().ok()) else {
        return Local::NoEngine("it gives the image no id".to_owned());
    };
    let repository = found.repo_digests.unwrap_or_default();
    let manifest = repository.iter().find_map(|text| text.split_once('@')?.1.parse::<OciDigest>().ok());
    let config = (manifest != Some(id)).then_some(id);
    Local::Image(Image { reference: reference.clone(), config, manifest })
}
