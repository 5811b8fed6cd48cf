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
        network: docker.is_some_and(|docker| docker.network)
            || config.qemu.as_ref().is_some_and(|qemu| qemu.network)
            || config.virtualbox.as_ref().is_some_and(|virtualbox| virtualbox.network),
        fetches_images: docker.is_some_and(|docker| docker.fetch_images),
    }
}

/// The only images that are shared, if the owner named some. (Of virtual machines there are no others.)
pub(crate) fn only(config: &Config) -> Option<Vec<Image>> {
    let containers = match config.docker.as_ref().map(|docker| &docker.images) {
        Some(SharedImages::All) => return None,
        Some(SharedImages::Only(images)) => images.clone(),
        None => Vec::new(),
    };
    let machines = config.qemu.iter().flat_map(|qemu| &qemu.images).map(|machine| machine.image());
    let more = config.virtualbox.iter().flat_map(|virtualbox| &virtualbox.images).map(|machine| machine.image());
    Some(containers.into_iter().chain(machines).chain(more).collect())
}
