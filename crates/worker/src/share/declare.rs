//! From the owner's file to what the scheduler is told.

use crate::config::{Config, SharedImages};
use berth_wire::{job::Image, worker::Capacity};

/// What the worker gives in all.
pub(crate) fn capacity(config: &Config) -> Capacity {
    let docker = config.docker.as_ref();
    Capacity {
        slots: config.capacity.slots.get(),
        cpu_millis: config.capacity.cpu_millis.get(),
        memory_bytes: config.capacity.memory.0,
        disk_bytes: config.capacity.disk.0,
        network: docker.is_some_and(|docker| docker.network),
        fetches_images: docker.is_some_and(|docker| docker.fetch_images),
    }
}

/// The only images that are shared, if the owner named some.
pub(crate) fn only(config: &Config) -> Option<Vec<Image>> {
    match &config.docker.as_ref()?.images {
        SharedImages::All => None,
        SharedImages::Only(images) => Some(images.clone()),
    }
}
