//! From what was typed to an app, and an image under a shared one.

use crate::{
    book::Book,
    hint::Failure,
    intent::{ImageName, Subject},
    settings::Settings,
};
use berth_protocol::AssetId;
use berth_wire::{job::Image, units::OciDigest};
use bollard::models::ImageConfig;

/// How long the local engine may take to say what an image is.
const ENGINE_DEADLINE_S: u64 = 10;

/// An app, and the image under it if it is the shared app.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) app: AssetId,
    pub(crate) image: Option<Image>,
    /// What the image says of itself, where the local engine has it.
    pub(crate) asks: Asks,
}

/// What an image's configuration asks for, as far as it matters to a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// It has neither entry point nor command.
    has_no_command: bool,
    ports: Vec<String>,
    user: Option<String>,
}

impl Asks {
    fn of(config: ImageConfig) -> Self {
        let is_none = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
        // Root stands for whoever has not thought about it, and nobody is who runs jobs.
        let usual = ["", "0", "root", "65534", "65534:65534", "nobody"];
        Self {
            has_no_command: is_none(&config.entrypoint) && is_none(&config.cmd),
            ports: config.exposed_ports.unwrap_or_default(),
            user: config.user.filter(|user| !usual.contains(&user.as_str())),
        }
    }

    /// Refuses what no worker could run with these arguments; gives what a job of it will not find, in words.
    pub(crate) fn check(&self, args: &[String]) -> Result<Vec<String>, Failure> {
        if self.has_no_command && args.is_empty() {
            let message = "the image has neither an entry point nor a command, and the job gives none";
            return Err(Failure::usage("image-command", message).hint("say what to run: berth run IMAGE -- CMD"));
        }
        let ports = (!self.ports.is_empty())
            .then(|| format!("the image offers {}: a job is no server, and nobody reaches it", self.ports.join(", ")));
        let user = self.user.as_ref().map(|user| format!("the image's user is `{user}`: jobs run as user 65534"));
        Ok(ports.into_iter().chain(user).collect())
    }
}

/// What the local engine says.
enum Local {
    Image(Image, Asks),
    /// It has no such image.
    Absent,
    /// It can't be asked; why.
    NoEngine(String),
}

/// Finds out what is to run.
pub(crate) async fn resolve(settings: &Settings, book: &Book, subject: &Subject) -> Result<Resolved, Failure> {
    match subject {
        Subject::App(app) => Ok(Resolved::app(*app)),
        Subject::AppNamed(name) => match book.app_named(name).await? {
            Some(app) => Ok(Resolved::app(app)),
            None => Err(Failure::not_found("app-unknown", format!("no app `{name}` is on offer"))
                .hint("`berth app list` shows what is")),
        },
        Subject::Under(app, name) => {
            let (image, asks) = image(name).await?;
            Ok(Resolved { app: *app, image: Some(image), asks })
        }
        Subject::Image(name) => under_docker(settings, book, image(name).await?).await,
        Subject::Either(name) => {
            let local_name = ImageName::Local(name.clone());
            let (app, local) = tokio::join!(book.app_named(name), inspect(&local_name));
            match (app?, local) {
                (None, Local::Image(image, asks)) => under_docker(settings, book, (image, asks)).await,
                (Some(app), Local::Absent | Local::NoEngine(_)) => Ok(Resolved::app(app)),
                (Some(app), Local::Image(..)) => {
                    let message = format!("`{name}` is both an image of the local engine and an app ({app})");
                    Err(Failure::usage("subject-ambiguous", message).hint(format!("write image:{name}, or app:{name}")))
                }
                (None, absent) => Err(missing(name, &absent)),
            }
        }
    }
}

impl Resolved {
    fn app(app: AssetId) -> Self {
        Self { app, image: None, asks: Asks::default() }
    }
}

async fn image(name: &ImageName) -> Result<(Image, Asks), Failure> {
    let unseen = |image| Ok((image, Asks::default()));
    match name {
        ImageName::Manifest { reference, digest } => {
            unseen(Image { reference: reference.clone(), config: None, manifest: Some(*digest) })
        }
        ImageName::Config(digest) => {
            unseen(Image { reference: digest.to_string(), config: Some(*digest), manifest: None })
        }
        ImageName::Local(reference) => match inspect(name).await {
            Local::Image(image, asks) => Ok((image, asks)),
            absent @ (Local::Absent | Local::NoEngine(_)) => Err(missing(reference, &absent)),
        },
    }
}

/// The digests of an image in the words of `app register`, too.
pub(crate) async fn pinned(text: &str) -> Result<Image, Failure> {
    Ok(image(&ImageName::parse(text)?).await?.0)
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
        Local::Absent | Local::Image(..) => Failure::not_found(
            "image-absent",
            format!("neither an image of the local engine nor an app is called `{name}`"),
        )
        .hint(format!("`docker pull {name}` or `docker build -t {name} .` brings the image here"))
        .hint("name it by digest (name@sha256:…) if only the workers have it; `berth app list` shows the apps"),
    }
}

async fn under_docker(settings: &Settings, book: &Book, (image, asks): (Image, Asks)) -> Result<Resolved, Failure> {
    let app = match settings.docker_app() {
        Some(text) => text.parse().map_err(|error| Failure::usage("profile", format!("docker_app: {error}")))?,
        None => book.app_named("docker").await?.ok_or_else(|| {
            Failure::not_found("app-unknown", "the shared app `docker` is not on offer, so images can't be run")
                .hint("`berth app register docker` offers it")
        })?,
    };
    Ok(Resolved { app, image: Some(image), asks })
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
    let asks = found.config.map(Asks::of).unwrap_or_default();
    Local::Image(Image { reference: reference.clone(), config, manifest }, asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_command_needs_one_and_what_jobs_lack_is_said() {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let bare = Asks::of(ImageConfig { entrypoint: words(&[]), ..ImageConfig::default() });
        assert_eq!(bare.check(&[]).map_err(|failure| failure.exit.code()), Err(2));
        assert_eq!(bare.check(&["date".to_owned()]).expect("it has one"), Vec::<String>::new());
        let (exposed_ports, user) = (words(&["80/tcp", "443/tcp"]), Some("app".to_owned()));
        let server = Asks::of(ImageConfig { cmd: words(&["serve"]), exposed_ports, user, ..ImageConfig::default() });
        let said = server.check(&[]).expect("it can be run");
        assert!(said.len() == 2 && said[0].contains("80/tcp, 443/tcp") && said[1].contains("`app`"), "{said:?}");
        let usual = Asks::of(ImageConfig { cmd: words(&["x"]), user: Some("root".into()), ..ImageConfig::default() });
        assert_eq!(usual.check(&[]).expect("it can be run"), Vec::<String>::new());
    }
}
