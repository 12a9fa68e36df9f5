//! A server's image, before the process is started and while it becomes ready: brought, checked, and read for its digest.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hb_core::{
    facts::Fact,
    trial::{ContainerRuntime, IMAGE_READ_WITHIN, ServiceSpec},
};
use hb_services::service::CommandLine;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    image,
    pull::Puller,
    server::{Life, tell},
};
use crate::child::guarded::LineSink;

/// An image whose digest takes longer than this is told to be waited for.
const IMAGE_READ_SOON: Duration = Duration::from_secs(5);

/// An image that is read for its digest.
pub(super) struct ImageReading {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Life {
    /// Whether what the container needs is here. Its digest is made meanwhile, once for all servers: a big image takes
    /// a while to read, and it is read in any case.
    pub(super) async fn looked_at_image(&self, command: &CommandLine, sink: &LineSink) -> Result<Option<ImageReading>, String> {
        let spec = self.order.service.clone();
        let is_wrapped = is_wrapped(&spec, command, &self.surroundings.own_exe);
        if !is_wrapped {
            return Ok(None);
        }
        let progress = |what| self.tell(Fact::ServerProgressed { server: self.order.server, what });
        let puller =
            Puller { own_exe: &self.surroundings.own_exe, sink: Arc::clone(sink), stop: &self.stop, progress: &progress };
        puller.bring(&spec).await?;
        if self.stop.is_cancelled() {
            return Ok(None);
        }
        let checked = tokio::task::spawn_blocking({
            let spec = spec.clone();
            move || image::check(&spec)
        });
        checked.await.map_err(|error| error.to_string())?.map_err(|problem| problem.to_string())?;
        let Some(path) = spec.image().filter(|_| self.order.server == 0).map(Path::to_owned) else { return Ok(None) };
        let (surroundings, server, stop, read) = (self.surroundings.clone(), self.order.server, self.stop.clone(), path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let image = read.display().to_string();
            let fact = match image::digest(&read, &stop) {
                Ok(digest) => Fact::ImageRead { server, image, digest },
                Err(_) if stop.is_cancelled() => return,
                Err(error) => Fact::Warned { what: format!("the image `{image}` has no digest: {error}") },
            };
            tell(&surroundings, server, fact);
        });
        Ok(Some(ImageReading { path, task }))
    }

    /// Until the image was read, or had its time. Its fact comes before that of the readiness.
    pub(super) async fn image_read(&self, ImageReading { path, mut task }: ImageReading, progress: &(impl Fn(String) + Sync)) {
        let image = path.display();
        if timeout(IMAGE_READ_SOON, &mut task).await.is_ok() {
            return;
        }
        progress(format!("it answers; load waits until the image `{image}` is read for its digest"));
        if timeout(IMAGE_READ_WITHIN.0.saturating_sub(IMAGE_READ_SOON), &mut task).await.is_err() {
            let what = format!(
                "the image `{image}` was not read for its digest within {IMAGE_READ_WITHIN}: load begins, and may be slowed by it"
            );
            self.tell(Fact::Warned { what });
        }
    }
}

/// Whether a runtime stands around the command: hbnode's own binary needs none.
fn is_wrapped(spec: &ServiceSpec, command: &CommandLine, own_exe: &Path) -> bool {
    spec.runtime != ContainerRuntime::Bare && command.program != own_exe
}
